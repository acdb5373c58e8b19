// The same call in other languages.

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

const isName = (text) => /^[A-Za-z_][A-Za-z0-9_]*$/.test(text);
const shell = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

function python(value) {
  if (value instanceof FileValue) {
    const name = JSON.stringify(value.name);
    return value.kind === "array" ? `numpy.load(${name})` : `open(${name}, "rb").read()`;
  }
  if (value instanceof FunctionValue) {
    return value.count === 1 ? "lambda value: print(value)" : "lambda *values: print(*values)";
  }
  if (value === null || value === undefined) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (Array.isArray(value)) return `[${value.map(python).join(", ")}]`;
  if (typeof value === "object" && !("toJSON" in value)) {
    const entries = Object.entries(value);
    return `{${entries.map(([key, item]) => `${string(key)}: ${python(item)}`).join(", ")}}`;
  }
  return typeof value === "string" ? string(value) : json(value);
}

/** Returns a literal that Python, JavaScript and JSON read alike. */
function string(text) {
  return JSON.stringify(text).replaceAll("\u2028", "\\u2028").replaceAll("\u2029", "\\u2029");
}

function json(value) {
  return JSON.stringify(value, (_, item) => {
    if (item instanceof FileValue) return `<${item.name}>`;
    if (item instanceof FunctionValue) return undefined;
    return typeof item === "bigint" ? Number(item) : item;
  });
}

function javascript(value) {
  if (value instanceof FileValue) return `readFileSync(${string(value.name)})`;
  if (value instanceof FunctionValue) {
    return value.count === 1 ? "(value) => console.log(value)"
      : "(...values) => console.log(...values)";
  }
  if (typeof value === "bigint") return `${value}n`;
  if (Array.isArray(value)) return `[${value.map(javascript).join(", ")}]`;
  if (value !== null && typeof value === "object" && !("toJSON" in value)) {
    const entries = Object.entries(value).map(([key, item]) => {
      return `${isName(key) ? key : string(key)}: ${javascript(item)}`;
    });
    return `{${entries.length ? ` ${entries.join(", ")} ` : ""}}`;
  }
  return typeof value === "string" ? string(value) : json(value);
}

function rust(value) {
  if (value instanceof FileValue) return `std::fs::read(${rustString(value.name)})?`;
  if (value instanceof FunctionValue) {
    const types = Array(value.count).fill("Value").join(", ");
    const type = value.count === 1 ? "Value" : `(${types})`;
    return `Callback::new(|value: ${type}| async move { println!("{value:?}") })`;
  }
  if (value === null || typeof value === "object") {
    return "toJSON" in Object(value) ? float(value) : `serde_json::json!(${json(value)})`;
  }
  return typeof value === "string" ? rustString(value) : String(value);
}

function float(value) {
  const text = json(value);
  return /[.e]/i.test(text) ? text : `${text}.0`;
}

function rustString(text) {
  const escaped = string(text).replaceAll("\\b", "\\x08").replaceAll("\\f", "\\x0c");
  return escaped.replaceAll(/\\u([0-9a-f]{4})/g, "\\u{$1}");
}

/**
 * Returns the code of the call by language. `args` is a list, or an object by name. `isStream`
 * is true if the result is a stream, and `isSignedIn` if the user has a token.
 */
