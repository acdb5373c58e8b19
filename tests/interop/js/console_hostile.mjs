// Opens the pages of a service whose texts and results try to run scripts. Prints one JSON line per
// check.

import { check, open, withBrowser } from "./browser.mjs";
import { call, method, servicePage, signIn } from "./console_browser.mjs";
import { connect, parse } from "./peer.mjs";

const options = parse("browser", "services");
const url = options["server-url"];
const anonymous = { ...options, token: undefined };
const server = await connect(anonymous, { name: "hostile" });

const MARKUP = "</textarea></script><script>globalThis.pwned=1</script>" +
  "<img src=x onerror='globalThis.pwned=2'><svg onload='globalThis.pwned=3'>" +
  "<a href='javascript:globalThis.pwned=4' id=bait>\"' onfocus='globalThis.pwned=5' autofocus x='";
/** Changes the direction of the text after it. */
const TURNED = "\u202egpj.exe";
const SVG = new TextEncoder().encode(
  `<svg xmlns="http://www.w3.org/2000/svg" onload="globalThis.pwned=6"><script>pwned=7</script></svg>`,
);

const names = { text: () => MARKUP, svg: () => SVG, fail: () => { throw new Error(MARKUP); } };
names.tree = () => ({ [MARKUP]: [MARKUP, { key: MARKUP, [`${TURNED}key`]: TURNED }] });
names.blob = () => ({ _rtype: "blob", _rvalue: SVG, _rmime_type: "text/html" });
const schema = { type: "object", properties: {} };
schema.properties[MARKUP] = { enum: [MARKUP], description: MARKUP, default: MARKUP };
for (const [name, run] of Object.entries(names)) {
  run.__schema__ = { name, description: MARKUP, parameters: schema };
}
names[MARKUP] = Object.assign(() => 1, { __schema__: { name: MARKUP, parameters: schema } });
const info = await server.registerService({
  id: "hostile",
  name: MARKUP,
  type: MARKUP,
  description: `${MARKUP}${TURNED}`,
  docs: `${MARKUP}${TURNED}`,
  config: { visibility: "public" },
  ...names,
});

// An application of the same origin that tries to act with the session of the console.
const attack = async () => {
  const found = { read: "", act: 0, call: 0, frame: true, window: "" };
  try {
    found.read = await (await fetch("/console/")).text();
  } catch (error) {
    found.read = String(error);
  }
  const form = new URLSearchParams({ action: "create", permission: "admin", hours: "1", csrf: "x" });
  const post = { method: "POST", body: form };
  found.act = (await fetch("/console/ws/ws-user-root/tokens", post)).status;
  const path = "/console/http/ws-user-root/services/ws/list_clients";
  found.call = (await fetch(path, { method: "POST" })).status;
  const frame = document.createElement("iframe");
  frame.src = "/console/";
  document.body.append(frame);
  await new Promise((done) => {
    frame.onload = done;
    setTimeout(done, 3000);
  });
  try {
    found.frame = Boolean(frame.contentDocument?.querySelector("meta[name=proof]"));
  } catch {
    found.frame = false;
  }
  return found;
};
const app = await server.registerService({
  id: "app",
  type: "functions",
  config: { visibility: "public" },
  index: () => ({
    status: 200,
    headers: {
      "Content-Type": "text/html",
      "Set-Cookie": "hypha_console=stolen; Path=/console",
      "Cross-Origin-Opener-Policy": "same-origin",
    },
    body: "<!doctype html><title>app</title><p>An application</p>",
  }),
});

