// What the JavaScript conformance programs share: their command line and how they connect.

import { parseArgs } from "node:util";
import WebSocket from "ws";

// The library logs to the console; standard output belongs to the lines of the program.
console.log = console.info = console.debug = console.error;

// Node 20 has no WebSocket of its own, and the library's option for another class is not enough:
// it reads `WebSocket.OPEN` of the global one whenever it sends.
globalThis.WebSocket = WebSocket;

const { connectToServer } = await import("hypha-rpc");

const COMMON = ["server-url", "workspace", "token", "client-id", "transport"];

/** The options of the command line: the common ones, and those named `more`. */
export function parse(...more) {
  const names = [...COMMON, ...more];
  const options = Object.fromEntries(names.map((name) => [name, { type: "string" }]));
  const { values } = parseArgs({ options });
  if (!values["server-url"]) throw new Error("--server-url is required");
  return values;
}

/** Connect with what the command line says and `more`. */
export function connect(options, more = {}) {
  return connectToServer({
    server_url: options["server-url"],
    workspace: options.workspace,
    token: options.token,
    client_id: options["client-id"],
    ...(options.transport && { transport: options.transport }),
    ...more,
  });
}

/** Print one line of the program's protocol. */
export function say(line) {
  process.stdout.write(`${line}\n`);
}

/** Run `action` when the program is asked to stop. */
export function onTermination(action) {
  process.once("SIGINT", action);
  process.once("SIGTERM", action);
}
