// Uses all functions of a server as several users, through the JavaScript client. Prints one JSON
// line with `step` and `outcome` per step. `compare_outcomes.py` compares the outcomes of two
// servers.

import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";

import { connect, onTermination, parse, say } from "./peer.mjs";

const LIMIT = 20_000;
const options = parse("root-token", "secret", "second-url");
const table = JSON.parse(readFileSync(new URL("../outcomes.json", import.meta.url), "utf8"));

/** Converts a value to JSON, keeping everything that a user can see. */
function plain(value) {
  if (typeof value === "function") return { function: value.__name__ ?? null };
  if (value instanceof Uint8Array) return { bytes: Buffer.from(value).toString("hex") };
  if (Array.isArray(value)) return value.map(plain);
  if (value && typeof value === "object") {
    const entries = Object.entries(value).map(([key, item]) => [key, plain(item)]);
    const shown = Object.fromEntries(entries);
    // The documentation of the servers' own services differs.
    if (/:(agent-skills|hypha-login|queue)$/.test(value.id)) {
      shown.service_schema = Object.keys(value.service_schema ?? {}).sort();
    }
    return shown;
  }
  return value ?? null;
}

function write(step, outcome) {
  say(JSON.stringify({ step: `javascript: ${step}`, outcome }));
}

/** Runs an action, and prints its result or error as the outcome of the step. */
async function step(name, action) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error("it took too long")), LIMIT);
  });
  try {
    write(name, { answer: plain(await Promise.race([action(), late])) });
  } catch (error) {
    write(name, { error: String(error?.message ?? error) });
  } finally {
    clearTimeout(timer);
  }
}

/** Returns a token of a registered user without a workspace, as an operator can create it. */
function tokenOf(user) {
  const now = Math.floor(Date.now() / 1000);
  const names = "https://amun.ai/";
  const claims = {
    iss: names,
    aud: "https://amun-ai.eu.auth0.com/api/v2/",
    sub: user,
    iat: now,
    exp: now + 3600,
    scope: "",
    gty: "client-credentials",
    [`${names}roles`]: [],
    [`${names}email`]: null,
  };
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const signed = `${part({ alg: "HS256", typ: "JWT" })}.${part(claims)}`;
  const signature = createHmac("sha256", options.secret).update(signed).digest("base64url");
  return `${signed}.${signature}`;
}

/** Returns a value of the table, with the names in braces replaced. */
function fill(value, names) {
  if (typeof value === "string") {
    return Object.entries(names).reduce((text, [name, by]) => text.replaceAll(`{${name}}`, by), value);
  }
  if (Array.isArray(value)) return value.map((item) => fill(item, names));
  if (value && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, fill(item, names)]));
  }
  return value;
}

const camel = (name) => name.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase());

/** Runs every call of the table with one client. */
async function calls(who, client, names) {
  const own = { ...names, me: `js-${who}`, own: client.config.workspace, long: "x".repeat(1025) };
  for (const [method, args, named = {}, without = []] of [...table.services, ...table.calls]) {
    if (without.includes(who)) continue;
    const shown = [
      ...args.map((value) => JSON.stringify(value)),
      ...Object.entries(named).map(([key, value]) => `${key}=${JSON.stringify(value)}`),
    ];
    const given = fill(args, own);
    if (Object.keys(named).length) given.push({ ...fill(named, own), _rkwargs: true });
    await step(`${who}: ${method}(${shown.join(", ")})`, () => client[camel(method)](...given));
  }
}

let connected = 0;

/** Connects as a user. With two servers, every second client connects to the second server. */
function user(name, id) {
  const second = connected++ % 2 && options["second-url"];
  const more = { client_id: id, ...(name && { token: tokenOf(name) }), ...(second && { server_url: second }) };
  return connect(options, more);
}

const host = await user("jane", "host");
const other = await user("jane", "other");
const clients = {
  admin: await user("jane", "js-admin"),
  foreign: await user("john", "js-foreign"),
  anonymous: await user(null, "js-anonymous"),
};
onTermination(() => process.exit(1));

const visible = (visibility, more = {}) => ({ config: { visibility, ...more } });
const add = (a, b) => a + b;
await host.registerService({
  id: "open",
  type: "greeter",
  name: "Open",
  description: "for all",
  docs: "how to",
  ...visible("public", { require_context: true }),
  who: (context) => ({ ws: context.ws, from: context.from, to: context.to, user: context.user }),
});
await host.registerService({ id: "closed", ...visible("protected"), add });
await host.registerService({ id: "hidden", ...visible("unlisted"), add });
const shared = visible("protected", { authorized_workspaces: ["ws-user-john"] });
await host.registerService({ id: "shared", ...shared, add });
const cases = { snakeOrNot: { inner_key: 1 }, do_it: () => 1 };
await host.registerService({ id: "cases", ...visible("public"), ...cases });
for (const [number, client] of [host, other].entries()) {
  await client.registerService({ id: "many", ...visible("public"), load: () => number });
}

const token = await host.generateToken({ permission: "read" });
for (const [name, client] of Object.entries(clients)) {
  say(JSON.stringify({ known: { [client.config.server_id]: "<server>" } }));
  if (name === "anonymous") {
    // Over HTTP, the connection info of the original has no user, so a service reports it.
    const { id } = (await (await client.getService("ws-user-jane/host:open")).who()).user;
    say(JSON.stringify({ known: { [id]: "<user anonymous>" } }));
  }
  write(`${name}: connected`, plain(client.config));
}
for (const [name, client] of Object.entries(clients)) {
  await calls(name, client, { alice: "ws-user-jane", token });
  const uses = { open: (s) => s.who(), closed: (s) => s.add(1, 2), hidden: (s) => s.add(1, 2), shared: (s) => s.add(1, 2) };
  for (const [service, use] of Object.entries(uses)) {
    await step(`${name}: uses ${service}`, async () =>
      use(await client.getService(`ws-user-jane/host:${service}`)));
  }
}
for (const client of [...Object.values(clients), host, other]) await client.disconnect();
say("DONE");
process.exit(0);
