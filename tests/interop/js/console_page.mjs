// Uses the console in a real browser, with a service of each language. Prints one JSON line per
// check.

import { check, open, withBrowser } from "./browser.mjs";
import { call, checkAccessibility, method, servicePage, signIn } from "./console_browser.mjs";
import { parse, say } from "./peer.mjs";

const options = parse("browser", "services");
const url = options["server-url"];
const services = options.services.split(",");

async function firstVisit(browser) {
  const { page, complaints } = await open(browser, url);
  check("a browser comes to the console", page.url() === `${url}/console/`, page.url());
  check("it has a title", (await page.title()) === "Workspaces · Hypha");
  const heading = page.getByRole("heading", { level: 1, name: "Workspaces" });
  check("it has a heading", await heading.isVisible());
  check("it offers to sign in", await page.getByRole("heading", { name: "Sign in" }).isVisible());
  const width = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  check("it fits", width <= 0, `${width} pixels more than there are`);
  await checkAccessibility(page, "the first page");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  const focused = await page.evaluate(() => document.activeElement.id);
  check("the keyboard can skip to the content", focused === "content", focused);
  await page.getByRole("link", { name: "public", exact: true }).click();
  await page.getByRole("heading", { level: 1, name: "public" }).waitFor();
  await page.getByLabel("Search services").fill("login");
  await page.getByText("1 service", { exact: true }).waitFor();
  check("the search finds", await page.getByRole("link", { name: "hypha-login" }).isVisible());
  await checkAccessibility(page, "the list of services");
  await page.goto(`${url}/console/server`);
  check("the server is healthy", await page.getByText("Healthy").isVisible());
  await checkAccessibility(page, "the page of the server");
  check("no complaints on the first visit", complaints.length === 0, complaints);
  await page.close();
}

/** Calls the methods that HTTP can carry, and checks the shown results. */
async function methodsOf(browser, id) {
  const { page, complaints } = await open(browser, servicePage(url, id));
  const shows = async (name, args, text) => {
    const { result } = await call(page, name, args);
    const shown = await result.textContent();
    check(`${name} of ${id}`, shown.includes(text), shown);
    return result;
  };
  await shows("echo", { value: { "<b>": [1, "two", null] } }, "two");
  await shows("add", { a: 1.5, b: 2 }, "3.5");
  await shows("divide", { a: 1, b: 4 }, "0.25");
  await shows("describe", { person: { name: "Ann", age: 7 } }, "Ann is 7 years old");
  await shows("sleep", { seconds: 0.01 }, "0.01");
  await shows("whoami", {}, "is_anonymous");
  const failed = await shows("divide", { a: 1, b: 0 }, "division by zero");
  check(`an error of ${id} is an alert`, (await failed.getByRole("alert").count()) === 1);
  await shows("panic_now", {}, "panic_now");
  const bytes = await shows("make_bytes", { n: 300 }, "Download 300 bytes");
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    bytes.getByRole("link").click(),
  ]);
  check(`bytes of ${id} are downloaded`, download.suggestedFilename() === "result.bin");
  const stream = await shows("count", { n: 5 }, "Complete: 5 items");
  check(`numbers of ${id} are plotted`, (await stream.locator("svg.plot").count()) === 1);
  await shows("fail_after", { n: 2 }, "failed after 2 items");
  await shows("blocks", { n: 2, size: 3 }, "Complete: 2 items");
  check(`no complaints at ${id}`, complaints.every((it) => it.includes("status of 5")), complaints);
  await page.close();
}

