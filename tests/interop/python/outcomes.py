"""Uses all functions of a server as several users, through the Python client and plain HTTP.

Prints one JSON line with `step` and `outcome` per step. `compare_outcomes.py` compares the outcomes
of two servers.
"""

import asyncio
import json
import time
from pathlib import Path

import httpx
import numpy as np
from jose import jwt

import outcomes_a2a
import outcomes_http
import outcomes_mcp
import outcomes_skills
import peer
from outcome import Recorder, plain

TABLE = Path(__file__).parent.parent / "outcomes.json"
LIMIT = 20


class Sessions:
    """Connections of a run, by the name of the user."""

    def __init__(self, options, secret, recorder):
        self.options = options
        self.recorder = recorder
        self.secret = secret
        self.clients = {}

    def token_of(self, user, email=None, roles=()):
        """Return a token of a registered user without a workspace, as an operator can create it."""
        now = int(time.time())
        names = "https://amun.ai/"
        claims = {
            "iss": names,
            "aud": "https://amun-ai.eu.auth0.com/api/v2/",
            "sub": user,
            "iat": now,
            "exp": now + 3600,
            "scope": "",
            "gty": "client-credentials",
            names + "roles": list(roles),
            names + "email": email,
        }
        return jwt.encode(claims, self.secret, algorithm="HS256")

    async def connect(self, name, **more):
        more.setdefault("client_id", name)
        # With two servers, every second client connects to the second server.
        if self.options.second_url and len(self.clients) % 2:
            more.setdefault("server_url", self.options.second_url)
        # Over HTTP, the client's stream has this timeout, which is 30 s by default. The
        # original writes to an idle stream only every 30 s.
        more.setdefault("method_timeout", 120)
        self.clients[name] = await peer.connect(self.options, **more)
        return self.clients[name]

    async def disconnect(self):
        for name, client in self.clients.items():
            await client.disconnect()
            self.recorder.gone(client.config["workspace"], name)


def fill(value, names):
    """Return a value of the table, with the names in braces replaced."""
    if isinstance(value, str):
        for name, text in names.items():
            value = value.replace("{" + name + "}", text)
        return value
    if isinstance(value, list):
        return [fill(item, names) for item in value]
    if isinstance(value, dict):
        return {key: fill(item, names) for key, item in value.items()}
    return value


async def table(recorder, who, client, calls, names):
    """Run every call of the table with one client."""
    own = {**names, "me": who, "own": client.config["workspace"], "long": "x" * 1025}
    for method, args, *more in calls:
        named, without = (more + [{}, []][len(more) :])[:2]
        if who in without:
            continue
        shown = ", ".join([*map(json.dumps, args), *(f"{k}={json.dumps(v)}" for k, v in named.items())])
        step = f"{who}: {method}({shown})"
        function = getattr(client, method)
        await recorder.step(step, function(*fill(args, own), **fill(named, own)))


async def host_services(sessions):
    """Register the services of the user alice, which all other users call."""
    host = await sessions.connect("host", token=sessions.token_of("alice", "alice@example.org"))
    # Later, another client connects with the id of this client.
    await sessions.connect("present", token=sessions.token_of("dave"))
    other = await sessions.connect("other", token=sessions.token_of("alice", "alice@example.org"))

    async def count(to):
        for number in range(to):
            yield number

    def fail(kind):
        kinds = {"value": ValueError, "key": KeyError, "permission": PermissionError}
        raise kinds.get(kind, RuntimeError)(f"this is a {kind} error")

    async def late(seconds):
        await asyncio.sleep(seconds)
        return "late"

    functions = {
        "add": lambda a, b=1: a + b,
        "echo": lambda value=None: value,
        "kinds": lambda **named: {key: type(value).__name__ for key, value in named.items()},
        "who": lambda context=None: {k: context[k] for k in ("ws", "from", "to", "user")},
        "fail": fail,
        "late": late,
        "count": count,
        "array": lambda: np.arange(6, dtype="int16").reshape(2, 3),
        "data": lambda: b"bytes",
        "nested": {"deep": {"double": lambda x: 2 * x}, "motto": "per aspera"},
        "motto": "ars longa",
    }
    public = {"visibility": "public"}
    described = {"type": "greeter", "name": "Open", "description": "for all", "docs": "how to"}
    context = {**public, "require_context": ["who"]}
    await host.register_service({"id": "open", **described, "config": context, **functions})
    for visibility, name in (("protected", "closed"), ("unlisted", "hidden")):
        config = {"visibility": visibility}
        await host.register_service({"id": name, "config": config, "add": lambda a, b: a + b})
    shared = {"authorized_workspaces": ["ws-user-bob"]}
    await host.register_service({"id": "shared", "config": shared, "add": lambda a, b: a + b})
    await host.register_service({"id": "launched", "app_id": "app", "config": public})
    camel = {"id": "cases", "config": public, "snakeOrNot": {"inner_key": 1}, "do_it": lambda: 1}
    await host.register_service(camel)
    for number, client in enumerate((host, other)):
        many = {"id": "many", "config": public, "load": lambda number=number: number}
        await client.register_service(many)
    await outcomes_http.register_pages(host)
    await outcomes_mcp.register(host)
    await outcomes_a2a.register(host)
    await host.register_service_type({"id": "kind", "name": "kind", "definition": {}})
    visible = {"id": "public-kind", "name": "seen by all", "definition": {}, "config": public}
    await host.register_service_type(visible)
    return host


