// Uses the example `microscope` from JavaScript.
//
// `--service` is the id of the service, and `--token` is the token of its operator. Prints one JSON
// line per check: `{name, ok, detail}`.

import assert from "node:assert";
import { connect, parse, say } from "./peer.mjs";

/** Fail unless the call fails with this text. */
async function refused(call, text) {
  let result;
  try {
    result = await call;
  } catch (error) {
    const got = String(error?.message ?? error);
    assert.ok(got.includes(text), `${got}, not ${text}`);
    return;
  }
  assert.fail(`got ${JSON.stringify(result)}, not an error with ${text}`);
}

/** Returns the pixels of an array. */
function pixels(image) {
  const bytes = image._rvalue;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from({ length: bytes.byteLength / 2 }, (_, i) => view.getUint16(2 * i, true));
}

const options = parse("service");
const server = await connect(options);
const microscope = await server.getService(options.service);
const named = (values) => ({ ...values, _rkwargs: true });

const checks = {
  async images() {
    const image = await microscope.snap();
    assert.deepEqual([image._rdtype, [...image._rshape]], ["uint16", [4, 6]]);
    const small = await microscope.snap(0.5, { width: 3, height: 2 });
    assert.deepEqual(pixels(small), Array(6).fill(500));
    await refused(microscope.snap(60), "the exposure must be from 0 to 10");
  },

  async live() {
    const seen = [];
    for await (const image of await microscope.live()) {
      seen.push(pixels(image)[0]);
      if (seen.length === 3) break;
    }
    assert.deepEqual(seen, [1, 2, 3]);
  },

  async acquisition() {
    const steps = [];
    const stack = await microscope.acquire(
      named({ images: 3, on_progress: (progress) => void steps.push(progress.done) }),
    );
    assert.deepEqual(steps, [1, 2, 3]);
    assert.deepEqual([stack.name, stack.size], ["stack.raw", 144]);
    const content = [...(await stack.read(48)), ...(await stack.read())];
    assert.deepEqual(content.slice(0, 4), [100, 0, 100, 0]);
    assert.equal(content.length, 144);
  },

  async cancel() {
    const stop = async (progress) => {
      if (progress.done === 2) await microscope.cancel();
    };
    const acquiring = microscope.acquire(1000, stop);
    await refused(acquiring, "the acquisition was cancelled after 2 images");
    assert.equal(await microscope.cancel(), false);
  },

  async background() {
    const content = new Uint8Array(new Uint16Array(24).fill(10).buffer);
    // The image may be a blob or plain bytes.
    for (const image of [new Blob([content]), content]) {
      assert.equal(await microscope.set_background(image), 48);
    }
    assert.equal(pixels(await microscope.snap())[0], 90);
    assert.equal(await microscope.set_background(new Uint8Array()), 0);
    await refused(microscope.set_background("dark.raw"), "expected a file, got string");
  },

  async stage() {
    const stage = await microscope.stage();
    assert.deepEqual(await stage.move_to({ x: 1, y: 2.5 }), { x: 1, y: 2.5 });
    assert.deepEqual(await stage.position(), { x: 1, y: 2.5 });
    await refused(stage.move_to({ x: -1, y: 0 }), "the x must be from 0 to 100");
  },

  async permission() {
    const stranger = await connect({ "server-url": options["server-url"] });
    const stage = await (await stranger.getService(options.service)).stage();
    await refused(stage.move_to({ x: 2, y: 2 }), "may not move the stage");
    assert.equal((await stage.position()).x, 1);
    await stranger.disconnect();
  },
};

let passed = true;
for (const [name, run] of Object.entries(checks)) {
  let detail = "";
  try {
    await run();
  } catch (error) {
    detail = String(error?.stack ?? error);
    passed = false;
  }
  say(JSON.stringify({ name, ok: !detail, detail }));
}
await server.disconnect();
process.exit(passed ? 0 : 1);
