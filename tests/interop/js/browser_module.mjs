// Runs the conformance service or client of the Rust library, compiled to WebAssembly. Arguments:
// the folder of the module; `node`, `page` or `worker`; the path of a browser, which is ignored in
// Node; `serve` or `check`; and the arguments of that action.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { open, serveFolder, withBrowser } from "./browser.mjs";
import { onTermination, say } from "./peer.mjs";

const SCRIPT = "hypha_rpc_browser.js";
const MODULE = "hypha_rpc_browser_bg.wasm";

const [folder, place, browserPath, action, ...rest] = process.argv.slice(2);
const terminated = new Promise((ended) => onTermination(ended));

async function inPage(browser) {
  const { page, complaints } = await open(browser, await serveFolder(folder));
  page.on("console", (message) => message.type() === "log" && say(message.text()));
  const passed = await page.evaluate(place === "page" ? runInPage : checkInWorker, {
    script: SCRIPT,
    action,
    rest,
  });
  if (action === "serve") {
    await terminated;
    await page.evaluate(() => globalThis.session.close());
  }
  for (const complaint of complaints) console.error(complaint);
  process.exitCode = passed ? 0 : 1;
}

/** Runs in the page. Returns whether all checks passed. */
async function runInPage({ script, action, rest }) {
  const library = await import(`/${script}`);
  await library.default();
  if (action === "check") return await library.check(rest);
  globalThis.session = await library.serve(rest);
  return true;
}

/** Runs in the page. Checks the service in a worker, and returns whether all checks passed. */
async function checkInWorker({ script, rest }) {
  const program = `
    import init, { check } from "${location.origin}/${script}";
    await init();
    postMessage(await check(${JSON.stringify(rest)}));
  `;
  const source = URL.createObjectURL(new Blob([program], { type: "text/javascript" }));
  const worker = new Worker(source, { type: "module" });
  return await new Promise((passed, failed) => {
    worker.onmessage = ({ data }) => passed(data);
    worker.onerror = ({ message }) => failed(new Error(message));
  });
}

/**
 * Ends the program if a socket gets memory of the module. The package `ws` may read that memory after
 * it has changed.
 */
function checkSockets(memory) {
  globalThis.WebSocket = class extends WebSocket {
    send(data) {
      if (data.buffer === memory.buffer) {
        console.error("a socket got memory of the module");
        process.exit(1);
      }
      super.send(data);
    }
  };
}

async function inNode() {
  // The module prints its report to the console, and needs the WebSocket that `peer.mjs` provides.
  console.log = say;
  const library = await import(pathToFileURL(join(folder, SCRIPT)));
  const module_or_path = await readFile(join(folder, MODULE));
  const { memory } = await library.default({ module_or_path });
  checkSockets(memory);
  if (action === "check") {
    process.exitCode = (await library.check(rest)) ? 0 : 1;
    return;
  }
  const session = await library.serve(rest);
  await terminated;
  await session.close();
}

// Without these options, the first signal would close the browser before the session is closed.
const ownSignals = { handleSIGINT: false, handleSIGTERM: false };
if (place === "node") await inNode();
else await withBrowser(browserPath, inPage, ownSignals);
process.exit();
