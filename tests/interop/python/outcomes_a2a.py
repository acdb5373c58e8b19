"""The steps of `outcomes.py` over A2A: services as agents."""

import json

from hypha_rpc.utils.schema import schema_function

from outcomes_http import shown

ALICE = "/ws-user-alice"
SKILL = {"id": "talk", "name": "Talk", "description": "talks"}
CARD = {
    "name": "Talker",
    "description": "talks",
    "url": "http://here/talker",
    "version": "1.0.0",
    "protocol_version": "0.3.0",
    "capabilities": {"streaming": True, "push_notifications": False},
    "default_input_modes": ["text/plain"],
    "default_output_modes": ["text/plain"],
    "skills": [SKILL],
}
SILENT = {**CARD, "capabilities": {"streaming": False, "pushNotifications": True}}
CAMEL = {
    "name": "Camel",
    "description": "in camel case",
    "url": "http://here/camel",
    "version": "1.0.0",
    "defaultInputModes": ["text"],
    "defaultOutputModes": ["text"],
    "iconUrl": "http://here/icon.png",
    "provider": {"organization": "we", "url": "http://here"},
    "skills": [{**SKILL, "tags": ["x"], "inputModes": ["text"]}],
    "capabilities": {},
    "supportsAuthenticatedExtendedCard": True,
    "unknown": 5,
}
RESULTS = {"text": "plain", "int": 5, "float": 3.5, "list": [1, "b"], "map": {"a": None}, "true": True, "none": None}


async def run(message, context=None):
    """Respond to a message with its content, or with a value of the requested kind."""
    text = message["parts"][0].get("text", "")
    if text == "fail":
        raise ValueError("failed on purpose")
    if text in RESULTS:
        return RESULTS[text]
    return json.dumps([message, context], sort_keys=True)


def card():
    return {**CARD, "name": "Called"}


async def register(host):
    """Register agents of all forms, and services that are not agents."""
    public = {"visibility": "public"}
    agents = {
        "talker": {"agent_card": CARD, "run": run},
        "silent": {"agent_card": SILENT, "run": run},
        "camel": {"agent_card": CAMEL, "run": run},
        "called": {"agent_card": card, "run": run},
        "extended": {"extended_agent_card": {**CARD, "name": "Extended"}, "run": run},
        "cardless": {"run": run},
        "bad-card": {"agent_card": {"name": "Bad"}, "run": run},
        "runless": {"agent_card": CARD, "talk": run},
        "described": {"agent_card": CARD, "run": schema_function(run)},
    }
    for name, members in agents.items():
        await host.register_service({"id": name, "type": "a2a", "config": public, **members})
    await host.register_service({"id": "closed-agent", "type": "a2a", "config": {}, "agent_card": CARD, "run": run})
    await host.register_service({"id": "no-agent", "config": public, "run": run})


def plain(response):
    """Return a response without error details, which differ between the servers."""
    answer = shown(response)
    body = answer["body"]
    if isinstance(body, str) and body.startswith("data:"):
        lines = [line.removeprefix("data: ") for line in body.splitlines() if line]
        answer["body"] = body = [json.loads(line) for line in lines if not line.startswith(":")]
    for message in body if isinstance(body, list) else [body]:
        error = message.get("error") if isinstance(message, dict) else None
        if isinstance(error, dict) and "data" in error:
            error["data"] = "details"
    return answer


