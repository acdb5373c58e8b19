// A browser for tests of pages.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
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
