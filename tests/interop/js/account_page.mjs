// Uses the forms for accounts in a browser like a user, and prints one JSON line per check.

import { check, open, withBrowser } from "./browser.mjs";
import { connect, parse } from "./peer.mjs";

const { login } = await import("hypha-rpc");
const options = parse("browser");
const url = options["server-url"];

const said = (page, text) => page.getByRole("status").filter({ hasText: text }).waitFor();
const fill = async (page, values) => {
  for (const [id, value] of Object.entries(values)) await page.fill(`#${id}`, value);
};

async function signUp(browser) {
  const { page, complaints } = await open(browser, `${url}/login`);
  check("title", (await page.title()) === "Hypha Local Authentication", await page.title());
  await page.getByRole("button", { name: "Sign Up", exact: true }).first().click();
  const person = { signupName: "Eve", signupEmail: "eve@lab.example", signupPassword: "correct horse" };
  await fill(page, { ...person, signupPasswordConfirm: "battery staple" });
  const send = page.locator("#signupForm button");
  await send.click();
  await said(page, "Passwords do not match");
  await fill(page, { signupPasswordConfirm: "correct horse" });
  await send.click();
  await said(page, "here is your code");
  check("whose code", (await page.textContent("#verifyEmailLabel")) === "eve@lab.example");
  const code = await page.inputValue("#verifyCode");
  await page.fill("#verifyCode", code === "000000" ? "000001" : "000000");
  await page.locator("#verifyForm button[type=submit]").click();
  await said(page, "Incorrect code. 4 attempt(s) remaining.");
  await page.fill("#verifyCode", code);
  await page.locator("#verifyForm button[type=submit]").click();
  await said(page, "Account created.");
  check("ready to log in", (await page.inputValue("#loginEmail")) === "eve@lab.example");
  check("no complaints", complaints.length === 0, complaints);
}

/** Starts a login, and enters a wrong and then the right password. */
async function logIn(browser, password) {
  let opened;
  const address = new Promise((resolve) => (opened = resolve));
  const config = { server_url: url, login_callback: ({ login_url }) => opened(login_url) };
  const token = login({ ...config, login_timeout: 20 });
  const { page, complaints } = await open(browser, await address);
  check("told why", await page.getByText("A program waits for you to log in.").isVisible());
  await fill(page, { loginEmail: "eve@lab.example", loginPassword: "wrong horse" });
  await page.keyboard.press("Enter");
  await said(page, "Invalid email or password");
  await fill(page, { loginPassword: password });
  await page.locator("#loginForm button").click();
  await said(page, "You are logged in.");
  const me = await connect({ "server-url": url, token: await token });
  check("the program has the token", me.config.workspace.startsWith("ws-user-"), me.config.workspace);
  const kept = await page.evaluate(() => JSON.stringify({ ...localStorage }) + document.cookie);
  check("the page keeps no token", kept === "{}", kept);
  check("no complaints about that", complaints.length === 0, complaints);
  await me.disconnect();
}

async function change(browser) {
  const { page, complaints } = await open(browser, `${url}/public/apps/hypha-login/profile`);
  await fill(page, {
    userEmail: "eve@lab.example",
    currentPassword: "correct horse",
    newPassword: "battery staple",
    confirmPassword: "battery staple",
  });
  await page.locator("#profileForm button").click();
  await said(page, "Profile updated successfully!");
  check("no complaints about the change", complaints.length === 0, complaints);
}

await withBrowser(options.browser, async (browser) => {
  await signUp(browser);
  await logIn(browser, "correct horse");
  await change(browser);
  await logIn(browser, "battery staple");
});
process.exit(0);