async def users(recorder, sessions, alice):
    """Connect the users of the table, each with its permissions in the workspace of alice."""
    tokens = {}
    for name in ("reader", "writer"):
        permission = "read" if name == "reader" else "read_write"
        tokens[name] = await alice.generate_token({"permission": permission})
        await sessions.connect(name, token=tokens[name])
    await sessions.connect("admin", token=sessions.token_of("alice", "alice@example.org"))
    await sessions.connect("foreign", token=sessions.token_of("bob"))
    await sessions.connect("anonymous")
    await sessions.connect("root", token=sessions.options.root_token)
    for name, client in sessions.clients.items():
        recorder.knows(server=client.config["server_id"])
        # Over HTTP, the connection info of the original has no user, so a service reports its
        # caller.
        opened = await client.get_service("ws-user-alice/host:open")
        user = (await opened.who())["user"]["id"]
        if user not in ("alice", "bob", "root"):
            recorder.knows(**{f"user {name}": user})
        shown = {k: v for k, v in client.config.items() if k != "service_schema"}
        recorder.write(f"{name}: connected", plain(shown))
    return tokens


async def manager_contract(recorder, client):
    """Call the methods of the manager."""
    service = await client.get_service("~")
    for name in sorted(service.keys()):
        if callable(service[name]) and not name.startswith("_"):
            schema = getattr(service[name], "__schema__", None) or {}
            parameters = schema.get("parameters", {})
            known = {
                "name": schema.get("name"),
                "described": bool(schema.get("description")),
                "parameters": list(parameters.get("properties", {})),
                "required": parameters.get("required", []),
            }
            recorder.write(f"manager: {name}", known)


async def events(recorder, sessions):
    """Record the events that a client receives while others connect, work and disconnect."""
    heard = []
    alice, names = sessions.clients["admin"], ["client_connected", "client_updated"]
    names += ["client_disconnected", "service_added", "service_removed", "workspace_changed"]
    names += ["workspace_loaded", "workspace_deleted", "workspace_ready", "workspace_unloaded"]
    names += ["workspace_status_changed", "tidings"]
    await alice.subscribe(names)

    def listener(name):
        def hear(event):
            heard.append({"listened to": name, **(event if isinstance(event, dict) else {"event": event})})

        return hear

    for name in names:
        # Over HTTP, the client has no method `on`.
        alice.rpc.on(name, listener(name))

    async def silence():
        count = None
        while count != len(heard):
            count = len(heard)
            await asyncio.sleep(0.4)

    async def during(step, action):
        await silence()
        heard.clear()
        await recorder.step(f"events: {step}", action)
        await silence()
        recorder.write(f"events: heard of {step}", [plain(event) for event in heard])

    guest = "guest"
    token = await alice.generate_token()
    await during("a client comes", come(sessions, guest, token))
    client = sessions.clients[guest]
    service = {"id": "news", "type": "greeter", "config": {"visibility": "public"}, "extra": 1}
    await during("a service comes", client.register_service(dict(service)))
    again = client.register_service({**service, "name": "Again"}, {"overwrite": True})
    await during("a service comes again", again)
    await during("a service goes", client.unregister_service("news"))
    await during("a variable", client.set_env("EVENT", "x"))
    await during("a word to all", client.rpc.emit({"type": "tidings", "to": "*", "data": {"a": 1}}))
    await during("a workspace", alice.create_workspace({"id": "alice-event"}))
    await during("the workspace goes", alice.delete_workspace("alice-event"))
    await during("a client goes", client.disconnect())
    recorder.gone(client.config["workspace"], guest)
    del sessions.clients[guest]


