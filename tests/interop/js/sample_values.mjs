// Values that every client and host must send and return unchanged.

const range = (size) => Array.from({ length: size }, (_, index) => index);

const INTEGERS = [
  0, 1, -1, 31, 32, -32, -33, 127, 128, 255, 256, -127, -128, -129,
  2 ** 15 - 1, 2 ** 15, -(2 ** 15), -(2 ** 15) - 1, 2 ** 16 - 1, 2 ** 16,
  2 ** 31 - 1, 2 ** 31, -(2 ** 31), -(2 ** 31) - 1, 2 ** 32 - 1, 2 ** 32,
  Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER,
];
const FLOATS = [
  0.5, -0.25, 0.1, 1e300, -1e-300, 5e-324, Math.PI, 2 ** 53, 2 ** 70, Infinity, -Infinity, NaN,
];
// Lengths around each limit at which msgpack uses a longer length prefix.
const LENGTHS = [0, 1, 15, 16, 31, 32, 255, 256, 65535, 65536];

/** Returns bytes whose pattern shows whether parts were shifted or repeated. */
export function pattern(size, seed = 0) {
  return new Uint8Array(size).map((_, i) => {
    const place = i % 65521;
    return place * 7 + (place >> 8) + seed;
  });
}

/** Returns named values of every plain kind. */
export function* plain() {
  yield ["null", null];
  yield ["true", true];
  yield ["false", false];
  for (const value of INTEGERS) yield [`integer ${value}`, value];
  for (const value of FLOATS) yield [`float ${value}`, value];
  const texts = [
    "ascii", "Žluťoučký kůň", "漢字かな", "😀👩‍🔬", "a\0b", 'quote " \\ \n\t', "\u2028",
  ];
  for (const value of texts) yield [`string ${JSON.stringify(value)}`, value];
  for (const size of LENGTHS) {
    yield [`string of ${size}`, "x".repeat(size)];
    yield [`bytes of ${size}`, pattern(size)];
    yield [`list of ${size}`, Array(size).fill(1)];
  }
  yield ["non-ASCII string of 30000", "ř".repeat(30000)];
  yield ["every byte", Uint8Array.from(range(256))];
  for (const size of [0, 1, 15, 16, 300, 66000]) {
    yield [`map of ${size}`, Object.fromEntries(range(size).map((i) => [`key ${i}`, i]))];
  }
  yield ["map with odd keys", { "": 1, ключ: 2, "a b": 3, "a.b": 4, _x: 5, Camel: 6 }];
  yield ["empty containers", { list: [], map: {}, string: "", bytes: new Uint8Array(0) }];
  yield [
    "nested",
    {
      a: [1, -2.5, null, true, { b: [[], [[Uint8Array.of(0, 255)]], { c: {} }] }],
      d: { e: { f: ["g", { h: false }] } },
    },
  ];
  let deep = "bottom";
  for (let level = 0; level < 30; level++) deep = [{ down: deep }];
  yield ["deep", deep];
}

/** Returns a value as a short string for error messages. */
export function short(value) {
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  const shown = typeof value === "number" ? String(value) : (JSON.stringify(value) ?? "undefined");
  return shown.length <= 200 ? shown : `${shown.slice(0, 200)}... (${shown.length} characters)`;
}

/** Returns a message about the first difference, or null if the values are equal. */
export function difference(got, wanted, path = "value") {
  const complaint = `${path}: wanted ${short(wanted)}, got ${short(got)}`;
  if (wanted instanceof Uint8Array) {
    const same = got instanceof Uint8Array && Buffer.compare(got, wanted) === 0;
    return same ? null : complaint;
  }
  if (typeof wanted !== "object" || wanted === null) {
    // 0 and -0 count as equal, and NaN equals itself.
    return got === wanted || Object.is(got, wanted) ? null : complaint;
  }
  const gotKeys = typeof got === "object" && got !== null ? Object.keys(got) : [];
  const keys = Object.keys(wanted);
  if (
    typeof got !== "object" ||
    got === null ||
    Array.isArray(got) !== Array.isArray(wanted) ||
    gotKeys.length !== keys.length ||
    gotKeys.some((key, index) => key !== keys[index])
  ) {
    return complaint;
  }
  for (const key of keys) {
    const found = difference(got[key], wanted[key], `${path}.${key}`);
    if (found) return found;
  }
  return null;
}
