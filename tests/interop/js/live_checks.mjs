// Checks of arrays, functions, streams and objects in arguments and results.

import {
  GONE,
  MEGABYTE,
  collect,
  eventually,
  expect,
  expectError,
  expectFailureAtOnce,
  expectSame,
  named,
  ndarray,
  pause,
  range,
} from "./checks.mjs";
import { short } from "./sample_values.mjs";

/** Returns the checks of live objects. `another` connects one more client. */
export function liveChecks({ options, server, service, another, leftAlone }) {
  /** Waits until the host has no open stream of `count`. */
  const noStreamIsLeft = () =>
    eventually(
      "the host's stream has not been closed",
      async () => (await service.open_streams()) === 0,
    );

  /** Stores an interface, runs a function with it, and withdraws it. */
  async function withInterface(getItem, action) {
    const interface_ = { _rintf: true, getItem };
    await service.store(interface_);
    try {
      await action(interface_._rintf_service_id);
    } finally {
      await server.rpc.unregister_service(interface_._rintf_service_id);
    }
  }

  return {
    async array_info() {
      const cases = [
        [Float32Array.of(0.5, 0.25), { dtype: "float32", shape: [2], sum: 0.75 }],
        [Int16Array.of(-1, 300, 2), { dtype: "int16", shape: [3], sum: 301 }],
        [Float64Array.of(), { dtype: "float64", shape: [0], sum: 0 }],
        [
          ndarray(Uint32Array.of(1, 2, 3, 4, 5, 6), [2, 3], "uint32"),
          { dtype: "uint32", shape: [2, 3], sum: 21 },
        ],
      ];
      for (const [array, wanted] of cases) expectSame(await service.array_info(array), wanted);
    },

    async scale() {
      // The service returns a typed array, or an array with one dimension.
      const typed = await service.scale(Float32Array.of(1.5, -2), 2);
      const elements = typed._rtype ? new Float32Array(typed._rvalue.slice().buffer) : typed;
      expect(elements instanceof Float32Array, `got ${short(typed)}`);
      expectSame([...elements], [3, -4]);
      const scaled = await service.scale(ndarray(Int16Array.of(1, 2, -3, 4), [2, 2], "int16"), 3);
      const wanted = ndarray(Int16Array.of(3, 6, -9, 12), [2, 2], "int16");
      for (const key of Object.keys(wanted)) expectSame(scaled[key], wanted[key]);
    },

    async what_is_no_array_is_refused() {
      await expectError(service.array_info("text"), "array");
    },

    async checked_divide() {
      expectSame(await service.checked_divide(1, 4), 0.25);
      await expectError(service.checked_divide(1, 0), "division by zero");
      await expectError(service.checked_divide(1e300, 1e-300), "too large");
    },

    async call_back() {
      expectSame(await service.call_back((i) => 2 * i, 3), [0, 2, 4]);
      expectSame(await service.call_back((i) => i, 0), []);
      const slow = async (i) => {
        await pause(20);
        return { n: [i, null] };
      };
      expectSame(await service.call_back(slow, 2), [{ n: [0, null] }, { n: [1, null] }]);
    },

    async callbacks_that_fail() {
      const fail = (i) => {
        if (i === 1) throw new RangeError("no more of it");
      };
      const failLater = async (i) => {
        await pause(10);
        fail(i);
      };
      for (const callback of [fail, failLater]) {
        await expectFailureAtOnce(service.call_back(callback, 2), "no more of it");
      }
      expectSame(await service.add(1, 2), 3);
    },

    async large_answers_of_callbacks() {
      const got = await service.call_back((i) => new Uint8Array(MEGABYTE + i).fill(i), 3);
      expectSame(got, range(3).map((i) => new Uint8Array(MEGABYTE + i).fill(i)));
    },

    async callbacks_in_maps_and_lists() {
      const functions = {
        a: [(key) => `first ${key}`, async (key) => `second ${key}`],
        b: [],
        c: [(key) => `third ${key}`],
      };
      const wanted = { a: ["first a", "second a"], b: [], c: ["third c"] };
      expectSame(await service.call_nested(functions), wanted);
    },

    async a_callback_calls_the_service() {
      expectSame(await service.call_back((i) => service.add(i, 0.5), 2), [0.5, 1.5]);
    },

    async progress() {
      const seen = [];
      expectSame(await service.progress((step) => void seen.push(step), 200), 200);
      await eventually("not all steps came", async () => seen.length === 200);
      expectSame(seen, range(200));
    },

    async callbacks_end_with_their_call() {
      const back = await service.echo((i) => 2 * i);
      await expectFailureAtOnce(back(1), ...GONE);
      await service.store({ getItem: (key) => key });
      await expectFailureAtOnce(service.use_stored("key"), ...GONE);
    },

    async make_counter() {
      const counter = await service.make_counter();
      const other = await service.make_counter();
      expectSame(await counter.increment(2), 2);
      await Promise.all(range(300).map((i) => service.add(i, 0.5)));
      await pause(300);
      expectSame(await counter.increment(named({ by: 3 })), 5);
      expectSame(await counter.increment(), 6);
      expectSame(await other.value(), 0);
      expectSame(await counter.value(), 6);
    },

    async nobody_else_uses_what_was_handed_out() {
      const counter = await service.make_counter();
      const { workspace, client_id } = server.config;
      const other = await another();
      try {
        const stranger = await other.rpc.decode({ ...counter.value.__rpc_object__ });
        await expectFailureAtOnce(stranger(), "access denied", "permission denied");
        await withInterface(
          (key) => key,
          async (id) => {
            // Only clients in the owner's workspace receive a reference to an interface, so this
            // client builds a reference.
            const getItem = await other.rpc.decode({
              ...counter.value.__rpc_object__,
              _rtarget: `${workspace}/${client_id}`,
              _rmethod: `services.${id}.getItem`,
            });
            if (other.config.workspace === workspace) return;
            await expectFailureAtOnce(getItem("key"), "permission denied");
          },
        );
      } finally {
        await other.disconnect();
      }
    },

    async count() {
      for (const n of [0, 1, 5, 500]) expectSame(await collect(await service.count(n)), range(n));
      await noStreamIsLeft();
    },

    async streams_that_are_left() {
      const seen = [];
      for await (const item of await service.count(1_000_000)) {
        seen.push(item);
        if (item === 2) {
          expectSame(await service.open_streams(), 1);
          break;
        }
      }
      expectSame(seen, [0, 1, 2]);
      await noStreamIsLeft();
    },

    async fail_after() {
      for (const n of [0, 2]) {
        const seen = [];
        const read = async () => {
          for await (const item of await service.fail_after(n)) seen.push(item);
        };
        await expectFailureAtOnce(read(), `failed after ${n} items`);
        expectSame(seen, range(n));
      }
    },

    async blocks() {
      const got = await collect(await service.blocks(3, MEGABYTE));
      expectSame(got, range(3).map((i) => new Uint8Array(MEGABYTE).fill(i)));
    },

    async sum() {
      async function* later(numbers) {
        for (const number of numbers) {
          await pause(1);
          yield number;
        }
      }
      function* plain(numbers) {
        yield* numbers;
      }
      let left = 3;
      const handMade = {
        next: () => ({ done: left === 0, value: left && left-- }),
        [Symbol.iterator]() {
          return this;
        },
      };
      // Do not use `[].values()`, which the library treats as an empty map in Node 20.
      expectSame(await service.sum(plain([])), 0);
      expectSame(await service.sum(plain([1.5, 2.25])), 3.75);
      expectSame(await service.sum(later([1, 2.5])), 3.5);
      expectSame(await service.sum(handMade), 6);
      expectSame(await service.sum(plain(range(2000))), 1_999_000);
    },

    async streams_of_ours_that_fail() {
      function* broken() {
        yield 1;
        throw new RangeError("no more numbers");
      }
      async function* brokenLater() {
        yield 1;
        await pause(10);
        throw new RangeError("no more numbers");
      }
      for (const stream of [broken(), brokenLater()]) {
        await expectFailureAtOnce(service.sum(stream), "no more numbers");
      }
    },

    async streams_of_ours_that_are_left() {
      let open = 0;
      function* endless() {
        open += 1;
        try {
          while (true) yield 1;
        } finally {
          open -= 1;
        }
      }
      async function* endlessLater() {
        open += 1;
        try {
          while (true) {
            await pause(1);
            yield 1;
          }
        } finally {
          open -= 1;
        }
      }
      for (const stream of [endless(), endlessLater()]) {
        expectSame(await service.sum(stream, 3), 3);
        await eventually("our stream has not been closed", async () => open === 0);
      }
    },

    async lengths() {
      function* blocks() {
        for (const i of range(3)) yield new Uint8Array(MEGABYTE + i);
      }
      expectSame(await service.lengths(blocks()), range(3).map((i) => MEGABYTE + i));
    },

    async use_stored() {
      const getItem = (key) => {
        if (key === "none") throw new RangeError("there is no such item");
        return [7, key];
      };
      await withInterface(getItem, async () => {
        await Promise.all(range(300).map((i) => service.add(i, 0.5)));
        for (const key of ["key", 5]) expectSame(await service.use_stored(key), [7, key]);
        await expectFailureAtOnce(service.use_stored("none"), "there is no such item");
      });
      await expectFailureAtOnce(service.use_stored("key"), ...GONE);
    },

    async dispose_stored() {
      const interface_ = { _rintf: true, getItem: (key) => [8, key] };
      await service.store(interface_);
      expectSame(await service.use_stored("key"), [8, "key"]);
      await service.dispose_stored();
      const left = server.rpc.get_all_local_services();
      expect(!(interface_._rintf_service_id in left), "the interface is still there");
      await expectFailureAtOnce(service.use_stored("key"), ...GONE);
    },

    async an_interface_ends_with_its_owner() {
      const owner = await another();
      const theirs = await owner.getService(options.service);
      await theirs.store({ _rintf: true, getItem: (key) => [9, key] });
      expectSame(await service.use_stored("key"), [9, "key"]);
      await owner.disconnect();
      await expectFailureAtOnce(service.use_stored("key"), ...GONE);
    },

    async nothing_is_left() {
      // Count only sessions in which calls wait or functions are stored. Responses leave empty
      // sessions behind.
      const holds = (entry) =>
        typeof entry === "function" ||
        (entry?.constructor === Object && Object.values(entry).some(holds));
      const system = ["services", "message_cache"];
      const sessions = () =>
        Object.entries(server.rpc._object_store).filter(
          ([key, entry]) => !system.includes(key) && !leftAlone.has(key) && holds(entry),
        );
      try {
        await eventually("sessions are left", async () => sessions().length === 0);
      } finally {
        for (const session of sessions()) console.error(session);
      }
    },
  };
}