async def requests(recorder, http, tokens):
    """Send valid and invalid requests of a client of an agent."""

    def headers(who):
        return {"Connection": "close", **({"Authorization": f"Bearer {tokens[who]}"} if who else {})}

    async def get(path, who=None):
        async def answer():
            return plain(await http.get(f"{ALICE}/{path}", headers=headers(who)))

        await recorder.step(f"a2a: GET {path} as {who or 'nobody'}", answer())

    async def post(service, body, who=None, name=None):
        async def answer():
            said = {"content": body} if isinstance(body, (str, bytes)) else {"json": body}
            return plain(await http.post(f"{ALICE}/a2a/{service}", headers=headers(who), **said))

        await recorder.step(f"a2a: {name or body} to {service} as {who or 'nobody'}", answer())

    def message(method, text="hello", **more):
        said = {"role": "user", "messageId": "m1", "parts": [{"kind": "text", "text": text}], **more}
        return {"jsonrpc": "2.0", "id": 1, "method": method, "params": {"message": said}}

    cards = (".well-known/agent-card.json", ".well-known/agent.json", "agent/authenticatedExtendedCard", "", "no-such")
    for path in cards:
        await get(f"a2a/talker/{path}")
        await get(f"a2a/camel/{path}")
    others = ("silent", "called", "extended", "cardless", "bad-card", "runless", "host:talker")
    for service in (*others, "no-such", "no-agent"):
        await get(f"a2a/{service}/.well-known/agent-card.json")
        await get(f"a2a-info/{service}")
    for path in ("a2a", "a2a/", "a2a-info", "a2a-info/", "a2a/talker", "a2a-info/talker", "a2a-info/talker/x"):
        await get(path)
    for who in (None, "alice", "bob", "reader", "root"):
        await get("a2a/closed-agent/.well-known/agent-card.json", who)
        await post("closed-agent", message("message/send"), who, "message/send")
        await get("a2a-info/closed-agent", who)
    for service in ("talker", "talker/", "host:talker", "silent", "cardless", "described", "runless", "no-agent", "no-such"):
        for method in ("message/send", "message/stream"):
            await post(service, message(method), name=method)
    for text in (*RESULTS, "fail"):
        await post("talker", message("message/send", text), name=f"message/send {text}")
    await post("talker", message("message/stream", "fail"), name="message/stream fail")
    parts = [
        {"text": "without kind"},
        {"kind": "text", "text": "with more", "metadata": {"a": 1}},
        {"kind": "data", "data": {"a": [1, None]}},
        {"kind": "file", "file": {"uri": "http://here/x", "mimeType": "text/plain"}},
        {"kind": "no-such", "text": "x"},
        {"kind": "text"},
        {"kind": "text", "text": 5},
        {"kind": "data", "data": 5},
        {"kind": "file", "file": {}},
        5,
    ]
    for part in parts:
        await post("talker", message("message/send", parts=[part]), name=f"part {part}")
    changes = [
        {"role": "agent"},
        {"role": "nobody"},
        {"role": None},
        {"messageId": None},
        {"messageId": 5},
        {"message_id": "m2"},
        {"parts": []},
        {"parts": None},
        {"kind": "message"},
        {"kind": "task"},
        {"contextId": "c1"},
        {"taskId": "t1"},
        {"metadata": {"a": 1}, "referenceTaskIds": ["t"], "extensions": ["e"]},
        {"unknown": 1},
    ]
    for change in changes:
        await post("talker", message("message/send", **change), name=f"message with {change}")
    await post("talker", message("message/stream", taskId="t1"), name="message/stream with a task")
    for change in ({"id": "text"}, {"id": None}, {"id": 1.5}, {"id": []}, {"jsonrpc": "1.0"}, {"method": 5}, {"params": []}):
        await post("talker", {**message("message/send"), **change}, name=f"request with {change}")
    without = message("message/send")
    del without["id"]
    await post("talker", without, name="a request without id")
    settings = {"blocking": False, "acceptedOutputModes": ["text"], "historyLength": 1}
    configured = message("message/send")
    configured["params"]["configuration"] = settings
    await post("talker", configured, name="message/send with a configuration")
    for body in ("", "{", "[]", "5", "null", b"\xff", '{"jsonrpc": "2.0", "id": 1, "method": "no/such"}'):
        await post("talker", body)
    task = {"id": "t1"}
    push = {"taskId": "t1", "pushNotificationConfig": {"url": "http://here"}}
    configuration = "tasks/pushNotificationConfig"
    calls = [
        ("tasks/get", task),
        ("tasks/get", {}),
        ("tasks/get", {"id": 5}),
        ("tasks/cancel", task),
        ("tasks/cancel", {"id": 5}),
        ("tasks/resubscribe", task),
        ("tasks/resubscribe", {}),
        (f"{configuration}/set", push),
        (f"{configuration}/set", {}),
        (f"{configuration}/get", task),
        (f"{configuration}/list", task),
        (f"{configuration}/delete", {**task, "pushNotificationConfigId": "p"}),
        (f"{configuration}/delete", task),
        ("agent/getAuthenticatedExtendedCard", None),
    ]
    for service in ("talker", "silent", "camel"):
        for method, params in calls:
            body = {"jsonrpc": "2.0", "id": 1, "method": method}
            if params is not None:
                body["params"] = params
            await post(service, body, name=f"{method} {params}")
    for method in ("PUT", "DELETE", "HEAD"):
        for path in ("a2a/talker", "a2a/talker/.well-known/agent-card.json"):

            async def answer(method=method, path=path):
                return plain(await http.request(method, f"{ALICE}/{path}"))

            await recorder.step(f"a2a: {method} {path}", answer())
