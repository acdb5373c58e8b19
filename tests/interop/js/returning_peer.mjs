// Registers a public service, and calls the manager twice a second until it is killed.
//
// Prints `READY <workspace>`, and `ECHO <milliseconds since 1970>` after each response of the
// manager.

import { connect, parse, say } from "./peer.mjs";

const options = parse();
const server = await connect(options, { name: "who comes back", method_timeout: 5 });
await server.registerService({
  id: "here",
  config: { visibility: "public" },
  hello: () => "hello",
});
say(`READY ${server.config.workspace}`);
process.on("unhandledRejection", (error) => say(`UNHANDLED ${error}`));
for (;;) {
  await new Promise((resolve) => setTimeout(resolve, 500));
  const begun = Date.now();
  try {
    if ((await server.echo(begun)) === begun) say(`ECHO ${begun}`);
  } catch (error) {
    say(`FAILED ${String(error).slice(-200)}`);
  }
}
