// Runs the conformance service or client of the Rust library, compiled to WebAssembly.

import { createRequire } from "node:module";
import { parseArgs } from "node:util";
import WebSocket from "ws";

// Node 20 has no global WebSocket.
globalThis.WebSocket = WebSocket;

const [folder, action, ...rest] = process.argv.slice(2);
const module = createRequire(import.meta.url)(`${folder}/hypha_rpc_browser.js`);

if (action === "check") {
  process.exit((await module.check(rest)) ? 0 : 1);
}
const { values } = parseArgs({ args: rest, options: { "server-url": { type: "string" } } });
const session = await module.serve(values["server-url"]);
process.once("SIGTERM", async () => {
  await session.close();
  process.exit(0);
});
console.log(`READY ${session.id}`);
