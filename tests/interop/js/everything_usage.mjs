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
}
