// Runs the conformance service or client of the Rust library, compiled to WebAssembly. Arguments: the
// folder of the module; `node`, or the path of a browser; `serve` or `check`; and the arguments of
// that action.

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { open, withBrowser } from "./browser.mjs";
import { onTermination, say } from "./peer.mjs";

const SCRIPT = "hypha_rpc_browser.js";
const MODULE = "hypha_rpc_browser_bg.wasm";
const TYPES = new Map([[SCRIPT, "text/javascript"], [MODULE, "application/wasm"]]);

const [folder, place, action, ...rest] = process.argv.slice(2);
const wanted = { args: rest, options: { "server-url": { type: "string" } }, strict: false };
const url = parseArgs(wanted).values["server-url"];
const terminated = new Promise((ended) => onTermination(ended));

/** Serves the module and an empty page to a browser. Returns the URL of the page. */
async function pageServer() {
  const server = createServer(async (request, response) => {
    const name = request.url.slice(1);
    const type = TYPES.get(name);
    const body = type ? await readFile(join(folder, name)) : "<!doctype html><title>Hypha</title>";
    response.writeHead(200, { "content-type": type ?? "text/html" }).end(body);
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  server.unref();
  return `http://127.0.0.1:${server.address().port}/`;
}

async function inPage(browser) {
  const { page, complaints } = await open(browser, await pageServer());
  page.on("console", (message) => message.type() === "log" && say(message.text()));
  await page.evaluate(async (script) => {
    globalThis.library = await import(`/${script}`);
    await globalThis.library.default();
  }, SCRIPT);
  let passed = true;
  if (action === "check") {
    passed = await page.evaluate((rest) => globalThis.library.check(rest), rest);
  } else {
    const id = await page.evaluate(async (url) => {
      globalThis.session = await globalThis.library.serve(url);
      return globalThis.session.id;
    }, url);
    say(`READY ${id}`);
    await terminated;
    await page.evaluate(() => globalThis.session.close());
  }
  for (const complaint of complaints) console.error(complaint);
  process.exitCode = passed ? 0 : 1;
}

async function inNode() {
  // The module prints its report to the console, and needs the WebSocket that `peer.mjs` provides.
  console.log = say;
  const library = await import(pathToFileURL(join(folder, SCRIPT)));
  await library.default({ module_or_path: await readFile(join(folder, MODULE)) });
  if (action === "check") {
    process.exitCode = (await library.check(rest)) ? 0 : 1;
    return;
  }
  const session = await library.serve(url);
  say(`READY ${session.id}`);
  await terminated;
  await session.close();
}

if (place === "node") await inNode();
else await withBrowser(place, inPage);
process.exit();
