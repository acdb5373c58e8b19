// Logs in through the server's page in a browser, and prints one JSON line per check.

import { check, open, withBrowser } from "./browser.mjs";
import { connect, parse } from "./peer.mjs";

const { login } = await import("hypha-rpc");
const options = parse("browser");
const url = options["server-url"];
const server = await connect(options);
const { workspace } = server.config;
const token = await server.generateToken({ permission: "admin" });

/** Starts a login, and returns the URL for the user and a promise of the token. */
function begin(more = {}) {
  return new Promise((opened, failed) => {
    const callback = (context) => opened({ address: context.login_url, token: received });
    const config = { server_url: url, login_callback: callback, login_timeout: 20, ...more };
    const received = login(config);
    received.catch(failed);
  });
}

/** Returns the parts of the page that a user sees when the page asks for a token. */
function form(page) {
  return {
    field: page.getByLabel("Your token", { exact: true }),
    button: page.getByRole("button", { name: "Log in", exact: true }),
    status: page.getByRole("status"),
  };
}

const said = (locator, text) => locator.filter({ hasText: text }).waitFor();

async function ordinary(browser) {
  const program = await begin();
  const { page, complaints } = await open(browser, program.address);
  const { field, button, status } = form(page);
  check("title", (await page.title()) === "Hypha Account", await page.title());
  const heading = page.getByRole("heading", { level: 1, name: "Log in to Hypha", exact: true });
  check("heading", await heading.isVisible());
  check("text", await page.getByText("A program waits for you to log in.", { exact: true }).isVisible());
  check("button", (await button.isVisible()) && (await button.isEnabled()));
  check("nobody reads it over the shoulder", (await field.getAttribute("type")) === "password");
  check("ready for typing", await field.evaluate((element) => element === document.activeElement));
  const width = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  check("fits", width <= 0, `${width} pixels more than there are`);

  let reports = 0;
  page.on("request", (request) => (reports += request.url().endsWith("/report")));
  await button.click();
  check("nothing is not sent", reports === 0 && (await status.textContent()) === "");

  await page.keyboard.type("no token");
  await page.keyboard.press("Enter");
  await said(status, "Invalid token");
  check("wrong input is refused", (await status.getAttribute("class")) === "bad", await status.textContent());
  check("and can be corrected", (await button.isEnabled()) && (await field.inputValue()) === "no token");
  // The only message is the browser's message about the failed request.
  check(
    "nothing else is wrong",
    complaints.length === 1 && /status of 4\d\d .*\/report$/.test(complaints[0]),
    complaints,
  );
  complaints.length = 0;

  await field.fill(`  ${token} `);
  await button.click();
  await said(status, "You are logged in.");
  check("right input is good", (await status.getAttribute("class")) === "good");
  check("and asked for no more", (await field.count()) === 0 && (await button.count()) === 0);
  const received = await program.token;
  check("the program has the token", received === token);
  check("one report each", reports === 2, reports);
  check("no complaints", complaints.length === 0, complaints);

  const again = await open(browser, program.address);
  await form(again.page).field.fill(token);
  await form(again.page).button.click();
  await said(form(again.page).status, "Invalid key");
  check("a page is good for one login", true);
}

async function forWorkspace(browser) {
  const program = await begin({ workspace, expires_in: 60 });
  const { page, complaints } = await open(browser, program.address);
  const text = `A program waits for you to log in to the workspace ${workspace}.`;
  check("workspace", await page.getByText(text, { exact: true }).isVisible());
  // Use only the keyboard.
  await page.keyboard.type(token);
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await said(form(page).status, "You are logged in.");
  const received = await program.token;
  check("a token of its own", received !== token);
  const member = await connect({ "server-url": url, workspace, token: received });
  check("which opens the workspace", member.config.workspace === workspace);
  await member.disconnect();
  check("no complaints about that", complaints.length === 0, complaints);
}

async function withoutProgram(browser) {
  const { page, complaints } = await open(browser, `${url}/public/apps/hypha-login/`);
  const text = "This page is opened by a program that wants you to log in.";
  check("explanation", await page.getByText(text, { exact: true }).isVisible());
  const { field, button } = form(page);
  check("nothing to fill in", (await field.count()) === 0 && (await button.count()) === 0);
  check("no complaints there", complaints.length === 0, complaints);
}

await withBrowser(options.browser, (browser) =>
  Promise.all([ordinary(browser), forWorkspace(browser), withoutProgram(browser)]),
);
await server.disconnect();
process.exit(0);
