// Writes the code of calls with hostile names, as the console does, and runs the JavaScript code
// with stubs. Prints one JSON line per call: the call, its code by language, and what ran.

import { copyFile, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

// Copied, because Node.js takes a file `.js` for a module only if a `package.json` says so.
const folder = await mkdtemp(join(tmpdir(), "console-code-"));
await writeFile(join(folder, "package.json"), '{"type": "module"}');
const sources = new URL("../../../hypha-server/src/http/console/", import.meta.url);
for (const name of ["code.js", "values.js"]) {
  await copyFile(fileURLToPath(new URL(name, sources)), join(folder, name));
}
const { FileValue, FunctionValue, snippets } = await import(join(folder, "code.js"));
const { Float } = await import(join(folder, "values.js"));
await rm(folder, { recursive: true });

const [canary] = process.argv.slice(2);
const HOSTILE = [
  "plain", "a b", "-", "--output=x", "-rf", "=ls", "@file", "@callback", "~", "#", "!!", "%1", "\\",
  `"`, "'", "`", "${x}", "{x}", "*", "?", "a=b", "..", ".", "x/other:victim.delete", "", " ", "\n",
  "\r", "\t", "\0", "\x03", "\x1b[2J", "\u202e", "\u2028", "\u2066\ud83d\ude00", "\u{e0041}", "\ufeff",
  `$(touch ${canary})`, `\`touch ${canary}\``, `'; touch ${canary}; '`, `"; touch ${canary}; "`,
  `\n touch ${canary}\n`, `\\'; touch ${canary}; '`, `\\n'; touch ${canary} #`, "\\u0041", "\\b",
  `*/ require("fs").writeFileSync("${canary}", ""); /*`,
  `"); open("${canary}", "w"); ("`, `""" + str(open("${canary}", "w")) + """`,
  "type", "class", "async", "self", "Self", "crate", "super", "lambda", "import", "def", "_", "r#type",
  "__class__", "__init__", "__proto__", "constructor", "0", "12", "größe", "x = 1)).await?; evil((",
];
const server = "http://localhost:9527";
const call = (method, args, more = {}) =>
  ({ server, workspace: "ws", service: "client:desk", method, args, ...more });

const calls = [];
for (const text of HOSTILE) {
  if (text) calls.push(call(text, { a: 1 }), call(`stage.${text}`, {}));
  calls.push(call("f", Object.fromEntries([[text, text]])));
  calls.push(call("f", [text, Object.fromEntries([[text, [text]]])]));
  calls.push(call("f", { value: text }, { service: `client:${text}`, isSignedIn: true }));
  calls.push(call("f", { value: text }, { isStream: true }));
  if (text) calls.push(call("f", { file: new FileValue(text, "bytes") }));
}
calls.push(call("f", { a: new Float(1), b: new Float(-0.5), c: -3, d: null, e: true, f: [1.5, {}] }));
calls.push(call("f", { progress: new FunctionValue(2), a: 1 }));

/** Returns a value whose members are of the same kind. Calls are added to `found`. */
function recorder(path, found) {
  return new Proxy(() => {}, {
    get: (_, key) => (key === "then" ? undefined : recorder([...path, key], found)),
    apply: (_, __, args) => {
      found.push({ path, args });
      return path.length ? [] : null;
    },
  });
}

async function run(code) {
  const found = [];
  const ids = [];
  const connectToServer = async () => ({
    getService: async (id) => {
      ids.push(id);
      return recorder([], found);
    },
  });
  const body = code.split("\n").filter((line) => !line.startsWith("import ")).join("\n");
  const AsyncFunction = (async () => {}).constructor;
  const names = ["connectToServer", "readFileSync", "console"];
  const read = (name) => `file ${name}`;
  await new AsyncFunction(...names, body)(connectToServer, read, { log: () => {} });
  return { ids, calls: found };
}

const asJson = (_, value) => {
  if (value instanceof FileValue) return `file ${value.name}`;
  return value instanceof FunctionValue || typeof value === "function" ? "function" : value;
};
for (const each of calls) {
  const code = snippets(each);
  let ran;
  try {
    ran = await run(code.JavaScript);
  } catch (error) {
    ran = { error: String(error) };
  }
  process.stdout.write(`${JSON.stringify({ call: each, code, ran }, asJson)}\n`);
}
