// Provides the service `safe` with encryption, or calls it.
//
// As a provider, prints `READY <full service id> <public key>`, and runs until it is terminated. As
// a caller, with `--service` and `--key`, prints the results as one line of JSON.

// The library gets random numbers from `self.crypto`, which only browsers have.
globalThis.self ??= globalThis;

const { connect, onTermination, parse, say } = await import("./peer.mjs");

/** Return the string, and the key of its sender. */
function whisper(text, context) {
  return [`secret ${text}`, context.caller_public_key ?? null];
}

/** Call the listener with a string, and return its result. */
async function tell(listener, _context) {
  return await listener("secret rumour");
}

/** Make a function that adds. */
function adder(n, _context) {
  return (m) => n + m;
}

/** Stream `n` strings. */
function* stories(n, _context) {
  for (let index = 0; index < n; index++) yield `secret story ${index}`;
}

const options = parse("service", "key", "trusted-key");
const server = await connect(options, { encryption: true });
if (options.service) {
  const safe = await server.getService(options.service, { encryption_public_key: options.key });
  const said = { key: server.rpc.getPublicKey() };
  said.whisper = await safe.whisper("word");
  said.tell = await safe.tell((text) => `heard ${text}`);
  said.adder = await (await safe.adder(1))(2);
  said.stories = [];
  for await (const story of await safe.stories(3)) said.stories.push(story);
  said.long = (await safe.whisper("word".repeat(200_000)))[0].length;
  const plain = await server.getService(options.service);
  said.plain = await plain.whisper("word");
  say(JSON.stringify(said));
  await server.disconnect();
  process.exit(0);
}
const config = { visibility: "public", require_context: true };
if (options["trusted-key"]) config.trusted_keys = [options["trusted-key"]];
const info = await server.registerService({ id: "safe", config, whisper, tell, adder, stories });
onTermination(async () => {
  await server.disconnect();
  process.exit(0);
});
say(`READY ${info.id} ${server.rpc.getPublicKey()}`);
