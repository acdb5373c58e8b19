// How a check of the JavaScript conformance client says what it expects.

import { difference, short } from "./sample_values.mjs";

export const MEGABYTE = 1024 * 1024;
// What fails at once does so within this time, on the slowest machine.
const AT_ONCE = 5_000;
// What calls of something say that has ended.
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

/** Fail the check unless `call` fails with a text that contains one of `words`, as a word. */
export async function expectError(call, ...words) {
  let got;
  try {
    got = await call;
  } catch (error) {
    // Services can throw anything; its text is what users see.
    const message = String(error?.message ?? error);
    expect(
      words.some((word) => new RegExp(`(?<![A-Za-z])${word}`, "i").test(message)),
      `the error should contain one of ${words}: ${message.slice(-500)}`,
    );
    return;
  }
  throw new Error(`should have failed, answered ${short(got)}`);
}

/** As `expectError`, within a short time: a time-out is none. */
export async function expectFailureAtOnce(call, ...words) {
  const begun = Date.now();
  await expectError(call, ...words);
  const took = Date.now() - begun;
  expect(took < AT_ONCE, `it took ${took} ms to fail`);
}

export const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Ask until it is so; fail if it is not within some seconds. */
export async function eventually(what, isSo) {
  const begun = Date.now();
  while (!(await isSo())) {
    expect(Date.now() - begun < 2 * AT_ONCE, what);
    await pause(20);
  }
}

export const range = (size) => Array.from({ length: size }, (_, index) => index);

/** All items of a stream. */
export async function collect(stream) {
  const items = [];
  for await (const item of stream) items.push(item);
  return items;
}

/** An array of more dimensions, as it travels. */
export const ndarray = (elements, shape, dtype) => ({
  _rtype: "ndarray",
  _rvalue: new Uint8Array(elements.buffer),
  _rshape: shape,
  _rdtype: dtype,
});

/** Arguments by name, as callers in JavaScript write them. */
export const named = (args) => ({ ...args, _rkwargs: true });
