// Registers a service `number`, or checks the options of a Rust service in JavaScript. Has the
// options of `options_peer.py`.

import { connect, onTermination, parse, say } from "./peer.mjs";

async function provide(server, value) {
  const get_value = () => JSON.parse(value);
  const info = await server.registerService({
    id: "number",
    get_value,
    read_number: (add_one) => JSON.parse(value) + (add_one ? 1 : 0),
    deep_part: { read_it: get_value },
  });
  const stopped = new Promise(onTermination);
  say(`READY ${info.id}`);
  await stopped;
}

function same(got, wanted) {
  const [a, b] = [JSON.stringify(got), JSON.stringify(wanted)];
  if (a !== b) throw new Error(`got ${a}, wanted ${b}`);
}

/** Checks that `doing` fails with a message that contains `text`. */
async function refused(doing, text) {
  try {
    await doing;
  } catch (error) {
    if (!String(error).includes(text)) throw new Error(`"${text}" is not in ${error}`);
    return;
  }
  throw new Error(`not refused: ${text}`);
}

function checks(server, host) {
  const desk = `${host}:desk`;
  return {
    async camel() {
      const service = await server.getService(desk, { case_conversion: "camel" });
      same(await service.readNumber(true), 5);
      same(await service.deepPart.readIt(), 7);
      same(service.config.runInExecutor, true);
      same("read_number" in service, false);
      same(service.readNumber.__schema__.description, "Read the number.");
    },
    async snake() {
      const service = await server.getService(desk, { case_conversion: "snake" });
      same(await service.read_number(true), 5);
      same(service.config.run_in_executor, true);
    },
    async directly() {
      const address = `${server.config.workspace}/${desk}`;
      const service = await server.rpc.get_remote_service(address, { case_conversion: "camel" });
      same(await service.readNumber(true), 5);
    },
    async blocking() {
      // The caller's idle timeout is one second.
      const service = await server.getService(desk);
      same(await service.nap(2.5), "2.5 s");
      await refused(service.nap(-1.5), "cannot sleep for -1.5 s");
    },
    async trusted() {
      const service = await server.getService(`${host}:guarded`);
      await refused(service.f(), "Encryption required for method");
    },
    async defines_a_type() {
      const is_open = (at) => true;
      const example = { id: "s", name: "n", config: {}, is_open, parts: [1, 2] };
      const definition = await server.getServiceSchema(example);
      await server.registerServiceType({ id: "javascript-shutter", name: "Shutter", definition });
      const types = await server.listServiceTypes();
      same(types.some((type) => type.name === "Shutter"), true);
    },
  };
}

async function check(server, host) {
  let passed = true;
  for (const [name, run] of Object.entries(checks(server, host))) {
    try {
      await run();
      say(JSON.stringify({ name, ok: true }));
    } catch (error) {
      say(JSON.stringify({ name, ok: false, detail: String(error.stack ?? error) }));
      passed = false;
    }
  }
  return passed ? 0 : 1;
}

const options = parse("value", "host");
const server = await connect(options, options.host ? { method_timeout: 1 } : {});
const code = options.host ? await check(server, options.host) : await provide(server, options.value);
await server.disconnect();
process.exit(code ?? 0);