export function snippets({ server, workspace, service, method, args, isStream, isSignedIn }) {
  const id = `${workspace}/${service}`;
  const named = Array.isArray(args) ? [] : Object.entries(args);
  // The command passes functions that show progress; JSON cannot carry functions.
  const carried = named.filter(([, item]) => !(item instanceof FunctionValue));
  const hasFunction = carried.length < named.length;
  const listed = Array.isArray(args) ? args : [];
  const files = [...named.map(([, item]) => item), ...listed];
  const has = (kind) => files.some((item) => item instanceof FileValue && (!kind || item.kind === kind));

  const pythonArgs = [
    ...listed.map(python),
    ...named.filter(([name]) => isName(name)).map(([name, item]) => `${name}=${python(item)}`),
  ];
  const odd = named.filter(([name]) => !isName(name));
  if (odd.length) pythonArgs.push(`**${python(Object.fromEntries(odd))}`);
  const pythonPath = method.split(".")
    .map((part) => (isName(part) ? `.${part}` : `[${/^\d+$/.test(part) ? part : string(part)}]`));
  const jsPath = method.split(".")
    .map((part) => (isName(part) ? `.${part}` : `[${string(part)}]`));
  const jsArgs = Array.isArray(args) ? listed.map(javascript)
    : [javascript({ ...args, _rkwargs: true })];
  const rustArgs = [
    ...listed.map(rust),
    ...named.map(([name, item]) => `${isName(name) ? name : `r#${name}`} = ${rust(item)}`),
  ];
  const words = [
    ...listed.map((item) => (item instanceof FileValue ? `@${item.name}` : json(item))),
    ...carried.map(([name, item]) => {
      if (item instanceof FileValue) return `${name}=@${item.name}`;
      return `${name}=${json(item)}`;
    }),
  ];
  const path = [workspace, "services", service, method].map(encodeURIComponent)
    .map((part) => part.replaceAll("%3A", ":").replaceAll("%40", "@")).join("/");
  const notes = [
    ...(has() ? ["# JSON cannot carry the bytes of files: use another language."] : []),
    ...(hasFunction ? ["# JSON cannot carry functions: use another language."] : []),
  ];
  const jsonArgs = json(Array.isArray(args) ? args : Object.fromEntries(carried));
  const pythonCall = `service${pythonPath.join("")}(${pythonArgs.join(", ")})`;
  const jsCall = `await service${jsPath.join("")}(${jsArgs.join(", ")})`;
  const rustCall = (type) =>
    `service.call::<${type}>(${rustString(method)}, args!(${rustArgs.join(", ")})).await?`;
  return {
    Python: isStream ? [
      "import asyncio",
      ...(has("array") ? ["import numpy"] : []),
      "from hypha_rpc import connect_to_server",
      "",
      "async def main():",
      `    server = await connect_to_server({"server_url": ${string(server)}})`,
      `    service = await server.get_service(${string(id)})`,
      `    async for item in await ${pythonCall}:`,
      "        print(item)",
      "",
      "asyncio.run(main())",
    ].join("\n") : [
      ...(has("array") ? ["import numpy"] : []),
      "from hypha_rpc.sync import connect_to_server",
      "",
      `server = connect_to_server({"server_url": ${string(server)}})`,
      `service = server.get_service(${string(id)})`,
      `print(${pythonCall})`,
    ].join("\n"),
    JavaScript: [
      ...(has() ? ['import { readFileSync } from "node:fs";'] : []),
      'import { connectToServer } from "hypha-rpc";',
      "",
      `const server = await connectToServer({ server_url: ${string(server)} });`,
      `const service = await server.getService(${string(id)});`,
      ...(isStream ? [`for await (const item of ${jsCall}) {`, "  console.log(item);", "}"]
        : [`console.log(${jsCall});`]),
    ].join("\n"),
    Rust: [
      isStream || hasFunction ? "use hypha_rpc::prelude::*;" : "use hypha_rpc::{Value, args};",
      "",
      `let server = hypha_rpc::connect(${rustString(server)}).await?;`,
      `let service = server.get_service(${rustString(id)}).await?;`,
      ...(isStream ? [
        `let mut items = ${rustCall("RemoteStream<Value>")};`,
        "while let Some(item) = items.try_next().await? {",
        '    println!("{item:?}");',
        "}",
      ] : [`let result = ${rustCall("Value")};`, 'println!("{result:?}");']),
    ].join("\n"),
    curl: [
      ...notes,
      `curl -X POST ${shell(`${server}/${path}`)} \\`,
      "  -H 'Content-Type: application/json' \\",
      ...(isSignedIn ? ['  -H "Authorization: Bearer $HYPHA_TOKEN" \\'] : []),
      `  -d ${shell(jsonArgs)}`,
    ].join("\n"),
    hypha: `hypha call --server-url ${[server, `${id}.${method}`, ...words].map(shell).join(" ")}`,
  };
}
