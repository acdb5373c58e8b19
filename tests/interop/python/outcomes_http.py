"""The steps of `outcomes.py` over plain HTTP: services, pages and login."""

import base64
import gzip
import io
import json

import httpx
import msgpack

from outcome import plain

HEADERS = ("content-type", "location", "access-control-allow-origin", "www-authenticate", "x-host")
ALICE = "/ws-user-alice"
OPEN = f"{ALICE}/services/host:open"


async def application(args):
    """ASGI application that describes the request, in a response of two chunks."""
    scope, receive, send = args["scope"], args["receive"], args["send"]
    body = b""
    while True:
        event = await receive()
        body += event["body"]
        if not event.get("more_body"):
            break
    shown = {
        "type": scope["type"],
        "method": scope["method"],
        "path": scope["path"],
        "raw_path": scope.get("raw_path", b"").decode(),
        "query_string": scope["query_string"].decode(),
        "workspace": scope.get("workspace"),
        "service_id": scope.get("service_id"),
        "body": body.decode(),
        "keys": sorted(scope),
    }
    headers = [[b"content-type", b"application/json"], [b"x-host", b"here"]]
    await send({"type": "http.response.start", "status": 202, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(shown).encode(), "more_body": True})
    await send({"type": "http.response.body", "body": b"\n", "more_body": False})


async def register_pages(host):
    """Register an application and pages, which respond to HTTP requests themselves."""
    public = {"visibility": "public"}
    asgi = {"id": "application", "type": "asgi", "config": public, "serve": application}
    await host.register_service(asgi)

    def page(name):
        def answer(request):
            shown = {key: value for key, value in request.items() if key not in ("headers", "body")}
            body = request["body"]
            shown["body"] = body.decode() if isinstance(body, bytes) else body
            headers = {"Content-Type": "application/json"}
            return {"status": 201, "headers": headers, "body": json.dumps({name: shown})}

        return answer

    def broken(request):
        raise ValueError("a broken page")

    pages = {"id": "pages", "type": "functions", "config": public}
    pages.update(index=page("index"), folder={"index": page("folder")}, default=page("default"))
    pages.update(broken=broken, plain=lambda request: "just text", number=lambda request: 5)
    await host.register_service(pages)
    strict = {"id": "strict", "type": "functions", "config": public, "only": page("only")}
    await host.register_service(strict)

    def whence(request, context=None):
        seen = {"ws": context["ws"], "user": context["user"]["id"]}
        headers = {"Content-Type": "application/json"}
        return {"status": 200, "headers": headers, "body": json.dumps(seen)}

    asking = {"id": "asking", "type": "functions", "index": whence}
    await host.register_service({**asking, "config": {**public, "require_context": True}})
    closed = {"id": "closed-pages", "type": "functions", "config": {}, "index": page("index")}
    await host.register_service(closed)


def shown(response):
    """Return the parts of a response to compare."""
    kind = response.headers.get("content-type", "")
    headers = {name: response.headers[name] for name in HEADERS if name in response.headers}
    body = response.content
    if "msgpack" in kind:
        body = {"msgpack": repr(list(msgpack.Unpacker(io.BytesIO(body))))}
    else:
        try:
            body = plain(json.loads(body))
        except ValueError:
            body = body.decode(errors="replace")
            body = "a page" if "<html" in body.lower() else body
    return {"status": response.status_code, "headers": headers, "body": body}


async def dashboards(http):
    """Return the names of the metrics, without their values."""
    health = (await http.get("/health")).json()
    names = ["websocket_connections", "websocket_connections_established_total", "rpc_call_total"]
    names += ["client_requests_total", "redis_rpc_active_connections", "process_resident_memory_bytes"]
    names += ["redis_rpc_connections_created_total", "redis_rpc_connections_closed_total"]
    names += ["redis_eventbus_messages_processed_total", "redis_eventbus_local_clients"]
    lines = (await http.get("/metrics")).text.splitlines()
    found = {line.split(" ")[0] for line in lines if not line.startswith("#")}
    return {
        "status": health["status"],
        "memory": {key: isinstance(value, float) for key, value in health["memory"].items()},
        "connections": all(key in health["connections"] for key in ("active", "total_created", "total_closed")),
        "issues": health["issues"],
        "metrics": [name for name in names if name in found],
    }


async def title(http):
    """Return the title by which clients and tests recognize the login page."""
    page = (await http.get("/public/apps/hypha-login/")).text
    return page.partition("<title>")[2].partition("</title>")[0]


