// Logs in through the library as a user with an account, and prints one JSON line per check.

import { connect, parse, say } from "./peer.mjs";

const { login } = await import("hypha-rpc");
const options = parse("email", "password");
const answers = [];

async function user({ key, report_url }) {
  for (const password of ["wrong horse", options.password]) {
    const answer = await fetch(report_url.replace("/report", "/login"), {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ email: options.email, password, key }),
    });
    answers.push(await answer.json());
  }
}

const check = (name, ok, detail) => say(JSON.stringify({ name, ok: Boolean(ok), detail }));
const config = { server_url: options["server-url"], login_callback: user, login_timeout: 20 };
const profile = await login({ ...config, profile: true });
const [refused, accepted] = answers;
check("refused", refused.error === "Invalid email or password", refused);
check("token", accepted.success && accepted.token === profile.token, accepted);
check("profile", profile.email === options.email && profile.user_id === accepted.user_id, profile);
const server = await connect({ "server-url": options["server-url"], token: profile.token });
check("workspace", server.config.workspace === accepted.workspace, server.config.workspace);
process.exit(0);
