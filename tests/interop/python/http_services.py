"""Provides services for plain HTTP: functions, a generator, an ASGI application and pages.

Prints `READY <workspace>`, and runs until it is killed.
"""

import asyncio

import peer


async def application(args):
    """ASGI application that describes the request, in a response of two chunks."""
    scope, receive, send = args["scope"], args["receive"], args["send"]
    body = b""
    while True:
        event = await receive()
        body += event["body"]
        if not event.get("more_body"):
            break
    headers = dict((name.decode(), value.decode()) for name, value in scope["headers"])
    text = f"{scope['method']} {scope['path']} {scope['query_string'].decode()} {len(body)}"
    await send(
        {
            "type": "http.response.start",
            "status": 202,
            "headers": [[b"content-type", b"text/plain"], [b"x-host", headers["host"].encode()]],
        }
    )
    await send({"type": "http.response.body", "body": text.encode() + b";", "more_body": True})
    await send({"type": "http.response.body", "body": b"end", "more_body": False})


async def main():
    options = peer.arguments(__doc__).parse_args()
    server = await peer.connect(options, name="services over HTTP")
    stop = asyncio.Event()
    peer.on_termination(asyncio.get_running_loop(), stop.set)

    async def count(to):
        for number in range(to):
            yield number

    def fail(kind):
        if kind == "value":
            raise ValueError("a bad value")
        if kind == "permission":
            raise PermissionError("Permission denied for you")
        raise RuntimeError("no luck")

    public = {"visibility": "public"}
    functions = {
        "id": "functions",
        "config": {**public, "require_context": ["who"]},
        "add": lambda a, b: a + b,
        "echo": lambda value: value,
        "who": lambda context=None: [context["user"]["id"], context["ws"]],
        "fail": fail,
        "count": count,
        "nested": {"deep": {"double": lambda x: 2 * x}},
        "motto": "ars longa",
    }
    await server.register_service(functions)
    await server.register_service({"id": "hidden", "config": {}, "add": lambda a, b: a + b})
    asgi = {"id": "application", "type": "asgi", "config": public, "serve": application}
    await server.register_service(asgi)

    def page(name):
        def answer(request):
            text = f"{name} {request['method']} {request['query_string']} {request['user']['id']}"
            return {"status": 200, "headers": {"Content-Type": "text/plain"}, "body": text}

        return answer

    pages = {"id": "pages", "type": "functions", "config": public}
    pages.update(index=page("index"), folder={"index": page("folder")}, default=page("default"))
    await server.register_service(pages)
    token = await server.generate_token()
    peer.say(f"READY {server.config['workspace']} {token}")
    await stop.wait()
    await server.disconnect()


asyncio.run(main())