/** Checks that a typed service has fields, and that arrays become pictures. */
async function typedService(browser, id) {
  const { page } = await open(browser, servicePage(url, id));
  const info = await method(page, "array_info");
  await info.section.locator("textarea").first().fill("[[0, 1], [2, 3]]");
  await info.button.click();
  await info.result.getByText('"float64"').waitFor();
  const scale = await method(page, "scale");
  await scale.field("image").locator("textarea").fill("[[0, 1, 2], [3, 4, 5]]");
  await scale.field("factor").locator("input").fill("2");
  await scale.button.click();
  const canvas = scale.result.locator("canvas");
  await canvas.waitFor();
  const size = await canvas.evaluate((it) => [it.width, it.height, it.getAttribute("role")]);
  check("an array is a picture", size.join() === "3,2,img", size);
  const npy = Buffer.concat([
    Buffer.from("\x93NUMPY\x01\x00\x76\x00", "latin1"),
    Buffer.from("{'descr': '|u1', 'fortran_order': False, 'shape': (2, 2), }".padEnd(117) + "\n"),
    Buffer.from([0, 50, 100, 150]),
  ]);
  const file = scale.field("image").locator("input[type=file]");
  await file.setInputFiles({ name: "a.npy", mimeType: "application/octet-stream", buffer: npy });
  await scale.field("factor").locator("input").fill("1");
  await scale.button.click();
  await scale.result.getByText("uint8 array of 2 × 2, from 0 to 150").waitFor();
  check("a file of numpy is an argument", true);
  const add = await method(page, "add");
  await add.field("a").locator("input").fill("");
  await add.button.click();
  await add.result.getByText("a: a value is required").waitFor();
  await add.field("a").locator("input").fill("1");
  await add.section.getByText("The same call in a program").click();
  const code = add.section.locator("pre");
  for (const [language, text] of [
    ["Python", "service.add(a=1"],
    ["JavaScript", "service.add({ a: 1"],
    ["Rust", 'service.call::<Value>("add", args!(a = 1.0'],
    ["curl", `-d '{"a":1`],
    ["hypha", "hypha call --server-url"],
  ]) {
    await add.section.getByLabel("Language").selectOption(language);
    const shown = await code.textContent();
    check(`the call in ${language}`, shown.includes(text), shown);
  }
  await add.section.getByLabel("Language").selectOption("curl");
  const curl = await code.textContent();
  check("curl has no token of an anonymous user", !curl.includes("Authorization"), curl);
  await add.field("a").locator("input").fill("one");
  check("the last valid call stays", (await code.textContent()).includes('{"a":1'));
  await checkAccessibility(page, "the page of a service");
  await page.close();
}

async function signedIn(browser) {
  const { page } = await open(browser, url);
  await page.getByLabel("Token", { exact: true }).fill("no token");
  await page.getByRole("button", { name: "Use this token" }).click();
  await page.getByRole("alert").waitFor();
  check("a wrong token is refused", true);
  await signIn(page, url, options.token);
  const cookies = await browser.cookies(`${url}/console/`);
  const cookie = cookies.find((it) => it.name === "hypha_console");
  check("the token is out of reach for scripts", cookie?.httpOnly && cookie.sameSite === "Strict");
  await page.getByRole("link", { name: "Administration" }).click();
  await page.getByText("(this one)").waitFor();
  await checkAccessibility(page, "the page for administrators");
  await page.goto(`${url}/console/ws/ws-user-root/tokens`);
  await page.getByRole("button", { name: "Create" }).click();
  await page.getByRole("heading", { name: "New token" }).waitFor();
  const token = await page.locator("#new-token").textContent();
  await page.getByLabel("Token", { exact: true }).first().fill(token);
  await page.getByRole("button", { name: "Inspect" }).click();
  await page.getByText("This token is valid").waitFor();
  await checkAccessibility(page, "the page of tokens");
  await page.goto(`${url}/console/ws/ws-user-root/events`);
  await page.getByText("Waiting for events.").waitFor();
  await checkAccessibility(page, "the page of events");
  await page.goto(`${url}/console/ws/public/clients`);
  await page.getByText("connected").first().waitFor();
  await checkAccessibility(page, "the page of clients");
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByRole("link", { name: "Sign in" }).waitFor();
  check("signing out ends the session", true);
  await page.close();
}

async function loginPage(browser) {
  const { page } = await open(browser, `${url}/console/`);
  await page.getByRole("button", { name: "Open the login page" }).click();
  const [login] = await Promise.all([
    browser.waitForEvent("page"),
    page.getByRole("link", { name: "Open the login page" }).click(),
  ]);
  await login.getByLabel("Your token", { exact: true }).fill(options.token);
  await login.getByRole("button", { name: "Log in", exact: true }).click();
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByRole("link", { name: "Sign in" }).waitFor();
  check("the login page signs in", true);
  await login.close();
  await page.close();
}

async function restart(browser, id) {
  const { page } = await open(browser, servicePage(url, id));
  await call(page, "add", { a: 1, b: 1 });
  // The test stops the server at the first line and starts it again at the second.
  say("RESTART");
  const said = (text) => page.waitForFunction(
    (text) => document.getElementById("connection").textContent.startsWith(text), text,
  );
  await said("The server does not respond");
  say("NOTICED");
  await page.waitForFunction(() => document.getElementById("connection").textContent === "");
  await page.locator("#presence.good").waitFor();
  for (let attempt = 0; attempt < 20; attempt += 1) {
    const { result } = await call(page, "add", { a: 20, b: 22 });
    if ((await result.textContent()).includes("42")) {
      check("calls work again", true);
      return;
    }
    await page.waitForTimeout(500);
  }
  check("calls work again", false, await page.locator(".result").first().textContent());
}

await withBrowser(options.browser, async (browser) => {
  await firstVisit(browser);
  for (const id of services) await methodsOf(browser, id);
  await typedService(browser, services[2]);
  await signedIn(browser);
  await loginPage(browser);
  await restart(browser, services[2]);
});
process.exit(0);
