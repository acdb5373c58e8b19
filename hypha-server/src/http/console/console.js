// The scripts of the console: live parts of pages, calls of methods, events and logins.
//
// Nothing here creates markup from texts of services; see values.js.

import { FileValue, FunctionValue, snippets } from "./code.js";
import {
  array, decodeAll, element, encode, Float, plot, POINTS_MAX, replot, show, showBytes,
} from "./values.js";

/** Maximum number of stream items, and of events, that the page shows. */
const ITEMS_MAX = 200;
const LANGUAGE = "hypha-console-language";

const proof = document.querySelector("meta[name=proof]")?.content ?? "";

/** Sends a request that belongs to this page. */
function ask(url, options = {}) {
  const headers = { ...options.headers, "X-Hypha-Console": proof };
  return fetch(url, { ...options, headers, redirect: "error" });
}

function sayConnection(text) {
  const line = document.getElementById("connection");
  if (line && line.textContent !== text) line.textContent = text;
}

const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

// Live parts: the script fetches the page again, and replaces the elements with `data-live`.

async function refresh() {
  const parts = document.querySelectorAll("[data-live]");
  const response = await ask(location.href, { headers: { Accept: "text/html" } });
  if (!response.ok) {
    sayConnection(`The server responds with status ${response.status}. Reload the page.`);
    return;
  }
  // Scripts of a parsed document do not run.
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
  sayConnection("");
  for (const part of parts) {
    const next = fresh.getElementById(part.id);
    if (!next || next.innerHTML === part.innerHTML) continue;
    const focused = part.contains(document.activeElement) ? document.activeElement : null;
    const label = (link) => link.getAttribute("href") ?? link.getAttribute("aria-label");
    part.replaceChildren(...next.childNodes);
    if (focused) {
      const links = [...part.querySelectorAll("a, button")];
      links.find((link) => label(link) === label(focused))?.focus();
    }
  }
}

async function keepLive(interval) {
  for (;;) {
    await pause(interval);
    if (document.hidden) continue;
    try {
      await refresh();
    } catch {
      sayConnection("The server does not respond. Trying again.");
    }
  }
}

const live = document.querySelector("[data-live]");
if (live) keepLive(Number(live.dataset.live));

for (const field of document.querySelectorAll("[data-filter]")) {
  let timer;
  field.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      const url = new URL(location.href);
      url.search = field.value ? `?q=${encodeURIComponent(field.value)}` : "";
      history.replaceState(null, "", url);
      refresh().catch(() => sayConnection("The server does not respond."));
    }, 150);
  });
}

async function watchPresence(line) {
  const states = { true: ["Online", "good"], false: ["Offline: no program offers it now", "bad"] };
  for (;;) {
    await pause(2000);
    if (document.hidden) continue;
    try {
      const { ok } = await ask(line.dataset.presence, { method: "HEAD" });
      sayConnection("");
      const [text, kind] = states[ok];
      if (line.textContent !== text) line.textContent = text;
      line.className = kind;
    } catch {
      sayConnection("The server does not respond. Trying again.");
    }
  }
}

const presence = document.querySelector("[data-presence]");
if (presence) watchPresence(presence);

// Arguments.

/** An argument that cannot be sent. */
class BadArgument extends Error {}

/** Returns a file as a value: numpy arrays, JSON, pictures for arrays, otherwise bytes. */
async function fromFile(file, kind) {
  if (file.type.startsWith("image/") && kind === "array") return pixels(file);
  const bytes = new Uint8Array(await file.arrayBuffer());
  if (kind !== "bytes" && file.name.endsWith(".npy")) return array(bytes);
  if (kind !== "bytes" && file.name.endsWith(".json")) {
    const value = JSON.parse(new TextDecoder().decode(bytes));
    return kind === "array" ? array(value) : value;
  }
  return bytes;
}

/** Returns the colors of an image as an array of height × width × 3 bytes. */
async function pixels(file) {
  const image = await createImageBitmap(file);
  const { width, height } = image;
  const context = new OffscreenCanvas(width, height).getContext("2d");
  context.drawImage(image, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  const bytes = new Uint8Array(width * height * 3);
  for (let pixel = 0; pixel < width * height; pixel += 1) {
    bytes.set(data.subarray(pixel * 4, pixel * 4 + 3), pixel * 3);
  }
  return { _rtype: "ndarray", _rvalue: bytes, _rshape: [height, width, 3], _rdtype: "uint8" };
}

function parsed(text, name) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new BadArgument(`${name}: this is not JSON (${error.message})`);
  }
}

