// Provides the service `conformance`, prints `READY <full service id>`, and runs until it is
// terminated.
//
// The methods check types like the Rust contract: the error for a wrong type names the argument.
// The signatures must stay simple, because the client parses the names of parameters from the
// source text of these functions, to map named arguments.

import { connect, onTermination, parse, say } from "./peer.mjs";

function expectType(value, type, name) {
  if (typeof value !== type) {
    throw new TypeError(`${name}: expected a ${type}, got ${value === null ? "null" : typeof value}`);
  }
  return value;
}

/** Return the value. */
function echo(value) {
  return value;
}

/** Add two numbers. */
function add(a, b = 1.0) {
  return expectType(a, "number", "a") + expectType(b, "number", "b");
}

/** Divide one number by another. */
function divide(a, b) {
  expectType(a, "number", "a");
  if (expectType(b, "number", "b") === 0) throw new Error("division by zero");
  return a / b;
}

/** Describe a person `{name, age?, tags?}` in a sentence. */
function describe(person) {
  if (typeof person !== "object" || person === null || Array.isArray(person)) {
    throw new TypeError("person: expected an object");
  }
  const { name, age, tags } = person;
  let sentence = expectType(name, "string", "person.name");
  if (age === undefined || age === null) {
    sentence += " is of unknown age";
  } else {
    if (!Number.isInteger(age)) throw new TypeError("person.age: expected an integer");
    sentence += ` is ${age} years old`;
  }
  if (tags !== undefined && tags !== null) {
    if (!Array.isArray(tags)) throw new TypeError("person.tags: expected a list");
    tags.forEach((tag, index) => expectType(tag, "string", `person.tags[${index}]`));
    if (tags.length > 0) sentence += ` (${tags.join(", ")})`;
  }
  return `${sentence}.`;
}

/** Describe the caller. The context is the last argument. */
function whoami(context) {
  return {
    user_id: context.user.id,
    workspace: context.ws,
    from: context.from,
    is_anonymous: context.user.is_anonymous,
  };
}

/** Sleep, and return the time. */
async function sleep(seconds) {
  expectType(seconds, "number", "seconds");
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  return seconds;
}

/** Make `n` bytes. */
function make_bytes(n) {
  if (!Number.isInteger(n) || n < 0) {
    throw new RangeError("n: expected a whole number that is not negative");
  }
  return new Uint8Array(n).map((_, index) => index);
}

/** Return the number of bytes in `data`. */
function length(data) {
  if (!(data instanceof Uint8Array)) throw new TypeError("data: expected bytes");
  return data.length;
}

/** Fail in a way that no caller could have caused. */
function panic_now() {
  throw new Error("panic_now was called");
}

const TYPED_ARRAYS = {
  int8: Int8Array,
  int16: Int16Array,
  int32: Int32Array,
  uint8: Uint8Array,
  uint16: Uint16Array,
  uint32: Uint32Array,
  float32: Float32Array,
  float64: Float64Array,
};

/**
 * Returns an array as `{dtype, shape, elements}`. Accepts a typed array, or the map that the client
 * returns for an array of several dimensions if no library for arrays is loaded.
 */
function expectArray(value, name) {
  for (const [dtype, type] of Object.entries(TYPED_ARRAYS)) {
    if (value instanceof type) return { dtype, shape: [value.length], elements: value };
  }
  const type = value?._rtype === "ndarray" && TYPED_ARRAYS[value._rdtype];
  if (!type) throw new TypeError(`${name}: expected an array`);
  // Copy the bytes, because a typed array needs aligned bytes, and the received bytes may be
  // unaligned.
  const elements = new type(value._rvalue.slice().buffer);
  return { dtype: value._rdtype, shape: value._rshape, elements };
}

/** Multiply every element of an array, keeping the element type and the form of the array. */
function scale(image, factor) {
  const { elements } = expectArray(image, "image");
  const scaled = elements.map((element) => element * expectType(factor, "number", "factor"));
  return image._rtype ? { ...image, _rvalue: new Uint8Array(scaled.buffer) } : scaled;
}

/** Describe an array. */
function array_info(array) {
  const { dtype, shape, elements } = expectArray(array, "array");
  return { dtype, shape, sum: elements.reduce((sum, element) => sum + element, 0) };
}

