"""The steps of `outcomes.py` with the documents for agents. Compares their form, not their text."""

import json


def form(response):
    """Return the form of a document."""
    kind = response.headers.get("content-type", "")
    shown = {"status": response.status_code, "kind": kind}
    text = "" if "zip" in kind else response.text
    if kind == "application/json":
        body = json.loads(text)
        shown["keys"] = sorted(body)
        shown["name"] = body.get("name")
        shown["type"] = body.get("type")
    elif text.startswith("---\n"):
        head = text.split("---\n")[1]
        shown["head"] = sorted(line.split(":")[0] for line in head.splitlines() if line[:1].strip())
    elif "markdown" in kind:
        shown["begins"] = text.startswith("# ")
    return shown


async def requests(recorder, http, tokens):
    """Read the documents as an agent does."""
    files = ["SKILL.md", "REFERENCE.md", "EXAMPLES.md", "WORKSPACE_CONTEXT.md", "REFERENCE/workspace-manager.md"]
    others = ["", "index", "create-zip-file", "no-such.md", "REFERENCE/no-such.md", "GUIDE/no-such.md"]
    asking = [("public", None), ("ws", None), ("ws-user-alice", None), ("ws-user-alice", "alice"), ("ws-user-alice", "bob")]
    for workspace, who in asking:
        for path in files + others:
            headers = {"Authorization": f"Bearer {tokens[who]}"} if who else {}

            async def answer(place=f"/{workspace}/agent-skills/{path}", headers=headers):
                return form(await http.get(place, headers=headers))

            await recorder.step(f"skills: GET {workspace}/{path} as {who or 'nobody'}", answer())