/** Returns whether the user has changed a field within an element. */
function isFilledIn(container) {
  // Defaults of the members, and the first choice of a list without an empty one, do not count.
  return [...container.querySelectorAll("input, select, textarea")].some((control) => {
    if (control.type === "file") return control.files.length > 0;
    if (control.localName !== "select") return control.value !== control.defaultValue;
    const first = [...control.options].findIndex((option) => option.defaultSelected);
    return control.selectedIndex !== Math.max(0, first);
  });
}

/** Returns the value of a field, or `undefined` if it is left out. */
async function read(field, forCode) {
  const { kind, name } = field.dataset;
  const isRequired = "required" in field.dataset;
  if (kind === "object") {
    return isRequired || isFilledIn(field) ? readAll(field, forCode) : undefined;
  }
  if (kind === "function") {
    // The server passes the function: see `functionsOf`.
    if (!forCode || !field.querySelector("input")?.checked) return undefined;
    return new FunctionValue(Number(field.dataset.count));
  }
  const file = field.querySelector("input[type=file]")?.files[0];
  if (file) return forCode ? new FileValue(file.name, kind) : fromFile(file, kind);
  const text = field.querySelector("input:not([type=file]), select, textarea")?.value ?? "";
  if (kind === "text") return text === "" && !isRequired ? undefined : text;
  if (text.trim() === "") {
    if (isRequired) throw new BadArgument(`${name}: a value is required`);
    return undefined;
  }
  if (kind === "integer") {
    const trimmed = text.trim();
    if (!/^[+-]?\d+$/.test(trimmed)) throw new BadArgument(`${name}: this is no integer`);
    const number = Number(trimmed);
    return Number.isSafeInteger(number) ? number : BigInt(trimmed);
  }
  if (kind === "number") {
    const number = Number(text);
    if (Number.isNaN(number)) throw new BadArgument(`${name}: this is no number`);
    return new Float(number);
  }
  if (kind === "bytes") {
    return forCode ? text : new TextEncoder().encode(text);
  }
  const value = parsed(text, name);
  return kind === "array" && !forCode ? array(value) : value;
}

/** Returns the values of the fields of a form or fieldset, by name. */
async function readAll(container, forCode) {
  const all = [];
  for (const field of container.querySelectorAll(":scope > .field")) {
    const value = await read(field, forCode);
    if (value !== undefined) all.push([field.dataset.name, value]);
  }
  // An assignment to a member `__proto__` would not create it.
  return Object.fromEntries(all);
}

/** Returns the arguments in a form: an object by name, or a list. */
async function argumentsOf(form, forCode = false) {
  const raw = form.querySelector(":scope > [data-kind=arguments] textarea");
  if (!raw) return readAll(form, forCode);
  if (raw.value.trim() === "") return [];
  const value = parsed(raw.value, "arguments");
  if (value === null || typeof value !== "object") {
    throw new BadArgument("arguments: a list or an object is required");
  }
  return value;
}

/** Returns the names of the arguments for which the server passes a function. */
function functionsOf(form) {
  const fields = [...form.querySelectorAll(":scope > .field[data-kind=function]")];
  return fields.filter((it) => it.querySelector("input").checked).map((it) => it.dataset.name);
}

// Calls.

/** Shows an error. An error of the server begins with a class. */
function showError(result, text, hasClass = true) {
  const detail = text.replace(/^RemoteException: /, "");
  const parts = hasClass ? /^([A-Za-z_][\w.]*): ([^]*)$/.exec(detail) : null;
  const shown = parts ? [element("strong", "", parts[1]), " ", parts[2]] : [detail];
  const box = element("div", "error", ...shown);
  box.setAttribute("role", "alert");
  result.append(box);
}

function clear(result) {
  for (const link of result.querySelectorAll("a[download]")) URL.revokeObjectURL(link.href);
  result.replaceChildren();
}

/** Shows the items of a stream as they arrive. */
class StreamView {
  constructor(result, label = "Items of the stream") {
    this.numbers = [];
    this.count = 0;
    this.state = element("p", "quiet");
    this.plot = null;
    this.list = element("ol", "items");
    this.list.tabIndex = 0;
    this.list.setAttribute("aria-label", label);
    result.append(this.state, this.list);
  }

