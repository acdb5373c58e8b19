// Logs in with the library while a user reports a token, and prints one JSON line per check.

import { parse, say } from "./peer.mjs";

const { login } = await import("hypha-rpc");
const options = parse();

async function user(context) {
  const query = new URLSearchParams({ key: context.key, token: options.token });
  const answer = await fetch(`${context.report_url}?${query}`);
  if (!answer.ok) throw new Error(await answer.text());
}

const config = { server_url: options["server-url"], login_callback: user, login_timeout: 20 };
const token = await login(config);
say(JSON.stringify({ name: "token", ok: token === options.token, detail: token }));
const profile = await login({ ...config, profile: true });
say(JSON.stringify({ name: "profile", ok: profile.token === options.token, detail: "" }));
process.exit(0);
