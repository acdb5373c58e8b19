// Shows an OpenAPI document of this server. The texts come from services, so they are inserted as
// text, not as HTML.
"use strict";

const place = document.getElementById("place");
const query = new URLSearchParams(location.search);

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function headers() {
  const token = place.elements.token.value;
  return token ? { Authorization: `Bearer ${token}` } : {};
}

function address(workspace, service) {
  if (!workspace) return "openapi.json";
  const within = service ? `/services/${encodeURIComponent(service)}` : "";
  return `${encodeURIComponent(workspace)}${within}/openapi.json`;
}

// The initial value of each argument is empty.
function example(schema) {
  const properties = (schema && schema.properties) || {};
  const start = { string: "", number: 0, integer: 0, boolean: false, array: [], object: {} };
  const values = {};
  for (const name of schema?.required || []) values[name] = start[properties[name]?.type] ?? null;
  return values;
}

function form(base, path, operation) {
  const content = operation.requestBody?.content?.["application/json"];
  if (!content || path.includes("{")) return null;
  const made = element("form");
  const body = element("textarea", JSON.stringify(example(content.schema), null, 2));
  body.rows = 5;
  body.setAttribute("aria-label", "Arguments");
  const answer = element("pre");
  answer.hidden = true;
  made.append(body, element("button", "Call"), answer);
  made.addEventListener("submit", async (event) => {
    event.preventDefault();
    answer.hidden = false;
    answer.textContent = "…";
    try {
      const sent = { ...headers(), "Content-Type": "application/json" };
      const response = await fetch(base + path, { method: "POST", headers: sent, body: body.value });
      answer.textContent = `${response.status}\n${await response.text()}`;
    } catch (error) {
      answer.textContent = String(error);
    }
  });
  return made;
}

function show(found) {
  document.getElementById("title").textContent = found.info.title;
  document.getElementById("description").textContent = found.info.description || "";
  const operations = document.getElementById("operations");
  operations.replaceChildren();
  // Calls the server that has served the page, even if the document contains another host name.
  const served = found.servers?.[0]?.url ? new URL(found.servers[0].url) : null;
  const base = served ? served.pathname.replace(/\/$/, "") : "";
  for (const [path, methods] of Object.entries(found.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const details = element("details");
      const summary = element("summary");
      summary.append(element("span", method, "method"), element("code", path));
      details.append(summary, element("p", operation.summary || operation.description || ""));
      const { summary: _, description: __, ...rest } = operation;
      const called = method === "post" ? form(base, path, operation) : null;
      if (called) details.append(called);
      details.append(element("pre", JSON.stringify(rest, null, 2)));
      operations.append(details);
    }
  }
  if (found.components?.schemas) {
    const details = element("details");
    details.append(element("summary", "Types"));
    details.append(element("pre", JSON.stringify(found.components.schemas, null, 2)));
    operations.append(details);
  }
}

async function load() {
  const problem = document.getElementById("problem");
  problem.textContent = "";
  const { workspace, service } = place.elements;
  try {
    const target = address(workspace.value, service.value);
    const response = await fetch(target, { headers: headers() });
    const found = await response.json();
    if (!response.ok) throw new Error(found.detail || response.statusText);
    show(found);
  } catch (error) {
    document.getElementById("operations").replaceChildren();
    problem.textContent = String(error.message || error);
  }
}

for (const name of ["workspace", "service"]) place.elements[name].value = query.get(name) || "";
place.addEventListener("submit", (event) => {
  event.preventDefault();
  const chosen = new URLSearchParams();
  for (const name of ["workspace", "service"]) {
    if (place.elements[name].value) chosen.set(name, place.elements[name].value);
  }
  history.replaceState(null, "", chosen.size ? `?${chosen}` : location.pathname);
  load();
});
load();