async function pages(browser) {
  // The positive control: the same texts run where they are markup.
  const control = await browser.newPage();
  await control.setContent(`<body>${MARKUP}`);
  await control.waitForFunction(() => globalThis.pwned > 0);
  check("the texts would run as markup", true);
  await control.close();

  const { page, complaints } = await open(browser, `${url}/console/`);
  let dialogs = 0;
  page.on("dialog", () => (dialogs += 1));
  const isSafe = async (name) => {
    await page.waitForTimeout(200);
    const state = await page.evaluate(() => ({
      pwned: globalThis.pwned ?? 0,
      bait: document.querySelectorAll("#bait, main script, main [onerror], main [onload]").length,
      turned: document.body.innerText.includes("\u202e"),
      links: [...document.links].filter((link) => !/^(https?|blob):/.test(link.href)).length,
    }));
    const ok = !Object.values(state).some(Boolean) && dialogs === 0;
    check(name, ok, state);
  };
  const [workspace] = info.id.split("/");
  await page.goto(`${url}/console/ws/${workspace}`);
  await page.getByText("2 services").waitFor();
  await isSafe("the list of services");
  await page.goto(`${url}/console/ws/${workspace}?q=${encodeURIComponent(MARKUP)}`);
  await isSafe("the search");
  await page.goto(`${url}/console/ws/${encodeURIComponent(MARKUP)}`);
  await isSafe("an error page");
  await page.goto(servicePage(url, info.id));
  await isSafe("the page of the service");
  for (const name of ["text", "svg", "tree", "fail", "blob"]) {
    const { result, section } = await call(page, name, {});
    await section.getByText("The same call in a program").click();
    for (const language of ["Python", "JavaScript", "Rust", "curl", "hypha"]) {
      await section.getByLabel("Language").selectOption(language);
    }
    await isSafe(`the result of ${name}`);
    const images = await result.locator("img").count();
    check(`${name} is no image`, images === 0);
  }
  const odd = await method(page, MARKUP);
  await odd.button.click();
  await odd.result.locator("> *").first().waitFor();
  await isSafe("a method with a hostile name");
  const blocked = complaints.filter((it) => it.includes("Content Security Policy"));
  check("the policy had nothing to block", blocked.length === 0, blocked);

  // The positive control of the policy: markup that a mistake lets through would not run.
  await page.evaluate((markup) => {
    document.querySelector("main").innerHTML = markup;
  }, MARKUP);
  await page.waitForTimeout(500);
  check("the policy blocks markup", !(await page.evaluate(() => globalThis.pwned)));
  const refused = complaints.filter((it) => it.includes("Content Security Policy"));
  check("and the browser says so", refused.length > 0, complaints);
  await page.close();
}

async function application(browser) {
  const { page } = await open(browser, `${url}/console/`);
  await signIn(page, url, options.token);
  const [workspace, id] = app.id.split("/");
  const other = await browser.newPage();
  await other.goto(`${url}/${workspace}/apps/${id}/`);
  await other.getByText("An application").waitFor();
  const found = await other.evaluate(attack);
  check("it cannot read a page", !found.read.includes('name="proof"'), found.read.slice(0, 200));
  check("it cannot submit a form", found.act === 403, found.act);
  check("it cannot call a function", found.call === 403, found.call);
  check("it cannot frame a page", found.frame === false);
  const [popup] = await Promise.all([
    browser.waitForEvent("page"),
    other.evaluate(() => {
      globalThis.popup = window.open("/console/");
    }),
  ]);
  await popup.getByRole("heading", { name: "Workspaces" }).waitFor();
  const proof = await other.evaluate(() => {
    try {
      return globalThis.popup.document?.querySelector("meta[name=proof]")?.content ?? null;
    } catch (error) {
      return null;
    }
  });
  check("it cannot reach into a window", proof === null, proof);
  const signedIn = await popup.getByRole("button", { name: "Sign out" }).count();
  check("it cannot replace the session", signedIn === 1);
  // The positive control: a page of the console can create a token.
  await page.goto(`${url}/console/ws/ws-user-root/tokens`);
  await page.getByRole("button", { name: "Create" }).click();
  await page.getByRole("heading", { name: "New token" }).waitFor();
  check("a page of the console can", true);
}

await withBrowser(options.browser, async (browser) => {
  await pages(browser);
  await application(browser);
});
process.exit(0);