async def come(sessions, name, token):
    await sessions.connect(name, token=token)


async def refusals(recorder, sessions, tokens):
    """Connect with valid and invalid options."""
    alice = sessions.clients["admin"]
    revoked = await alice.generate_token()
    await recorder.step("connect: revoke a token", alice.revoke_token(revoked))
    special = await alice.generate_token({"extra_scopes": ["file:download"]})
    named = await alice.generate_token({"client_id": "named"})
    attempts = {
        "nonsense": {"token": "nonsense"},
        "revoked": {"token": revoked},
        "specialised": {"token": special},
        "of another client": {"token": named, "client_id": "x"},
        "of this client": {"token": named, "client_id": "named"},
        "signed by another": {"token": jwt.encode({"sub": "x"}, "other", algorithm="HS256")},
        "to another workspace": {"token": tokens["reader"], "workspace": "ws-user-bob"},
        "to a foreign workspace": {"token": sessions.token_of("bob"), "workspace": "ws-user-alice"},
        "to no workspace": {"token": sessions.token_of("bob"), "workspace": "no-such-workspace"},
        "to public": {"token": sessions.token_of("bob"), "workspace": "public"},
        "anonymous to public": {"workspace": "public"},
        "anonymous to no workspace": {"workspace": "no-such-workspace"},
        "an administrator": {
            "token": sessions.token_of("carol", roles=["admin"]),
            "workspace": "ws-user-alice",
        },
        "an id with a slash": {"client_id": "a/b"},
        "an id in use": {"token": sessions.token_of("dave"), "client_id": "present"},
    }
    # Over HTTP, the client is not notified of a rejection, so it waits for this timeout.
    limit = 10

    async def attempt(options):
        client = await peer.connect(sessions.options, method_timeout=limit, **options)
        try:
            # Over HTTP, the original does not report the user.
            keep = ("workspace", "client_id", "user")
            return {key: client.config.get(key) for key in keep}
        finally:
            await client.disconnect()

    # Connect concurrently, because some attempts wait for the timeout.
    running = {}
    for number, (name, options) in enumerate(attempts.items()):
        options.setdefault("client_id", f"comer-{number}")
        running[name] = asyncio.ensure_future(attempt(options))
    for name, result in running.items():
        await recorder.step(f"connect: {name}", result)
    for options in attempts.values():
        # A rejected client does not know its workspace.
        recorder.gone("*", options["client_id"])


async def administration(recorder, sessions):
    """Manage clients and workspaces as an operator."""
    root = sessions.clients["root"]
    # Each server has this service. Use the service of the server to which both root and the client
    # to be blocked are connected.
    admin = await root.get_service(f"{root.config['server_id']}:admin-utils")
    erin = sessions.token_of("erin")
    await sessions.connect("unwanted", token=erin, server_url=sessions.options.server_url)
    calls = {
        "list_servers": lambda: admin.list_servers(),
        "kickout_client of nobody": lambda: admin.kickout_client("ws-user-erin", "nobody"),
        "kickout_client without a client": lambda: admin.kickout_client("ws-user-erin"),
        "kickout_client": lambda: admin.kickout_client("ws-user-erin", "unwanted", 1008, "be gone"),
        "list_workspaces": lambda: ids(admin.list_workspaces()),
        "get_metrics": lambda: names(admin.get_metrics()),
        "block_user": lambda: admin.block_user("nobody", 60, "noise"),
        "block_ip": lambda: admin.block_ip("192.0.2.1", duration=60),
        "list_blocked": lambda: blocked(admin.list_blocked()),
        "unblock_user": lambda: admin.unblock_user("nobody"),
        "unblock_ip": lambda: admin.unblock_ip("192.0.2.1"),
        "list_blocked of none": lambda: admin.list_blocked(),
    }
    for name, call in calls.items():
        await recorder.step(f"root: admin: {name}", call())
    recorder.gone("ws-user-erin", "unwanted")
    for who in ("admin", "anonymous"):
        found = sessions.clients[who].get_service("ws-user-root/admin-utils")
        await recorder.step(f"{who}: admin: get_service", found)


