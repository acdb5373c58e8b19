// JavaScript peer of the schema tests. Without options, it provides a service `plain`, whose
// functions have unusual names and no schemas, and prints `READY <id>`. With `--service`, it runs
// `schema_usage.mjs` on a service `measure`.

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
