// Assertions of the checks of the JavaScript conformance client.

import { difference, short } from "./sample_values.mjs";

export const MEGABYTE = 1024 * 1024;
// Maximum duration, in milliseconds, of a call that must fail immediately. Long enough for slow
// machines.
const AT_ONCE = 5_000;
// Error messages of functions whose session has ended or whose owner has disconnected.
export const GONE = [
  "Session not found",
  "Parent session was closed",
  "Method expired or not found",
  "is not connected",
  "Client disconnected",
];

export function expect(condition, detail) {
  if (!condition) throw new Error(detail);
}

export function expectSame(got, wanted) {
  const found = difference(got, wanted);
  expect(found === null, found);
}

/** Fails the check unless `call` fails with a message that contains one of `words` as a word. */
export async function expectError(call, ...words) {
  let got;
  try {
    got = await call;
  } catch (error) {
    // Services can throw any value. Users see it as a string.
    const message = String(error?.message ?? error);
    expect(
      words.some((word) => new RegExp(`(?<![A-Za-z])${word}`, "i").test(message)),
      `the error should contain one of ${words}: ${message.slice(-500)}`,
    );
    return;
  }
  throw new Error(`the call should have failed, but returned ${short(got)}`);
}

/** Like `expectError`, but the call must fail within `AT_ONCE`. */
export async function expectFailureAtOnce(call, ...words) {
  const begun = Date.now();
  await expectError(call, ...words);
  const took = Date.now() - begun;
  expect(took < AT_ONCE, `it took ${took} ms to fail`);
}

export const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Waits until the condition is true. Fails the check after some seconds. */
export async function eventually(what, isSo) {
  const begun = Date.now();
  while (!(await isSo())) {
    expect(Date.now() - begun < 2 * AT_ONCE, what);
    await pause(20);
  }
}

export const range = (size) => Array.from({ length: size }, (_, index) => index);

/** Returns all items of a stream. */
export async function collect(stream) {
  const items = [];
  for await (const item of stream) items.push(item);
  return items;
}

/** Returns the wire form of an array with several dimensions. */
export const ndarray = (elements, shape, dtype) => ({
  _rtype: "ndarray",
  _rvalue: new Uint8Array(elements.buffer),
  _rshape: shape,
  _rdtype: dtype,
});

/** Returns named arguments in the form that JavaScript callers use. */
export const named = (args) => ({ ...args, _rkwargs: true });
