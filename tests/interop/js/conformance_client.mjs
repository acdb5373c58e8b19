// Checks every method of a `conformance` service in any language.
//
// Prints one JSON line `{"name", "ok", "detail"}` per check. The exit status is 1 if a check
// failed.

import { MEGABYTE, expect, expectError, expectSame, named, pause } from "./checks.mjs";
import { liveChecks } from "./live_checks.mjs";
import { connect, parse, say } from "./peer.mjs";
import { difference, pattern, plain, short } from "./sample_values.mjs";

// Timeout of a check, in milliseconds.
const LIMIT = 90_000;

/** The checks, in the order in which they run. */
function allChecks(options, server, service) {
  const host = options["host-language"];
  // Python and Rust functions reject additional arguments. JavaScript functions ignore them.
  const knowsParameters = host === "python" || host === "rust";

  // Sessions of abandoned calls, which may remain.
  const leftAlone = new Set();

  /** Connects another client, in the workspace of the options if one is set. */
  const another = (more) => connect({ ...options, "client-id": undefined }, more);

  /** Returns a method that the service description does not list. */
  async function member(name) {
    const listed = service.echo.__rpc_object__;
    const path = listed._rmethod.slice(0, listed._rmethod.lastIndexOf("."));
    return server.rpc.decode({ ...listed, _rmethod: `${path}.${name}`, _rname: name });
  }

  return {
    async echo_plain_values() {
      for (const [name, value] of plain()) {
        const found = difference(await service.echo(value), value);
        expect(found === null, `${name}: ${found}`);
      }
    },

    async echo_undefined_is_null() {
      expectSame(await service.echo({ a: undefined }), { a: null });
    },

    async echo_by_name() {
      expectSame(await service.echo(named({ value: { a: [1, null] } })), { a: [1, null] });
    },

    async echo_map_is_not_keywords() {
      expectSame(await service.echo({ value: 1 }), { value: 1 });
    },

    async echo_large_bytes() {
      for (const size of [MEGABYTE, 5 * MEGABYTE]) {
        expectSame(await service.echo(pattern(size)), pattern(size));
      }
    },

    async echo_sizes_around_the_chunk_threshold() {
      for (const size of [262143, 262144, 262145, 263168, 263300, 524288, 524289]) {
        expectSame(await service.echo(pattern(size)), pattern(size));
      }
    },

    async echo_large_structure() {
      const rows = Array.from({ length: 20000 }, (_, i) => ({
        index: i,
        name: `row ${i}`,
        half: i + 0.5,
      }));
      expectSame(await service.echo(rows), rows);
    },

    async add_positional() {
      expectSame(await service.add(2.5, 3.25), 5.75);
      expectSame(await service.add(-1, 2), 1);
    },

    async add_by_name() {
      expectSame(await service.add(named({ a: 2.5, b: 3.25 })), 5.75);
      expectSame(await service.add(named({ b: 3.25, a: 2.5 })), 5.75);
    },

    async add_mixed() {
      if (!knowsParameters) {
        return "skipped: JavaScript hosts drop positional arguments beside named ones";
      }
      expectSame(await service.add(2.5, named({ b: 3.25 })), 5.75);
    },

    async add_default() {
      expectSame(await service.add(2.5), 3.5);
      expectSame(await service.add(named({ a: 2.5 })), 3.5);
    },

    async divide() {
      expectSame(await service.divide(1, 4), 0.25);
    },

    async divide_by_zero_fails() {
      await expectError(service.divide(1, 0), "zero");
    },

    async describe() {
      const people = [
        { name: "Ada" },
        { name: "Žofie 漢字", age: 36 },
        { name: "Ada", tags: [] },
        { name: "Ada", age: 36, tags: ["countess", "mathematics"] },
      ];
      for (const person of people) {
        const got = await service.describe(person);
        expect(typeof got === "string", `a sentence, not ${short(got)}`);
        expect(got.includes(person.name), `${got} does not name ${person.name}`);
        expectSame(await service.describe(named({ person })), got);
      }
    },

    async whoami() {
      const got = await service.whoami();
      const { user, workspace, client_id } = server.config;
      const wanted = {
        user_id: user.id,
        workspace,
        from: `${workspace}/${client_id}`,
        is_anonymous: user.is_anonymous,
      };
      for (const [key, value] of Object.entries(wanted)) expectSame(got[key], value);
    },

    async sleep() {
      for (const seconds of [0, 0.2]) expectSame(await service.sleep(seconds), seconds);
    },

    async sleep_longer_than_the_silence_limit() {
      // Without heartbeats, the call would fail after `method_timeout`.
      const second = await another({ method_timeout: 3 });
      try {
        const sleeper = await second.getService(options.service);
        expectSame(await sleeper.sleep(5), 5);
      } finally {
        await second.disconnect();
      }
    },

    async make_bytes() {
      for (const size of [0, 1, 70000, 5 * MEGABYTE]) {
        const got = await service.make_bytes(size);
        expect(got instanceof Uint8Array, `got ${short(got)}`);
        expect(got.length === size, `${size} bytes wanted, ${got.length} came`);
      }
    },

    async length() {
      for (const size of [0, 1, 70000, 5 * MEGABYTE]) {
        expectSame(await service.length(pattern(size)), size);
      }
    },

    async many_calls_at_once() {
      const numbers = Array.from({ length: 300 }, (_, i) => i);
      const got = await Promise.all(numbers.map((i) => service.add(i, 0.5)));
      expectSame(got, numbers.map((i) => i + 0.5));
    },

    async calls_do_not_wait_for_each_other() {
      let ended = false;
      // Do not await the call, because it still runs when this program ends.
      const before = Object.keys(server.rpc._object_store);
      service.sleep(15).then(() => (ended = true), () => {});
      await pause(0);
      for (const key of Object.keys(server.rpc._object_store)) {
        if (!before.includes(key)) leftAlone.add(key);
      }
      const started = Date.now();
      const sleepers = Array.from({ length: 40 }, () => service.sleep(0.5));
      expectSame(await service.echo("quick"), "quick");
      await Promise.all(sleepers);
      expect(Date.now() - started < 12_000, "40 calls of 0.5 s took more than 12 s");
      expect(!ended, "the long call has ended");
    },

    async large_payloads_at_once() {
      const datas = [0, 1, 2, 3].map((seed) => pattern(MEGABYTE, seed));
      const got = await Promise.all(datas.map((data) => service.echo(data)));
      expectSame(got, datas);
    },

    async unknown_method_fails() {
      const method = await member("no_such_method");
      await expectError(method(1), "not found", "invalid method");
    },

    async unknown_service_fails() {
      const provider = options.service.split(":")[0];
      await expectError(server.getService(`${provider}:no-such-service`), "not found");
    },

    async ill_typed_argument_fails() {
      await expectError(service.add("one", 2), "a\\b");
      await expectError(service.add(1, [2]), "b\\b");
      await expectError(service.describe("Ada"), "person");
      await expectError(service.describe({ age: 36 }), "name");
      await expectError(service.describe({ name: 1 }), "name");
      await expectError(service.describe({ name: "Ada", tags: [1] }), "tags");
      await expectError(service.length("text"), "data");
      await expectError(service.make_bytes(-1), "n\\b");
    },

    async too_few_arguments_fail() {
      await expectError(service.divide(1), "b\\b");
      await expectError(service.divide(named({ b: 1 })), "a\\b");
      await expectError(service.describe(), "person");
    },

    async too_many_arguments_fail() {
      if (!knowsParameters) return "skipped: JavaScript ignores additional arguments";
      await expectError(service.echo(1, 2), "argument");
      await expectError(service.add(1, 2, 3), "argument");
    },

    async unknown_or_doubled_names_fail() {
      if (!knowsParameters) return "skipped: JavaScript ignores additional arguments";
      await expectError(service.add(1, named({ c: 2 })), "c\\b");
      await expectError(service.add(1, named({ a: 2 })), "a\\b");
    },

    async schema() {
      const methods = [
        ...["echo", "add", "divide", "describe", "whoami", "sleep", "make_bytes", "length"],
        ...["panic_now", "scale", "call_back", "count", "sum", "store"],
      ];
      const info = await server.getServiceInfo(options.service);
      for (const method of methods) {
        expectSame(info.service_schema[method]?.function?.name, method);
      }
    },

    async panic_is_an_error() {
      await expectError(service.panic_now(), "panic");
    },

    async read_all() {
      for (const size of [0, 10, 700000]) {
        expectSame(await service.read_all(new Blob([pattern(size)])), pattern(size));
      }
    },

    async answers_after_the_panic() {
      expectSame(await service.echo("still there"), "still there");
      const numbers = Array.from({ length: 20 }, (_, i) => i);
      const got = await Promise.all(numbers.map((i) => service.add(i, 1)));
      expectSame(got, numbers.map((i) => i + 1));
    },

    ...liveChecks({ options, server, service, another, leftAlone }),
  };
}

/** Runs one check, prints its line, and returns whether it passed. */
async function run(name, check) {
  let timer;
  const limit = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no end after ${LIMIT / 1000} s`)), LIMIT);
  });
  let ok = true;
  let detail;
  try {
    detail = (await Promise.race([check(), limit])) ?? "";
  } catch (error) {
    ok = false;
    detail = String(error?.message ?? error).slice(-2000);
    console.error(name, error);
  }
  clearTimeout(timer);
  say(JSON.stringify({ name, ok, detail }));
  return ok;
}

const options = parse("service", "host-language", "skip");
const skipped = (options.skip ?? "").split(",");
if (!options.service) throw new Error("--service is required");
let server;
let service;
let ok = await run("connect", async () => {
  server = await connect(options, { name: "JavaScript conformance client" });
  service = await server.getService(options.service);
});
if (ok) {
  for (const [name, check] of Object.entries(allChecks(options, server, service))) {
    if (skipped.includes(name)) continue;
    ok = (await run(name, check)) && ok;
  }
  await server.disconnect();
}
// End the process, because abandoned calls would keep it running.
process.exit(ok ? 0 : 1);