async def requests(recorder, http, tokens):
    """Send valid and invalid requests to every endpoint, anonymously and as users."""

    async def ask(step, method, path, **more):
        async def answer():
            # Use a new connection, because a server may close a connection after an error.
            headers = {**more.pop("headers", {}), "Connection": "close"}
            return shown(await http.request(method, path, headers=headers, **more))

        await recorder.step(f"http: {step}", answer())

    async def get(path, who=None):
        headers = {"Authorization": f"Bearer {tokens[who]}"} if who else {}
        await ask(f"GET {path} as {who or 'nobody'}", "GET", path, headers=headers)

    async def post(path, what, **more):
        await ask(f"POST {path} {what}", "POST", path, **more)

    everybody = (None, "alice", "bob", "reader", "root")
    for path in ("/health/liveness", "/health/readiness", "/login", "/assets/config.json"):
        await get(path)
    await get("/assets/config.json", "bob")
    await recorder.step("http: what dashboards read", dashboards(http))
    await recorder.step("http: the title of the login page", title(http))
    for who in everybody:
        for place in ("info", "services/", "services/open", "services/host:closed"):
            await get(f"{ALICE}/{place}", who)
        for name in ("closed/add?a=1&b=2", "hidden/add?a=1&b=2", "shared/add?a=1&b=2", "open/who"):
            await get(f"{ALICE}/services/host:{name}", who)
        await get(f"{ALICE}/apps/closed-pages/", who)
        await get(f"{ALICE}/apps/asking/", who)
        await get("/ws-user-bob/info", who)
    places = ["services", "services/no-such", "services/a:b:c", "services/host:hidden", "services/many"]
    places += ["services/many?_mode=nonsense", "services/ws"]
    places += ["services/launched@app", "services/~", "apps/pages", "apps/no-such/"]
    for place in places:
        await get(f"{ALICE}/{place}")
    await get(f"{ALICE}/services/many?_mode=select:max:load", "alice")
    for path in ("/no-such-workspace/info", "/no-such-workspace/services/"):
        await get(path)
        await get(path, "bob")
    await get("/public/services/")
    await get("/public/services/hypha-login")
    await get("/no-such-workspace/services/x/y")
    arguments = ["add?a=1&b=2", "add?a=1", "add", "add?a=1&b=2&c=3", "add?a=x&b=2", "echo?value=-3"]
    arguments += ["echo?value=1.5", "echo?value=1e3", "echo?value=007", "echo?value={\"a\":1}"]
    arguments += ["echo?value={bad", "echo?value=[1]", "echo?value=true", "echo?value=", "echo?value=nan"]
    arguments += ["echo?value=null", "echo?value=%C3%A4", "echo?value=a&value=b", "echo?value=1_000"]
    arguments += ["kinds?a=1&b=1.5&c=x&d={}&workspace=w&service_id=s&function_key=f&_mode=first"]
    arguments += ["fail?kind=value", "fail?kind=key", "fail?kind=permission", "fail?kind=other"]
    arguments += ["nested.deep.double?x=4", "nested.deep.no", "nested.motto", "motto", "nested", "no-such"]
    arguments += ["array", "data", "count?to=3", "_private", "id", "config.visibility", "echo?value=inf"]
    for call in arguments:
        await get(f"{OPEN}/{call}")
    for path in ("many/load?_mode=select:max:load", "many/load?_mode=first&x=1", "no-such/f", "many/load"):
        await get(f"{ALICE}/services/{path}", "alice")
    add = f"{OPEN}/add"
    echo = f"{OPEN}/echo"
    packed = {"Content-Type": "application/msgpack"}
    as_json = {"Content-Type": "application/json"}
    await post(add, "json", json={"a": 1, "b": 2})
    await post(add, "no body")
    await post(add, "bad json", content=b"{", headers=as_json)
    await post(add, "an array", json=[1, 2])
    await post(add, "a number", json=5)
    await post(add, "null", content=b"null", headers=as_json)
    await post(add, "without a type", content=b'{"a": 1}')
    await post(add, "with a parameter", content=b'{"a": 1}', headers={"Content-Type": "application/json; charset=utf-8"})
    await post(add, "text", content=b"a", headers={"Content-Type": "text/plain"})
    await post(add, "a form", data={"a": "1"})
    await post(add, "msgpack", content=msgpack.packb({"a": 1, "b": 2}), headers=packed)
    await post(add, "bad msgpack", content=b"\xc1", headers=packed)
    await post(add, "unknown argument", json={"a": 1, "x": 2})
    await post(echo, "deep", json={"value": {"a": [1, None, True, {"b": "c"}]}})
    await post(echo, "swallowed", json={"value": 1, "workspace": "w"})
    array = {"_rtype": "ndarray", "_rvalue": b"\1\0\2\0", "_rshape": [2], "_rdtype": "int16"}
    await post(echo, "an array of numbers", content=msgpack.packb({"value": array}), headers=packed)
    await post(f"{OPEN}/data", "msgpack", content=b"\x80", headers=packed)
    await post(f"{OPEN}/count", "msgpack", content=msgpack.packb({"to": 3}), headers=packed)
    zipped = {"Content-Encoding": "gzip"}
    await post(add, "gzip", content=gzip.compress(b'{"a": 1, "b": 2}'), headers={**as_json, **zipped})
    await post(add, "gzip msgpack", content=gzip.compress(msgpack.packb({"a": 1})), headers={**packed, **zipped})
    await post(add, "bad gzip", content=b"nonsense", headers={**as_json, **zipped})
    for method in ("PUT", "DELETE", "HEAD", "OPTIONS"):
        await ask(f"{method} {add}", method, f"{add}?a=1")
    for path in ("/ws-user-alice/services", "/no/such/page/at/all", "/health/nonsense"):
        await get(path)
    # Requests with other credentials.
    basic = base64.b64encode(f"x:{tokens['bob']}".encode()).decode()
    who = f"{OPEN}/who"
    for name, headers in {
        "bearer": {"Authorization": f"Bearer {tokens['bob']}"},
        "bare": {"Authorization": tokens["bob"]},
        "basic": {"Authorization": f"Basic {basic}"},
        "a cookie": {"Cookie": f"access_token={tokens['bob']}"},
        "nonsense": {"Authorization": "Bearer nonsense"},
        "bad basic": {"Authorization": "Basic !!"},
    }.items():
        await ask(f"who with {name}", "GET", who, headers=headers)
    origin = {"Origin": "http://example.org"}
    await ask("a call from another origin", "GET", f"{add}?a=1", headers=origin)
    preflight = {**origin, "Access-Control-Request-Method": "POST"}
    await ask("a preflight", "OPTIONS", add, headers=preflight)
    # Applications and pages.
    for page in ("", "x", "folder", "folder/", "folder/deep", "broken", "plain", "number", "no/such?q=1&q=2"):
        await get(f"{ALICE}/apps/pages/{page}", "bob")
    await get(f"{ALICE}/apps/host:pages/")
    await get(f"{ALICE}/apps/strict/no-such")
    await get(f"{ALICE}/apps/strict/only")
    await get(f"{ALICE}/apps/open/index")
    await post(f"{ALICE}/apps/pages/", "text", content=b"text")
    await get(f"{ALICE}/apps/application/a%20b/c?x=%20y")
    await post(f"{ALICE}/apps/application", "no slash", content=b"text")
    await post(f"{ALICE}/apps/application/", "text", content=b"text")
    await ask("PUT to an application", "PUT", f"{ALICE}/apps/application/x", content=b"text")


