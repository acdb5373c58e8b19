// A typical caller of the service `everything`, which only the TypeScript compiler checks.

/** @param {import("./everything").Everything} everything */
export async function use(everything) {
  let total = 0;
  await everything.snap(0.5);
  /** @type {import("./everything").Stage} */
  const stage = await everything.stage();
  total += await stage.go(total + 1, "green");
  await (await stage.other.twin()).go((total + 1));
  await stage.listen((x, colour) => x > 1 && colour === "red");
  await everything.drive(stage, 1);
  for await (const frame of await everything.frames(3)) total += frame.index + frame.pixels._rshape[1];
  const file = await everything.file({ read: async () => new Uint8Array(1), seek: async () => 0 });
  await file.read(10);
  /** @type {Record<number, string>} */
  const maps = await everything.maps({ 7: "red" }, { [-1]: [1] }, {}, [1], new Set([2]), new Map());
  total += maps[0].length;

  // All arguments by name.
  await everything.snap({ exposure: 0.5, _rkwargs: true });
  await stage.go({ x: total, colour: "red", _rkwargs: true });
  // Bytes in place of a file.
  await (await everything.file(new Uint8Array(3))).read();
  // Typed arrays and lists of numbers in place of arrays.
  const [wave, image] = [frame(1), frame(2)];
  await everything.arrays([[1, 2], [3, 4]], wave, null, new Float32Array(2));
  await everything.arrays(image, wave, [0.5], [[[1]]]);
  await everything.arrays(image, wave, new Float32Array(1), 1);
  // Content of an argument has the same forms.
  const sent = {
    files: [new Uint8Array(1), { size: 1, arrayBuffer: async () => new ArrayBuffer(1) }],
    report: (/** @type {number} */ share) => share,
    image: [[1, 2]],
    images: (async function* () { yield new Uint8Array(1); })(),
    tags: ["a"],
    pair: /** @type {[number, string]} */ ([1, "a"]),
  };
  const received = await everything.bundle({ ...sent, part: sent });
  total += await received.report(0.5) + received.image._rshape[0];
  await received.files[0].read();
  for await (const part of received.images) total += part._rshape[0];
  await everything.bundle(received);
  await everything.bundle({ ...sent, part: received });
  // An object of this program.
  const own = { go: (/** @type {number} */ x) => x, other: { twin: () => stage }, listen: async () => true };
  await everything.drive(own, 1);
  await everything.drive({ ...own, other: { twin: () => own } }, 1);
}

/**
 * @template {number} T
 * @param {T} dimensions
 * @returns {any}
 */
function frame(dimensions) {
  return { _rtype: "ndarray", _rshape: Array(dimensions).fill(0) };
}
