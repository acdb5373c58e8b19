// Registers a service `values`, or checks the service `values` of a Rust client. Has the options of
// `values_peer.py`.

import { connect, onTermination, parse, say } from "./peer.mjs";

const SIZE = 700_000;

/** Returns bytes in a pattern. */
const payload = (size) => Uint8Array.from({ length: size }, (_, index) => index % 251);

class Point {
  constructor(x, y) {
    this.x = x;
    this.y = y;
  }
}

/** A type for which only this program has a codec. */
class Shape {}

function register(server) {
  server.registerCodec({
    name: "point",
    type: Point,
    encoder: (point) => ({ x: point.x, y: point.y }),
    decoder: async (wire) => new Point(wire.x, wire.y),
  });
  server.registerCodec({ name: "shape", type: Shape, encoder: () => ({ edges: 3, hole: null }) });
}

/** Converts a value to JSON with sorted keys. */
const json = (value) =>
  JSON.stringify(value, (_, v) =>
    v?.constructor === Object ? Object.fromEntries(Object.entries(v).sort()) : v,
  );

async function provide(server) {
  register(server);
  const samples = {
    set: new Set([1, 2, 3]),
    "ordered map": new Map([
      [1, "a"],
      ["b", null],
    ]),
    nan: [NaN, Infinity, -0.0],
    none: { given: null },
    undefined: { given: undefined },
    absent: {},
    numbered: { 12: 0.5 },
    date: new Date(981173106500),
    // The codec also decodes points inside a map.
    points: new Map([["p", new Point(1, 2)]]),
  };
  const info = await server.registerService({
    id: "values",
    config: { visibility: "public" },
    mirrored: (points) => points.map((point) => new Point(-point.x, point.y)),
    seen: (value) => `${value?.constructor?.name} ${json(value)}`,
    returned: (value) => value,
    shape: () => new Shape(),
    sample: (name) => samples[name],
    open_file: (kind) =>
      kind === "blob"
        ? new Blob([payload(SIZE)], { type: "image/png" })
        : new File([payload(SIZE)], "some file"),
    // Read a file in parts, then its end again, and then the whole file.
    async read(file) {
      const parts = [];
      for (let part; (part = await file.read(100_000)).length > 0; ) parts.push(part);
      const data = new Uint8Array(await new Blob(parts).arrayBuffer());
      const at = await file.seek(-5, 2);
      same(at, data.length - 5);
      same(await file.tell(), at);
      same(Array.from(await file.read()), Array.from(data.slice(-5)));
      await file.seek(0);
      same(Array.from(await file.read(-1)), Array.from(data));
      same([await file.seekable(), await file.writable()], [true, false]);
      same([file.size, file.name], [data.length, "some file"]);
      return data;
    },
    async write(file) {
      same(await file.write(payload(SIZE)), SIZE);
      await file.seek(3);
      same(await file.write(new Uint8Array([120, 121, 122])), 3);
      await file.flush();
      await file.close();
      try {
        await file.write(new Uint8Array(1));
      } catch (error) {
        return String(error);
      }
    },
  });
  const stopped = new Promise(onTermination);
  say(`READY ${info.id}`);
  await stopped;
}

function same(got, wanted) {
  const [a, b] = [JSON.stringify(got), JSON.stringify(wanted)];
  if (a !== b) throw new Error(`got ${a}, wanted ${b}`.slice(0, 500));
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

function checks(server, service) {
  return {
    async codecs() {
      const points = await service.mirrored([new Point(1.5, 2), new Point(0.5, -1)]);
      same(
        points.map((point) => point instanceof Point),
        [true, true],
      );
      same(points, [new Point(-1.5, 2), new Point(-0.5, -1)]);
      same(await service.shape(), { edges: 3, hole: null, _rtype: "rust-shape" });
      await refused(service.mirrored([{ x: 1, y: 2 }]), "expected a `point`, got a map");
      await refused(service.mirrored([new Shape()]), "expected a `point`, got a `shape`");
      await refused(service.mirrored([new Point(Infinity, 1)]), "it lies at infinity");
    },
    async values() {
      const set = await service.sample("set");
      same([set instanceof Set, Array.from(set).sort()], [true, [1, 2, 3]]);
      const map = await service.sample("ordered map");
      same([map instanceof Map, Array.from(map)], [true, [[1, "a"], ["b", null]]]);
      const [nan, inf] = await service.sample("nan");
      same([Number.isNaN(nan), inf === Infinity], [true, true]);
      same(await service.sample("none"), { given: null });
      same(await service.sample("absent"), {});
      same(await service.doubled({ 12: 0.5 }), { 12: 1 });
      await refused(service.doubled({ x: 0.5 }), "`wells`: expected an integer as a key, got `x`");
      const date = await service.sample("date");
      same([date instanceof Date, date.getTime()], [true, 981173106500]);
      same(await service.greet({ name: "Ada", age: undefined }), "Ada, None");
    },
    async errors() {
      for (const part of [
        "200.5 is outside of 0 to 100.5\n",
        "Caused by:\n    the axis is blocked\n",
        'data: {"Outside":{"position":200.5,"limit":100.5}}\n',
        "ValueError: 200.5 is outside of 0 to 100.5\n",
      ]) {
        await refused(service.stage(200.5), part);
      }
    },
    async own_files() {
      for (const file of [new Blob([payload(SIZE)]), new File([payload(10)], "some file")]) {
        const wanted = new Uint8Array(await file.arrayBuffer());
        same(Array.from(await service.read_all(file)), Array.from(wanted));
        same(Array.from(await service.part(file, 2, 3)), [2, 3, 4]);
        same(Array.from(await service.part(file, -3, 3)), Array.from(wanted.slice(-3)));
        await refused(service.write_to(file, new Uint8Array(1)), "no function `write`");
      }
    },
    async gone() {
      await service.keep(new Blob([payload(3)]));
      await refused(service.read_kept(), "the file no longer exists at its owner");
    },
    async their_files() {
      const file = await service.open(SIZE);
      same([file.size, file.name], [SIZE, "opened"]);
      same(Array.from(await file.read(10)), Array.from(payload(10)));
      same(await file.seek(-10, 1), 0);
      same(Array.from(await file.read()), Array.from(payload(SIZE)));
      same((await file.read(1)).length, 0);
      await file.close();
      await refused(file.read(1), "I/O operation on closed file");
    },
  };
}

async function check(server, host) {
  register(server);
  let passed = true;
  for (const [name, run] of Object.entries(checks(server, await server.getService(host)))) {
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

const options = parse("host");
const server = await connect(options);
const code = options.host ? await check(server, options.host) : await provide(server);
await server.disconnect();
process.exit(code ?? 0);