  add(item, shown = show(item)) {
    this.count += 1;
    if (typeof item === "number") {
      this.numbers.push(item);
      // Trimmed in large steps, because each step moves all numbers.
      if (this.numbers.length > 2 * POINTS_MAX) this.numbers.splice(0, POINTS_MAX);
      if (this.numbers.length > 2) {
        this.plot ??= plot([]);
        if (!this.plot.parentNode) this.list.before(this.plot);
        replot(this.plot, this.numbers, this.count);
      }
    }
    const line = element("li", "", shown);
    line.value = this.count;
    this.list.append(line);
    // Pictures of a stream replace each other.
    const most = line.querySelector("canvas, img") ? 1 : ITEMS_MAX;
    while (this.list.childElementCount > most) {
      for (const link of this.list.firstChild.querySelectorAll("a[download]")) {
        URL.revokeObjectURL(link.href);
      }
      this.list.firstChild.remove();
    }
    this.list.scrollTop = this.list.scrollHeight;
  }

  say(state) {
    this.state.textContent = `${state} ${this.count} ${this.count === 1 ? "item" : "items"}`;
  }
}

/** Shows the calls of functions, the items of the result and the result as they arrive. */
class CallView {
  constructor(result) {
    this.result = result;
    this.views = new Map();
  }

  add(part) {
    if (Object.hasOwn(part, "result")) {
      this.result.append(show(part.result));
    } else if (Object.hasOwn(part, "item")) {
      this.view("Items").add(part.item);
    } else {
      const { callback, args, kwargs } = part;
      const all = kwargs ? [...args, kwargs] : args;
      const shown = all.flatMap((value, index) => (index ? [", ", show(value)] : [show(value)]));
      this.view(`Calls of ${callback}`).add(args[0], element("div", "", ...shown));
    }
  }

  view(label) {
    if (!this.views.has(label)) {
      const section = element("section", "", element("h4", "", label));
      this.result.append(section);
      this.views.set(label, new StreamView(section, label));
    }
    return this.views.get(label);
  }

  say(state) {
    for (const view of this.views.values()) view.say(state);
  }
}

const isStreamError = (value) =>
  value !== null && typeof value === "object" && typeof value.error === "string" &&
  value.traceback === "" && Object.keys(value).length === 2;

/** Returns the name in the header of a file, or an empty text. */
function fileName(disposition) {
  const encoded = /filename\*=UTF-8''([^;]*)/.exec(disposition);
  if (encoded) return decodeURIComponent(encoded[1]);
  return /filename="([^"]*)"/.exec(disposition)?.[1] ?? "";
}

async function readResult(response, result, View) {
  // The browser accepts every type, so the server sends the content of a file.
  const disposition = response.headers.get("Content-Disposition");
  if (disposition !== null) {
    const bytes = new Uint8Array(await response.arrayBuffer());
    result.append(showBytes(bytes, fileName(disposition)));
    return bytes.length;
  }
  const isStream = response.headers.get("Cache-Control") === "no-cache";
  const view = isStream ? new View(result) : null;
  const reader = response.body.getReader();
  const pieces = [];
  let rest = new Uint8Array();
  let length = 0;
  for (;;) {
    const { done, value } = await reader.read().catch((error) => {
      if (view) view.say(error.name === "AbortError" ? "Stopped after" : "Interrupted after");
      throw error;
    });
    if (done) break;
    length += value.length;
    if (!view) {
      // Joined at the end, because a single value may be large.
      pieces.push(value);
      continue;
    }
    const joined = new Uint8Array(rest.length + value.length);
    joined.set(rest);
    joined.set(value, rest.length);
    const { values, end } = decodeAll(joined);
    rest = joined.slice(end);
    for (const item of values) {
      if (isStreamError(item)) showError(result, item.error);
      else view.add(item);
    }
    view.say("Receiving:");
  }
  if (view) {
    view.say("Complete:");
    return length;
  }
  const whole = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  const { values } = decodeAll(whole);
  if (values.length !== 1) throw new Error("the result is incomplete");
  result.append(show(values[0]));
  return length;
}