async def login(recorder, sessions, tokens):
    """Use the login service, through the client and over HTTP."""
    anonymous = sessions.clients["anonymous"]
    service = await anonymous.get_service("public/hypha-login")
    url = sessions.options.server_url
    keys = {}

    async def start(**named):
        answer = await service.start(**named)
        keys.update(key=answer["key"], report=httpx.URL(answer["report_url"]).path)
        return {name: text.replace(answer["key"], "<key>") for name, text in answer.items()}

    await recorder.step("login: start", start())
    await recorder.step("login: check at once", service.check(keys["key"], timeout=0))
    await recorder.step("login: check too late", service.check(keys["key"], timeout=1))
    async with httpx.AsyncClient(base_url=url) as http:
        # In a cluster, only one server has the key. The URL in `report` works at both servers.
        plain = "/public/services/hypha-login/report"
        report = keys["report"] if sessions.options.second_url else plain

        async def told(**query):
            return shown(await http.get(report, params=query))

        await recorder.step("login: nonsense reported", told(key=keys["key"], token="nonsense"))
        await recorder.step("login: wrong key", told(key="no-such", token=tokens["bob"]))
        await recorder.step("login: no token", told(key=keys["key"]))
        await recorder.step("login: report", told(key=keys["key"], token=tokens["bob"], email="b@c.d"))
        await recorder.step("login: report again", told(key=keys["key"], token=tokens["bob"]))
        await recorder.step("login: profile", service.check(keys["key"], timeout=1, profile=True))
        await recorder.step("login: checked again", service.check(keys["key"], timeout=0))
        await recorder.step("login: start for a workspace", start(workspace="ws-user-bob", expires_in=100))
        await recorder.step("login: report for it", service.report(keys["key"], tokens["bob"], workspace="ws-user-bob"))
        await recorder.step("login: the token", service.check(keys["key"], timeout=1))
        await recorder.step("login: start wrongly", service.start(wrong=1))
        await recorder.step("login: check wrongly", service.check())
        await recorder.step("login: logout", service.logout())
        blanks = ["check?key=a%20b&timeout=0", "check?a%20b=1", "start?a%20b=1", "start?not%20found=1"]
        blanks += ["report?key=a%20b&token=x%20y", "report?key=x&a%20b=1", "report?key=x&not%20found=1&token=y"]
        for path in (*blanks, "start", "start?expires_in=x", "check", "check?key=no-such&timeout=0", "logout", "nonsense"):

            async def answer(path=path):
                return shown(await http.get(f"/public/services/hypha-login/{path}"))

            await recorder.step(f"login: GET {path}", answer())
        for path in ("", "profile", "nonsense", "?key=x"):

            async def answer(path=path):
                return shown(await http.get(f"/public/apps/hypha-login/{path}"))

            await recorder.step(f"login: page {path}", answer())
