// The forms of the login page. The server passes the token to the waiting program, which the key in
// the URL of the page identifies. The page stores no token, because other pages of this server
// could read it.

const find = (id) => document.getElementById(id);
const value = (id) => find(id).value;
const parameters = new URLSearchParams(location.search);
const key = parameters.get("key");
const workspace = parameters.get("workspace");
const forms = ["loginForm", "signupForm", "verifyForm", "profileForm"];
let signedUp = null;

function say(text, kind) {
  find("said").textContent = text;
  find("said").className = kind;
}

function show(name) {
  for (const form of forms) find(form).hidden = form !== name;
  for (const tab of document.querySelectorAll("nav button")) {
    tab.setAttribute("aria-current", String(tab.dataset.form === name));
  }
  find(name)?.querySelector("input").focus();
}

async function call(method, parameters) {
  // The page is at `.../apps/<service>/` or a path below.
  const path = location.pathname.split("/");
  const apps = path.lastIndexOf("apps");
  const address = [...path.slice(0, apps), "services", path[apps + 1], method].join("/");
  const answer = await fetch(address, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(parameters),
  });
  const result = await answer.json().catch(() => ({}));
  if (answer.ok && result.success) return result;
  throw new Error(result.error ?? result.detail ?? `status ${answer.status}`);
}

function confirmed(password, again) {
  if (value(password) !== value(again)) throw new Error("Passwords do not match");
  return value(password);
}

/** Shows the code, for servers that send no e-mails. */
function enterCode(result) {
  find("verifyCode").value = result.dev_code ?? "";
  say(result.dev_code ? "This server sends no e-mails: here is your code." : "", "good");
}

async function login() {
  await call("login", {
    email: value("loginEmail"),
    password: value("loginPassword"),
    // The server knows the workspace that the program has requested.
    key,
  });
  show(null);
  say(key ? "You are logged in. You can close this page." : "Login successful!", "good");
}

async function signUp() {
  const result = await call("signup", {
    name: value("signupName"),
    email: value("signupEmail"),
    password: confirmed("signupPassword", "signupPasswordConfirm"),
  });
  if (result.verification === "administrator") {
    show("loginForm");
    say("An administrator verifies your account. You can log in afterwards.", "good");
    return;
  }
  signedUp = result.email;
  find("verifyEmailLabel").textContent = signedUp;
  show("verifyForm");
  enterCode(result);
}

async function verify() {
  await call("verify_email", { email: signedUp, code: value("verifyCode") });
  find("loginEmail").value = signedUp;
  show("loginForm");
  say("Account created. You can now log in.", "good");
}

async function resend() {
  enterCode(await call("resend_code", { email: signedUp }));
}

async function update() {
  await call("update_profile", {
    user_email: value("userEmail"),
    current_password: value("currentPassword"),
    name: value("newName") || null,
    new_password: confirmed("newPassword", "confirmPassword") || null,
  });
  find("profileForm").reset();
  say("Profile updated successfully!", "good");
}

/** Runs an action. The buttons are disabled while it runs. */
async function run(action) {
  const buttons = document.querySelectorAll("form button");
  for (const button of buttons) button.disabled = true;
  say("", "");
  try {
    await action();
  } catch (error) {
    say(error.message, "bad");
  } finally {
    for (const button of buttons) button.disabled = false;
  }
}

const actions = { loginForm: login, signupForm: signUp, verifyForm: verify, profileForm: update };
for (const [form, action] of Object.entries(actions)) {
  find(form).addEventListener("submit", (event) => {
    event.preventDefault();
    run(action);
  });
}
find("resendBtn").addEventListener("click", () => run(resend));
for (const tab of document.querySelectorAll("nav button")) {
  tab.addEventListener("click", () => {
    say("", "");
    show(tab.dataset.form);
  });
}
if (key) {
  const where = workspace ? ` to the workspace ${workspace}` : "";
  find("what").textContent = `A program waits for you to log in${where}.`;
  find("what").hidden = false;
}
show(location.pathname.endsWith("/profile") ? "profileForm" : "loginForm");
