// Command line and connection of the JavaScript conformance programs.

import { parseArgs } from "node:util";
import WebSocket from "ws";

// The library logs to the console. Standard output is reserved for the lines of the program.
console.log = console.info = console.debug = console.error;

// Node 20 has no global WebSocket. The library needs a global WebSocket even if its option sets
// another class, because it reads `WebSocket.OPEN` when it sends.
globalThis.WebSocket = WebSocket;

const { connectToServer } = await import("hypha-rpc");

const COMMON = ["server-url", "workspace", "token", "client-id", "transport"];

/** Returns the command-line options: the common options, and the options in `more`. */
export function parse(...more) {
  const names = [...COMMON, ...more];
  const options = Object.fromEntries(names.map((name) => [name, { type: "string" }]));
  const { values } = parseArgs({ options });
  if (!values["server-url"]) throw new Error("--server-url is required");
  return values;
}

/** Connects with the command-line options and `more`. */
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

/** Prints one line for the test. */
export function say(line) {
  process.stdout.write(`${line}\n`);
}

/** Runs `action` when the program receives SIGINT or SIGTERM. */
export function onTermination(action) {
  process.once("SIGINT", action);
  process.once("SIGTERM", action);
}
