// A typical caller of the service `measure`. The TypeScript compiler checks it against the
// generated declarations, and the test runs it.

/**
 * @param {unknown} found
 * @param {unknown} wanted
 */
function check(found, wanted) {
  if (JSON.stringify(found) !== JSON.stringify(wanted)) throw new Error(`${JSON.stringify(found)}`);
}

/** @param {import("./measure").Measure} measure */
export async function use(measure) {
  /** @type {number[]} */
  const samples = await measure.sample(3, "slow");
  check(samples, [0, 0.5, 1]);
  /** @type {import("./measure").Point} */
  const place = { x: 1, label: null, tags: [] };
  check(await measure.sample(1, "fast", place), [1]);

  /** @type {import("./measure").Node} */
  const leaf = { value: 2, children: [] };
  /** @type {number} */
  const total = await measure.total({ value: 1, children: [leaf], next: leaf });
  check(total, 5);
  const renamed = await measure.rename({ a: "b" }, [[1, "a"]], null, 0.5, new Uint8Array(3));
  check(renamed["b"].toFixed(), "1");

  let sum = 0;
  for await (const n of await measure.count(3)) sum += n;
  check(sum, 3);
  /** @type {import("./measure").NdArray} */
  const image = { _rtype: "ndarray", _rvalue: new Uint8Array(4), _rshape: [2, 2], _rdtype: "uint8" };
  const blurred = await measure.blur(image);
  check(blurred._rshape, [2, 2]);
  check(blurred._rvalue.byteLength, 4);
  const answer = await measure.watch((/** @type {number} */ share) => `seen ${share}`);
  check(answer?.toUpperCase(), "SEEN 0.5");

  const [, happening] = await measure.reshape({ Box: { width: 1 } }, "one");
  check(happening.kind, "started");
  await measure.stage.move(place);
}
