// The JavaScript peer of the tests of schemas. Without options it hosts a service `plain`, whose
// functions have no schemas and names of all kinds, and prints `READY <id>`. With `--service` it
// uses a service `measure` as `schema_usage.mjs` does.

import { connect, onTermination, parse, say } from "./peer.mjs";
import { use } from "./schema_usage.mjs";

const options = parse("service");
const server = await connect(options);
if (options.service) {
  await use(await server.getService(options.service));
  say("USED");
  await server.disconnect();
  process.exit(0);
}
const add = (a, b = 2) => a + b;
const info = await server.registerService({
  id: "plain",
  config: { visibility: "public" },
  add,
  fooBar: () => "foo",
  class: () => "class",
  "with-dash": () => "dash",
  'with"quote`\n*/': () => "quote",
  nested: { add },
  answer: 42,
});
say(`READY ${info.id}`);
onTermination(() => process.exit(0));