async function call(form, result, stop) {
  clear(result);
  const controller = new AbortController();
  const begun = performance.now();
  const button = form.querySelector("button[type=submit]");
  button.disabled = true;
  stop.hidden = false;
  stop.onclick = () => controller.abort();
  result.setAttribute("aria-busy", "true");
  try {
    const body = encode(await argumentsOf(form));
    const functions = functionsOf(form);
    const query = functions.map((name) => `_callback=${encodeURIComponent(name)}`).join("&");
    const response = await ask(query ? `${form.dataset.call}?${query}` : form.dataset.call, {
      method: "POST",
      headers: { "Content-Type": "application/msgpack" },
      body,
      signal: controller.signal,
    });
    if (response.ok) {
      const View = query ? CallView : StreamView;
      const length = await readResult(response, result, View);
      const time = Math.round(performance.now() - begun);
      result.append(element("p", "quiet", `${time} ms, ${length} bytes`));
    } else {
      const text = await response.text();
      let detail = text;
      try {
        detail = JSON.parse(text).detail ?? text;
      } catch {
        // A proxy may respond with another text.
      }
      showError(result, String(detail) || `status ${response.status}`);
    }
  } catch (error) {
    if (error.name === "AbortError") {
      // The line of a stream already says so.
      if (!result.querySelector(":scope > .items")) {
        result.append(element("p", "quiet", "Stopped"));
      }
    } else if (error instanceof TypeError) showError(result, "The server does not respond");
    else showError(result, error.message, false);
  } finally {
    button.disabled = false;
    stop.hidden = true;
    result.removeAttribute("aria-busy");
  }
}

// The same call as a program.

async function copy(text, button) {
  const before = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    // Browsers offer the clipboard only to secure pages.
    button.textContent = "Select the text and copy it";
  }
  setTimeout(() => (button.textContent = before), 2000);
}

function setUpCode(form, details) {
  const select = element("select");
  select.setAttribute("aria-label", "Language");
  const text = element("pre");
  text.tabIndex = 0;
  text.setAttribute("role", "region");
  text.setAttribute("aria-label", "Program");
  const button = element("button", "", "Copy");
  button.type = "button";
  button.addEventListener("click", () => copy(text.textContent, button));
  // The arguments of the last valid call.
  let last;
  const update = async () => {
    const { server, workspace, service, method } = form.dataset;
    try {
      last = await argumentsOf(form, true);
    } catch {
      // The form is not complete yet, so the last valid call stays.
    }
    const all = snippets({
      server, workspace, service, method,
      args: last ?? {},
      isStream: "stream" in form.dataset,
      isSignedIn: "signedIn" in form.dataset,
    });
    if (!select.options.length) {
      for (const language of Object.keys(all)) select.append(new Option(language));
      const language = localStorage.getItem(LANGUAGE);
      if (Object.hasOwn(all, language)) select.value = language;
    }
    text.textContent = last ? all[select.value] : "Fill in the arguments to see the program.";
  };
  select.addEventListener("change", () => {
    localStorage.setItem(LANGUAGE, select.value);
    update();
  });
  details.append(element("div", "buttons", select, button), text);
  details.addEventListener("toggle", update);
  form.addEventListener("input", () => details.open && update());
}

for (const form of document.querySelectorAll("form[data-call]")) {
  const section = form.closest(".method");
  const stop = form.querySelector("[data-stop]");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    call(form, section.querySelector(".result"), stop);
  });
  setUpCode(form, section.querySelector("[data-code]"));
}

for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", () => {
    copy(document.getElementById(button.dataset.copy).textContent, button);
  });
}

// Events.

async function followEvents(list) {
  const state = document.getElementById("events-state");
  for (;;) {
    try {
      const response = await ask(list.dataset.events);
      if (!response.ok) throw new Error(`status ${response.status}`);
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        const lines = (rest + value).split("\n");
        rest = lines.pop();
        for (const line of lines) {
          const { event, data } = JSON.parse(line);
          if (!event) {
            state.textContent = "Waiting for events.";
            sayConnection("");
            continue;
          }
          const time = element("time", "quiet", new Date().toLocaleTimeString());
          list.prepend(element("li", "", time, " ", element("strong", "", event), " ", show(data)));
          while (list.childElementCount > ITEMS_MAX) list.lastChild.remove();
        }
      }
    } catch {
      sayConnection("The server sends no events. Trying again.");
    }
    state.textContent = "Interrupted.";
    await pause(2000);
  }
}

const events = document.querySelector("[data-events]");
if (events) followEvents(events);

// Logins on the login page.

async function waitForLogin(form) {
  for (;;) {
    await pause(1500);
    try {
      const body = new URLSearchParams(new FormData(form));
      body.set("script", "1");
      const response = await ask(form.action, { method: "POST", body });
      const isJson = response.headers.get("Content-Type")?.startsWith("application/json");
      if (!response.ok || !isJson) {
        form.querySelector("[role=status]").textContent = "This login has ended. Start it again.";
        return;
      }
      if ((await response.json()).done) {
        location.href = form.action.replace(/login\/check$/, "");
        return;
      }
    } catch {
      sayConnection("The server does not respond. Trying again.");
    }
  }
}

const login = document.querySelector("form[data-login]");
if (login) waitForLogin(login);
