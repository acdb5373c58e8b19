// The same call in other languages.
//
// Names and values come from services of other users, and people run the code that they copy. So a
// text from a service only becomes a literal, or a name of letters, digits and underscores. If a
// language has no literal at a place, such as a shell in a comment, the snippet omits the text.

import { Float } from "./values.js";

/** A value that a program reads from a file. */
export class FileValue {
  constructor(name, kind) {
    this.name = name;
    this.kind = kind;
  }
}

/** A function that a program passes, with the number of its arguments, 1 if unknown. */
export class FunctionValue {
  constructor(count) {
    this.count = count;
  }
}

/** Characters that are invisible, or change the order of others, and parts of a character. */
const UNSEEN = /[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/u;
const PYTHON_KEYWORDS = new Set((
  "False None True and as assert async await break class continue def del elif else except " +
  "finally for from global if import in is lambda nonlocal not or pass raise return try while with"
).split(" "));
const RUST_KEYWORDS = new Set((
  "as async await break const continue crate dyn else enum extern false fn for gen if impl in " +
  "let loop match mod move mut pub ref return self Self static struct super trait true type " +
  "unsafe use where while abstract become box do final macro override priv try typeof unsized " +
  "virtual yield _"
).split(" "));

const isName = (text) => /^[A-Za-z_][A-Za-z0-9_]*$/.test(text);
const isPythonName = (text) => isName(text) && !PYTHON_KEYWORDS.has(text);
const isRustName = (text) => isName(text) && !RUST_KEYWORDS.has(text);

/** Returns a literal in double quotes. `escape` returns the escape of a code point. */
function quoted(text, escape) {
  let literal = "";
  for (const character of text) {
    if (character === '"' || character === "\\") literal += `\\${character}`;
    else if (character === "\n") literal += "\\n";
    else literal += UNSEEN.test(character) ? escape(character.codePointAt(0)) : character;
  }
  return `"${literal}"`;
}

const hex = (code, digits) => code.toString(16).padStart(digits, "0");
const unit = (code) => `\\u${hex(code, 4)}`;
const pythonString = (text) =>
  quoted(text, (code) => (code < 0x10000 ? unit(code) : `\\U${hex(code, 8)}`));
const jsString = (text) =>
  quoted(text, (code) => (code < 0x10000 ? unit(code) : `\\u{${hex(code, 1)}}`));
/** Strings of Rust have no parts of characters, so each becomes the replacement character. */
const rustString = (text) =>
  quoted(text.toWellFormed?.() ?? text, (code) => `\\u{${hex(code, 1)}}`);
const jsonString = (text) => quoted(text, (code) => {
  if (code < 0x10000) return unit(code);
  return unit(0xd7c0 + (code >> 10)) + unit(0xdc00 + (code & 0x3ff));
});

/** Returns a word for a shell. The text has no unseen characters. */
function shell(text) {
  return /^[\w@%+:,./-][\w@%+=:,./-]*$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** Returns a number, with a point or exponent if it is a floating-point number. */
function numeral(value, isFloat) {
  const text = String(value);
  return isFloat && !/[.e]/i.test(text) ? `${text}.0` : text;
}

function numberOf(value) {
  if (value instanceof Float) return value.number;
  return typeof value === "number" || typeof value === "bigint" ? value : null;
}

function isInfinite(value) {
  const number = numberOf(value);
  return number === Infinity || number === -Infinity;
}

/** Returns whether a value is or contains one for which `found` returns true. */
function contains(value, found) {
  if (found(value)) return true;
  const isLeaf = value === null || typeof value !== "object" || numberOf(value) !== null;
  if (isLeaf || value instanceof FileValue || value instanceof FunctionValue) return false;
  return Object.values(value).some((item) => contains(item, found));
}

function python(value) {
  if (value instanceof FileValue) {
    const name = pythonString(value.name);
    return value.kind === "array" ? `numpy.load(${name})` : `open(${name}, "rb").read()`;
  }
  if (value instanceof FunctionValue) {
    return value.count === 1 ? "lambda value: print(value)" : "lambda *values: print(*values)";
  }
  if (value === null || value === undefined) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (typeof value === "string") return pythonString(value);
  if (isInfinite(value)) return `float("${numberOf(value) < 0 ? "-" : ""}inf")`;
  if (numberOf(value) !== null) return numeral(numberOf(value), value instanceof Float);
  if (Array.isArray(value)) return `[${value.map(python).join(", ")}]`;
  const entries = Object.entries(value);
  return `{${entries.map(([key, item]) => `${pythonString(key)}: ${python(item)}`).join(", ")}}`;
}

function json(value) {
  if (value instanceof FileValue) return jsonString(`<${value.name}>`);
  if (value === null || value === undefined || value instanceof FunctionValue) return "null";
  if (typeof value === "string") return jsonString(value);
  if (isInfinite(value)) return "null";
  if (numberOf(value) !== null) return numeral(numberOf(value), false);
  if (typeof value !== "object") return String(value);
  if (Array.isArray(value)) return `[${value.map(json).join(",")}]`;
  const entries = Object.entries(value);
  return `{${entries.map(([key, item]) => `${jsonString(key)}:${json(item)}`).join(",")}}`;
}

function javascript(value) {
  if (value instanceof FileValue) return `readFileSync(${jsString(value.name)})`;
  if (value instanceof FunctionValue) {
    return value.count === 1 ? "(value) => console.log(value)"
      : "(...values) => console.log(...values)";
  }
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value === "string") return jsString(value);
  if (numberOf(value) !== null) return numeral(numberOf(value), false);
  if (Array.isArray(value)) return `[${value.map(javascript).join(", ")}]`;
  if (value === null || typeof value !== "object") return String(value);
  const entries = Object.entries(value).map(([key, item]) => {
    // `__proto__: …` and `"__proto__": …` set the prototype instead of a member.
    const name = isName(key) ? key : jsString(key);
    return `${key === "__proto__" ? `[${jsString(key)}]` : name}: ${javascript(item)}`;
  });
  return `{${entries.length ? ` ${entries.join(", ")} ` : ""}}`;
}

function rust(value) {
  if (value instanceof FileValue) return `std::fs::read(${rustString(value.name)})?`;
  if (value instanceof FunctionValue) {
    const types = Array(value.count).fill("Value").join(", ");
    const type = value.count === 1 ? "Value" : `(${types})`;
    return `Callback::new(|value: ${type}| async move { println!("{value:?}") })`;
  }
  if (value === null || (typeof value === "object" && !(value instanceof Float))) {
    return `serde_json::json!(${rustJson(value)})`;
  }
  return typeof value === "string" ? rustString(value) : rustNumber(value);
}

/** Returns the inside of `serde_json::json!`. */
function rustJson(value) {
  if (value === null || value === undefined) return "null";
  if (typeof value === "string") return rustString(value);
  if (typeof value !== "object" || value instanceof Float) return rustNumber(value);
  if (Array.isArray(value)) return `[${value.map(rustJson).join(", ")}]`;
  const entries = Object.entries(value);
  const members = entries.map(([key, item]) => `${rustString(key)}: ${rustJson(item)}`).join(", ");
  return `{${members}}`;
}

function rustNumber(value) {
  const number = numberOf(value);
  if (number === null) return String(value);
  if (isInfinite(value)) return number < 0 ? "f64::NEG_INFINITY" : "f64::INFINITY";
  if (value instanceof Float || !Number.isInteger(Number(number))) return numeral(number, true);
  // Without a type, integers are `i32`.
  if (number >= -(2 ** 31) && number < 2 ** 31) return String(number);
  if (typeof number === "number" && !Number.isSafeInteger(number)) return numeral(number, true);
  return `${number}_${number < 0 ? "i64" : "u64"}`;
}

/** Returns the last part of the code, and of what precedes it, in Rust. */
function rustCode({ server, id, method, listed, named, isStream, hasFunction }) {
  const odd = named.filter(([name]) => !isRustName(name));
  const list = [
    ...listed.map(rust),
    ...named.filter(([name]) => isRustName(name)).map(([name, item]) => `${name} = ${rust(item)}`),
  ].join(", ");
  const args = odd.length ? [
    `let mut args = args!(${list});`,
    ...odd.map(([name, item]) => `args.push_named(${rustString(name)}, &${rust(item)});`),
  ] : [];
  const passed = odd.length ? "args" : `args!(${list})`;
  const call = (type) => `service.call::<${type}>(${rustString(method)}, ${passed}).await?`;
  return [
    isStream || hasFunction ? "use hypha_rpc::prelude::*;" : "use hypha_rpc::{Value, args};",
    "",
    `let server = hypha_rpc::connect(${rustString(server)}).await?;`,
    `let service = server.get_service(${rustString(id)}).await?;`,
    ...args,
    ...(isStream ? [
      `let mut items = ${call("RemoteStream<Value>")};`,
      "while let Some(item) = items.try_next().await? {",
      '    println!("{item:?}");',
      "}",
    ] : [`let result = ${call("Value")};`, 'println!("{result:?}");']),
  ].join("\n");
}

/** Returns the command `hypha call`, or a note if its arguments cannot carry the call. */
function command({ server, id, method, listed, carried }) {
  const target = `${id}.${method}`;
  // The command splits its target at the first dot after the last of these marks.
  const start = Math.max(target.lastIndexOf("/"), target.lastIndexOf(":")) + 1;
  const dot = target.indexOf(".", start);
  const file = ({ name }) => (/^\w[\w.-]*$/.test(name) && name !== "callback" ? name : `./${name}`);
  const value = (item) => (item instanceof FileValue ? `@${file(item)}` : json(item));
  const words = [
    target,
    ...listed.map(value),
    ...carried.map(([name, item]) => `${name}=${value(item)}`),
  ];
  const isSplit = target.slice(0, dot) === id && target.slice(dot + 1) === method;
  const names = carried.every(([name]) => isName(name));
  if (!isSplit || !names || words.some((word) => UNSEEN.test(word))) {
    return "# The command cannot carry these names: use another language.";
  }
  // Otherwise, a word that begins with a dash would be an option.
  const end = words.some((word) => word.startsWith("-")) ? ["--"] : [];
  return `hypha call --server-url ${[server, ...end, ...words].map(shell).join(" ")}`;
}

/**
 * Returns the code for curl, with notes on arguments that JSON cannot carry. The response has the
 * calls of the functions that `_callback` names.
 */
function curl({ server, path, args, isSignedIn, hasFile }) {
  const isFunction = ([, it]) => it instanceof FunctionValue;
  const named = Array.isArray(args) ? [] : Object.entries(args);
  const carried = Array.isArray(args) ? args
    : Object.fromEntries(named.filter((argument) => !isFunction(argument)));
  const functions = named.filter(isFunction)
    .map(([name]) => `_callback=${encodeURIComponent(name)}`);
  const query = functions.length ? `?${functions.join("&")}` : "";
  const notes = [
    [hasFile, "the bytes of files"],
    [contains(args, isInfinite), "infinite numbers"],
  ];
  const parts = path.map(encodeURIComponent)
    .map((part) => part.replaceAll("%3A", ":").replaceAll("%40", "@"));
  // Otherwise, these parts would remove the part before them.
  const isDots = parts.some((part) => part === "." || part === "..");
  return [
    ...notes.filter(([is]) => is)
      .map(([, what]) => `# JSON cannot carry ${what}: use another language.`),
    `curl ${isDots ? "--path-as-is " : ""}-X POST ${shell(`${server}/${parts.join("/")}${query}`)} \\`,
    "  -H 'Content-Type: application/json' \\",
    ...(isSignedIn ? ['  -H "Authorization: Bearer $HYPHA_TOKEN" \\'] : []),
    `  -d ${shell(json(carried))}`,
  ].join("\n");
}

/**
 * Returns the code of the call by language. `args` is a list, or an object by name. `isStream`
 * is true if the result is a stream, and `isSignedIn` if the user has a token.
 */
export function snippets({ server, workspace, service, method, args, isStream, isSignedIn }) {
  const id = `${workspace}/${service}`;
  const named = Array.isArray(args) ? [] : Object.entries(args);
  const listed = Array.isArray(args) ? args : [];
  // The command passes functions that show progress; JSON cannot carry functions.
  const carried = named.filter(([, item]) => !(item instanceof FunctionValue));
  const hasFunction = carried.length < named.length;
  const all = [...named.map(([, item]) => item), ...listed];
  const hasFile = all.some((item) => item instanceof FileValue);
  const hasArray = all.some((item) => item instanceof FileValue && item.kind === "array");

  const isKeyword = ([name]) => isPythonName(name);
  const pythonArgs = [
    ...listed.map(python),
    ...named.filter(isKeyword).map(([name, item]) => `${name}=${python(item)}`),
  ];
  const odd = named.filter((argument) => !isKeyword(argument));
  if (odd.length) pythonArgs.push(`**${python(Object.fromEntries(odd))}`);
  // In Python, an attribute that begins with `_` is one of the local object.
  const pythonPath = method.split(".").map((part) => {
    if (isPythonName(part) && !part.startsWith("_")) return `.${part}`;
    return `[${/^\d{1,9}$/.test(part) ? Number(part) : pythonString(part)}]`;
  });
  const jsPath = method.split(".")
    .map((part) => (isName(part) ? `.${part}` : `[${jsString(part)}]`));
  const jsArgs = Array.isArray(args) ? listed.map(javascript)
    : [javascript(Object.fromEntries([...named, ["_rkwargs", true]]))];
  const pythonCall = `service${pythonPath.join("")}(${pythonArgs.join(", ")})`;
  const jsCall = `await service${jsPath.join("")}(${jsArgs.join(", ")})`;
  return {
    Python: isStream ? [
      "import asyncio",
      ...(hasArray ? ["import numpy"] : []),
      "from hypha_rpc import connect_to_server",
      "",
      "async def main():",
      `    server = await connect_to_server({"server_url": ${pythonString(server)}})`,
      `    service = await server.get_service(${pythonString(id)})`,
      `    async for item in await ${pythonCall}:`,
      "        print(item)",
      "",
      "asyncio.run(main())",
    ].join("\n") : [
      ...(hasArray ? ["import numpy"] : []),
      "from hypha_rpc.sync import connect_to_server",
      "",
      `server = connect_to_server({"server_url": ${pythonString(server)}})`,
      `service = server.get_service(${pythonString(id)})`,
      `print(${pythonCall})`,
    ].join("\n"),
    JavaScript: [
      ...(hasFile ? ['import { readFileSync } from "node:fs";'] : []),
      'import { connectToServer } from "hypha-rpc";',
      "",
      `const server = await connectToServer({ server_url: ${jsString(server)} });`,
      `const service = await server.getService(${jsString(id)});`,
      ...(isStream ? [`for await (const item of ${jsCall}) {`, "  console.log(item);", "}"]
        : [`console.log(${jsCall});`]),
    ].join("\n"),
    Rust: rustCode({ server, id, method, listed, named, isStream, hasFunction }),
    curl: curl({
      server,
      path: [workspace, "services", service, method],
      args,
      isSignedIn,
      hasFile,
    }),
    hypha: command({ server, id, method, listed, carried }),
  };
}
