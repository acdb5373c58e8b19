// Sends the token that the user enters to the login service, with the key from the URL of the page.

const find = (id) => document.getElementById(id);
const parameters = new URLSearchParams(location.search);
const key = parameters.get("key");
const workspace = parameters.get("workspace");

function say(text, kind) {
  find("said").textContent = text;
  find("said").className = kind;
}

async function report(token) {
  // The URL of the page ends with `/apps/<service>/`. `<service>` is the login service of the
  // server that knows the key.
  const service = location.pathname.split("/").at(-2);
  const address = new URL(`../../services/${service}/report`, location.href);
  const answer = await fetch(address, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ key, token }),
  });
  if (answer.ok) return;
  const { detail } = await answer.json().catch(() => ({ detail: `status ${answer.status}` }));
  // Users need the text of the error without the names of its types.
  throw new Error(detail.replace(/^(\w+(Exception|Error): )+/, ""));
}

if (key) {
  if (workspace) {
    find("what").textContent = `A program waits for you to log in to the workspace ${workspace}.`;
  }
  find("form").addEventListener("submit", async (event) => {
    event.preventDefault();
    find("button").disabled = true;
    say("", "");
    try {
      await report(find("token").value.trim());
      find("form").remove();
      say("You are logged in. You can close this page.", "good");
    } catch (error) {
      find("button").disabled = false;
      say(error.message, "bad");
    }
  });
} else {
  find("form").remove();
  find("what").textContent = "This page is opened by a program that wants you to log in.";
}
