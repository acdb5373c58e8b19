// Hosts the service `conformance`, prints `READY <full service id>`, stays until told to stop.
//
// Every method is as strict as the contract: an argument of another type is an error that names it.
// The client reads parameter names out of the source text of these functions, to map keywords.

import { connect, onTermination, parse, say } from "./peer.mjs";

function expectType(value, type, name) {
  if (typeof value !== type) {
    throw new TypeError(`${name}: expected a ${type}, got ${value === null ? "null" : typeof value}`);
  }
  return value;
}

/** Answer the value. */
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

/** Say in a sentence who a person `{name, age?, tags?}` is. */
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

/** Say who is calling; the context is the last argument. */
function whoami(context) {
  return {
    user_id: context.user.id,
    workspace: context.ws,
    from: context.from,
    is_anonymous: context.user.is_anonymous,
  };
}

/** Sleep, and answer for how long. */
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

/** The number of bytes in `data`. */
function length(data) {
  if (!(data instanceof Uint8Array)) throw new TypeError("data: expected bytes");
  return data.length;
}

/** Fail in a way that no caller could have caused. */
function panic_now() {
  throw new Error("panic_now was called");
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
  // Public, so that a caller in its own anonymous workspace needs only the full id.
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
});
say(`READY ${info.id}`);
