// Uses the sample service of `hypha dev` in a real browser. Prints one JSON line per check. Writes
// screenshots to the folder of the option `screenshots`.

import { join } from "node:path";
import { check, open, withBrowser } from "./browser.mjs";
import { call, checkAccessibility, method } from "./console_browser.mjs";
import { parse } from "./peer.mjs";

const options = parse("browser", "screenshots");
const url = options["server-url"];

async function screenshot(page, name) {
  if (!options.screenshots) return;
  await page.screenshot({ path: join(options.screenshots, `${name}.png`) });
}

async function sample(browser) {
  const { page, complaints } = await open(browser, `${url}/console/ws/public/service/dev:sample`);
  const greeting = await call(page, "greet", { name: "<i>Ann</i>" });
  await greeting.result.getByText('"Hello <i>Ann</i>!"').waitFor();
  const sum = await call(page, "add", { a: 1 });
  await sum.result.getByText("2", { exact: true }).waitFor();
  check("a default is sent", true);

  const move = await method(page, "move_to");
  await move.field("x").locator("input").fill("1.5");
  await move.field("y").locator("input").fill("-2");
  await move.section.getByLabel(/^speed/).selectOption({ label: "fast" });
  await move.button.click();
  await move.result.getByText("-2").waitFor();
  check("a nested object and a choice", true);

  const failed = await call(page, "divide", { a: 1, b: 0 });
  check("an error", (await failed.result.getByRole("alert").textContent()).includes("division"));

  const work = await call(page, "work", { steps: 3 });
  await work.result.getByText("3, 3").waitFor();
  check("calls of a function are shown", await work.result.getByText("Calls of on_progress").isVisible());

  const smooth = await method(page, "smooth");
  await smooth.field("image").locator("textarea").fill("[[0, 0, 9], [0, 0, 9]]");
  await smooth.button.click();
  await smooth.result.getByText("float64 array of 2 × 3, from 0 to 4.5").waitFor();
  check("an array becomes a picture", (await smooth.result.locator("canvas").count()) === 1);
  await smooth.section.evaluate((it) => it.removeAttribute("open"));

  const image = await call(page, "image", { size: 200 });
  await image.result.locator("canvas").waitFor();
  await checkAccessibility(page, "the page of the sample service");
  if (options.screenshots) await page.setViewportSize({ width: 900, height: 1330 });
  for (const section of await page.locator("details.method").all()) {
    if (!(await section.locator("canvas").count())) {
      await section.evaluate((it) => it.removeAttribute("open"));
    }
  }
  await page.evaluate(() => scrollTo(0, 0));
  await screenshot(page, "service");
  await page.setViewportSize({ width: 900, height: 640 });

  const measure = await method(page, "measure");
  await measure.field("count").locator("input").fill("1000");
  await measure.button.click();
  await measure.result.locator("svg.plot").waitFor();
  check("items are shown while the stream runs", await measure.button.isDisabled());
  const axes = (await measure.result.locator("svg.plot text").allTextContents()).map(Number);
  const [high, low, first, last] = axes;
  check("the axes have values", low < high && first === 1 && last > 2, axes);
  await page.waitForTimeout(options.screenshots ? 8000 : 100);
  await measure.section.evaluate((it) => it.scrollIntoView());
  await screenshot(page, "stream");
  await measure.section.getByRole("button", { name: "Stop" }).click();
  await measure.result.getByText("Stopped").waitFor();
  check("a stream can be stopped", await measure.button.isEnabled());

  await page.goto(`${url}/console/server`);
  if (options.screenshots) await page.waitForTimeout(16_000);
  await screenshot(page, "server");
  check("no complaints", complaints.every((it) => it.includes("status of 5")), complaints);
  await page.close();
}

const more = { viewport: { width: 900, height: 640 } };
await withBrowser(options.browser, sample, more);
process.exit(0);
