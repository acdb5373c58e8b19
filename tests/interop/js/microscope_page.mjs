// Opens the page of the microscope example in a browser, and prints one JSON line per check.

import { check, open, serveFolder, withBrowser } from "./browser.mjs";
import { parse } from "./peer.mjs";

const options = parse("browser", "folder", "service");

async function live(browser) {
  const url = new URL(await serveFolder(options.folder));
  url.searchParams.set("server", options["server-url"]);
  url.searchParams.set("service", options.service);
  const { page, complaints } = await open(browser, url.href);
  const status = page.getByRole("status");
  const live = status.filter({ hasText: "live" }).waitFor();
  check("the page connects", await live.then(() => true, () => false), await status.textContent());
  // The images of the microscope get brighter. Each value is a level of brightness on the canvas.
  const levels = await page.evaluate(async () => {
    const canvas = document.querySelector("canvas");
    const copy = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const seen = new Set();
    const end = performance.now() + 15_000;
    while (seen.size < 4 && performance.now() < end) {
      await new Promise(requestAnimationFrame);
      copy.drawImage(canvas, 0, 0);
      const { data } = copy.getImageData(0, 0, 1, 1);
      if (data[3] === 255) seen.add(data[0]);
    }
    return { seen: [...seen], size: [canvas.width, canvas.height] };
  });
  check("images arrive", levels.seen.length >= 4, levels);
  check("size of the canvas", String(levels.size) === "6,4", levels);

  await page.getByLabel("Service").fill("nobody/nowhere:microscope");
  await page.getByRole("button", { name: "Show" }).click();
  const failed = status.filter({ hasNotText: "connecting" }).filter({ hasNotText: "live" });
  const told = await failed.waitFor().then(() => true, () => false);
  check("a wrong service is an error", told, await status.textContent());
  check("the browser complains about nothing", complaints.length === 0, complaints);
}

await withBrowser(options.browser, live);
process.exit();
