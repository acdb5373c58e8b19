// Actions and checks that the tests of the console share.

import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { check } from "./browser.mjs";

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** Checks that a page has no violation of the rules of axe, in both color schemes. */
export async function checkAccessibility(page, name) {
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    // The debugger evaluates this, and the content security policy does not apply to the debugger.
    await page.evaluate(axe);
    const { violations } = await page.evaluate(() => globalThis.axe.run());
    const found = violations.map((it) => `${it.id}: ${it.nodes.map((node) => node.html).join(" ")}`);
    check(`${name} is accessible (${colorScheme})`, found.length === 0, found);
  }
  await page.emulateMedia({ colorScheme: "light" });
}

/** Signs in with a token. */
export async function signIn(page, url, token) {
  await page.goto(`${url}/console/`);
  await page.getByLabel("Token", { exact: true }).fill(token);
  await page.getByRole("button", { name: "Use this token" }).click();
  await page.getByRole("button", { name: "Sign out" }).waitFor();
}

/** Returns the URL of the page of a service. */
export function servicePage(url, id) {
  const [workspace, service] = id.split("/");
  return `${url}/console/ws/${workspace}/service/${service}`;
}

/** Opens the section of a method, and returns its parts. */
export async function method(page, name) {
  const heading = page.getByRole("heading", { level: 3, name, exact: true });
  const section = page.locator("details.method").filter({ has: heading });
  if (!(await section.evaluate((it) => it.open))) await heading.click();
  return {
    section,
    result: section.locator(".result"),
    button: section.getByRole("button", { name: "Call", exact: true }),
    field: (label) => section.locator(`.field[data-name="${label}"]`),
  };
}

/** Fills the fields in a form or fieldset. */
async function fill(container, values) {
  for (const [key, value] of Object.entries(values)) {
    const field = container.locator(`> .field[data-name="${key}"]`);
    const kind = await field.getAttribute("data-kind");
    const control = field.locator("input:not([type=file]), select, textarea").first();
    if (kind === "object") await fill(field, value);
    else if (kind === "choice") await control.selectOption(JSON.stringify(value));
    else await control.fill(typeof value === "string" ? value : JSON.stringify(value));
  }
}

/** Calls a method as a person does: with a field for each argument, or one list of arguments. */
export async function call(page, name, args) {
  const parts = await method(page, name);
  const raw = parts.section.locator("[data-kind=arguments] textarea");
  if (await raw.count()) {
    await raw.fill(JSON.stringify(Object.values(args)));
  } else {
    await fill(parts.section.locator("form"), args);
  }
  await parts.button.click();
  await parts.section.locator(".result:not([aria-busy])").waitFor();
  await parts.section.locator(".result > *").first().waitFor();
  return parts;
}
