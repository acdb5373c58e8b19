// Waits for the response of the method `wait` of `--service`, and prints `FAILED <error>`.

import { connect, parse, say } from "./peer.mjs";

const options = parse("service");
const server = await connect(options);
const service = await server.getService(options.service);
try {
  await service.wait();
} catch (error) {
  say(`FAILED ${String(error).slice(-200)}`);
}
process.exit(0);
