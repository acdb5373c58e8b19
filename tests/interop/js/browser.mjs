// A browser for tests of pages.

import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import { chromium } from "playwright-core";
import { say } from "./peer.mjs";

/** Reports a check to the test. */
export function check(name, ok, detail = "") {
  say(JSON.stringify({ name, ok: Boolean(ok), detail }));
}

/**
 * Runs `action` with a new browser, and closes the browser afterwards. `more` contains options of
 * Playwright.
 */
export async function withBrowser(executablePath, action, more = {}) {
  const folder = await mkdtemp(join(tmpdir(), "browser-page-"));
  const browser = await chromium.launchPersistentContext(folder, {
    executablePath,
    viewport: { width: 1100, height: 760 },
    args: [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
    ...more,
  });
  browser.setDefaultTimeout(20_000);
  try {
    await action(browser);
  } catch (error) {
    check("the script runs to its end", false, String(error.stack ?? error));
  } finally {
    await browser.close();
    await rm(folder, { recursive: true, force: true });
  }
}

const TYPES = { ".html": "text/html", ".js": "text/javascript", ".wasm": "application/wasm" };

/** Serves the files of a folder, and an empty page if it has no `index.html`. Returns the URL. */
export async function serveFolder(folder) {
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, "http://localhost");
    const name = pathname.slice(1) || "index.html";
    const empty = name === "index.html" ? "<!doctype html><title>Hypha</title>" : null;
    const body = await readFile(join(folder, name)).catch(() => empty);
    if (body === null) return void response.writeHead(404).end();
    response.writeHead(200, { "content-type": TYPES[extname(name)] ?? "text/plain" }).end(body);
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  server.unref();
  return `http://127.0.0.1:${server.address().port}/`;
}

/** Opens a URL. Returns the page, and an array of the browser's errors and warnings. */
export async function open(browser, url) {
  const page = await browser.newPage();
  const complaints = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) {
      complaints.push(`${message.text()} ${message.location().url}`);
    }
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  await page.goto(url);
  return { page, complaints };
}
