// The same call in other languages.

/** A value that a program reads from a file. */
export class FileValue {
  constructor(name, kind) {
    this.name = name;
    this.kind = kind;
  }
}

const isName = (text) => /^[A-Za-z_][A-Za-z0-9_]*$/.test(text);
const shell = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

function python(value) {
  if (value instanceof FileValue) {
    const name = JSON.stringify(value.name);
    return value.kind === "array" ? `numpy.load(${name})` : `open(${name}, "rb").read()`;
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
    return typeof item === "bigint" ? Number(item) : item;
  });
}

function javascript(value) {
  if (value instanceof FileValue) return `readFileSync(${string(value.name)})`;
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

/** Returns the code of the call by language. `args` is a list, or an object by name. */
export function snippets({ server, workspace, service, method, args }) {
  const id = `${workspace}/${service}`;
  const named = Array.isArray(args) ? [] : Object.entries(args);
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
    ...named.map(([name, item]) => {
      if (item instanceof FileValue) return `${name}=@${item.name}`;
      return `${name}=${json(item)}`;
    }),
  ];
  const path = [workspace, "services", service, method].map(encodeURIComponent)
    .map((part) => part.replaceAll("%3A", ":").replaceAll("%40", "@")).join("/");
  const stdin = has() ? "# JSON cannot carry the bytes of files: use another language.\n" : "";
  return {
    Python: [
      ...(has("array") ? ["import numpy"] : []),
      "from hypha_rpc.sync import connect_to_server",
      "",
      `server = connect_to_server({"server_url": ${string(server)}})`,
      `service = server.get_service(${string(id)})`,
      `print(service${pythonPath.join("")}(${pythonArgs.join(", ")}))`,
    ].join("\n"),
    JavaScript: [
      ...(has() ? ['import { readFileSync } from "node:fs";'] : []),
      'import { connectToServer } from "hypha-rpc";',
      "",
      `const server = await connectToServer({ server_url: ${string(server)} });`,
      `const service = await server.getService(${string(id)});`,
      `console.log(await service${jsPath.join("")}(${jsArgs.join(", ")}));`,
    ].join("\n"),
    Rust: [
      "use hypha_rpc::{Value, args};",
      "",
      `let server = hypha_rpc::connect(${rustString(server)}).await?;`,
      `let service = server.get_service(${rustString(id)}).await?;`,
      `let result = service.call::<Value>(${rustString(method)}, args!(${rustArgs.join(", ")})).await?;`,
      'println!("{result:?}");',
    ].join("\n"),
    curl: [
      `${stdin}curl -X POST ${shell(`${server}/${path}`)} \\`,
      "  -H 'Content-Type: application/json' \\",
      '  -H "Authorization: Bearer $HYPHA_TOKEN" \\',
      `  -d ${shell(json(args))}`,
    ].join("\n"),
    hypha: `hypha call --server-url ${[server, `${id}.${method}`, ...words].map(shell).join(" ")}`,
  };
}