/** Returns an error whose class other languages map to a variant. */
function failure(name, message) {
  return Object.assign(new Error(message), { name });
}

/** Divide one number by another, with an error that callers can match on. */
function checked_divide(a, b) {
  if (b === 0) throw failure("ZeroDivisionError", "division by zero");
  const quotient = divide(a, b);
  if (!Number.isFinite(quotient) && Number.isFinite(a)) {
    throw failure("OverflowError", `${a} / ${b} is too large`);
  }
  return quotient;
}

/** Call a function repeatedly, with 0, 1, 2 and so on, and return its results. */
async function call_back(callback, times) {
  const answers = [];
  for (let index = 0; index < times; index++) answers.push(await callback(index));
  return answers;
}

/** Call a function for each step, from 0, ignore its results, and return the number of steps. */
async function progress(callback, steps) {
  const calls = Array.from({ length: steps }, (_, step) => callback(step));
  await Promise.allSettled(calls);
  return steps;
}

/** Call functions in lists in a map, each with its key. */
async function call_nested(functions) {
  const answers = {};
  for (const [key, members] of Object.entries(functions)) {
    answers[key] = [];
    for (const member of members) answers[key].push(await member(key));
  }
  return answers;
}

let openStreams = 0;

/** Count from 0 to `n - 1`. */
async function* count(n, delay = 0) {
  openStreams += 1;
  try {
    for (let index = 0; index < n; index++) {
      if (delay) await new Promise((resolve) => setTimeout(resolve, delay * 1000));
      yield index;
    }
  } finally {
    openStreams -= 1;
  }
}

/** Return the number of streams of `count` that are being read. */
function open_streams() {
  return openStreams;
}

/** Count from 0, and fail instead of the number `n`. */
function fail_after(n) {
  function* numbers() {
    for (let index = 0; index < n; index++) yield index;
    throw new Error(`failed after ${n} items`);
  }
  return numbers();
}

/** Add up a stream of numbers, or the first `limit` of them. */
async function sum(numbers, limit = null) {
  let total = 0;
  let seen = 0;
  if (limit === 0) return total;
  for await (const item of numbers) {
    total += expectType(item, "number", "numbers");
    seen += 1;
    if (seen === limit) break;
  }
  return total;
}

/** Make blocks of bytes, as an iterator that is not a generator. */
function blocks(n, size) {
  let made = 0;
  return {
    next() {
      if (made === n) return { done: true, value: undefined };
      return { done: false, value: new Uint8Array(size).fill(made++) };
    },
    [Symbol.iterator]() {
      return this;
    },
  };
}

/** Count the bytes in every block of a stream. */
async function lengths(blocks) {
  const found = [];
  for await (const block of blocks) found.push(length(block));
  return found;
}

/** Make a counter that starts at 0. */
function make_counter() {
  let value = 0;
  return {
    increment: (by = 1) => (value += by),
    value: () => value,
  };
}

let stored = null;

/** Store an object with a function `getItem(key)`. */
function store(object) {
  stored = object;
}

/** Get an item of the stored object. */
async function use_stored(key) {
  return await stored.getItem(key);
}

/** Release the stored object at its owner, but keep it stored. */
async function dispose_stored() {
  await stored._dispose();
}

/** Read a file to its end. Files of JavaScript clients arrive as a Blob. */
async function read_all(file) {
  return file instanceof Blob ? new Uint8Array(await file.arrayBuffer()) : await file.read();
}

const options = parse();
const server = await connect(options, { name: "JavaScript conformance service" });
onTermination(async () => {
  await server.disconnect();
  process.exit(0);
});
const info = await server.registerService({
  id: "conformance",
  name: "Conformance",
  description: "The methods that every Hypha client is checked with",
  // The service is public, so that callers in other workspaces can call it by its full id.
  config: { visibility: "public", require_context: ["whoami"] },
  echo,
  add,
  divide,
  describe,
  whoami,
  sleep,
  make_bytes,
  length,
  panic_now,
  scale,
  array_info,
  checked_divide,
  call_back,
  progress,
  call_nested,
  count,
  open_streams,
  fail_after,
  sum,
  blocks,
  lengths,
  make_counter,
  store,
  use_stored,
  dispose_stored,
  read_all,
});
say(`READY ${info.id}`);