async def queues(recorder, sessions):
    """Use a task queue that the clients of a workspace share."""
    root = sessions.clients["root"]
    alice = sessions.clients["admin"]
    queue = await alice.get_service(f"public/{root.config['server_id']}:queue")
    calls = {
        "pop nothing": lambda: queue.pop("q", timeout=1),
        "push": lambda: queue.push("q", {"number": 1, "more": [None, 0.5, "x"]}),
        "push by name": lambda: queue.push(queue_name="q", task={"number": 2}),
        "get_length": lambda: queue.get_length("q"),
        "get_length of none": lambda: queue.get_length("other"),
        "peek": lambda: queue.peek("q", 2),
        "peek by name": lambda: queue.peek(queue_name="q", n=9),
        "peek at one": lambda: queue.peek("q"),
        "pop": lambda: queue.pop("q", timeout=1),
        "pop by name": lambda: queue.pop(queue_name="q"),
        "pop the end": lambda: queue.pop("q", 1),
        "push text": lambda: queue.push("q", "x"),
        "push a list": lambda: queue.push("q", [1, True, None]),
        "push nothing": lambda: queue.push("q", None),
        "pop text": lambda: queue.pop("q", timeout=1),
        "pop a list": lambda: queue.pop("q", timeout=1),
        "pop null": lambda: queue.pop("q", timeout=1),
        "length after null": lambda: queue.get_length("q"),
        "push to no name": lambda: queue.push("-q", {}),
        "push without a task": lambda: queue.push("q"),
        "push too much": lambda: queue.push("q", {}, 1, 2, 3),
    }
    for name, call in calls.items():
        await recorder.step(f"admin: queue: {name}", call())


async def ids(listed):
    return sorted({item["id"] for item in await listed} & {"public", "ws-user-alice"})


async def blocked(listed):
    """Return the blocked clients and users, without the exact remaining time."""
    return {
        kind: [(item["id"], item["reason"], item["ttl_seconds"] in range(50, 61)) for item in items]
        for kind, items in (await listed).items()
    }


async def names(metrics):
    return sorted((await metrics)["rpc"]["rpc_connections"])


async def foreign_calls(recorder, sessions):
    """Call the services with and without permission."""
    for who in ("reader", "foreign", "anonymous"):
        client = sessions.clients[who]
        service = await client.get_service("ws-user-alice/host:open")
        calls = {
            "add": lambda: service.add(1, 2),
            "add by name": lambda: service.add(a=1, b=5),
            "add wrongly": lambda: service.add(1, c=5),
            "who": lambda: service.who(),
            "fail": lambda: service.fail("value"),
            "nested": lambda: service.nested.deep.double(4),
            "array": lambda: service.array(),
            "data": lambda: service.data(),
        }
        for name, call in calls.items():
            await recorder.step(f"{who}: calls {name}", call())
        for name in ("closed", "hidden", "shared"):

            async def use(name=name):
                return await (await client.get_service(f"ws-user-alice/host:{name}")).add(1, 2)

            await recorder.step(f"{who}: uses {name}", use())


async def main():
    parser = peer.arguments(__doc__)
    parser.add_argument("--root-token", required=True)
    parser.add_argument("--secret", required=True)
    parser.add_argument("--second-url")
    options = parser.parse_args()
    calls = json.loads(TABLE.read_text())
    recorder = Recorder("python", LIMIT)
    sessions = Sessions(options, options.secret, recorder)
    host = await host_services(sessions)
    tokens = await users(recorder, sessions, host)
    await manager_contract(recorder, host)
    names = {"alice": "ws-user-alice", "token": tokens["reader"]}
    for who in ("admin", "writer", "reader", "foreign", "anonymous", "root"):
        client = sessions.clients[who]
        await table(recorder, who, client, calls["services"] + calls["calls"], names)
    await foreign_calls(recorder, sessions)
    await events(recorder, sessions)
    await refusals(recorder, sessions, tokens)
    await administration(recorder, sessions)
    await queues(recorder, sessions)
    tokens.update(
        alice=sessions.token_of("alice"), bob=sessions.token_of("bob"), root=options.root_token
    )
    async with httpx.AsyncClient(base_url=options.server_url, timeout=LIMIT) as http:
        await outcomes_http.requests(recorder, http, tokens)
        await outcomes_mcp.requests(recorder, http, tokens)
        await outcomes_a2a.requests(recorder, http, tokens)
        await outcomes_skills.requests(recorder, http, tokens)
    await outcomes_http.login(recorder, sessions, tokens)
    await sessions.disconnect()
    peer.say("DONE")


asyncio.run(main())
