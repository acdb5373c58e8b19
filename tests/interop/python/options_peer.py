"""Registers a service `number`, or checks the options of a Rust service in Python.

With `--value`, it registers `number`, whose `get_value` returns that JSON value, prints
`READY <full service id>`, and runs until it is terminated. With `--host`, the id of a Rust client,
it runs the checks, and prints one JSON line `{name, ok, detail}` per check.
"""

import asyncio
import json
import sys
import traceback

import peer


async def provide(server, value):
    """Register the service `number`, and run until terminated."""

    def get_value():
        return json.loads(value)

    def read_number(add_one: bool = False):
        """Read the number."""
        return json.loads(value) + (1 if add_one else 0)

    service = {
        "id": "number",
        "get_value": get_value,
        "read_number": read_number,
        "deep_part": {"read_it": get_value},
    }
    info = await server.register_service(service)
    stop = asyncio.Event()
    peer.on_termination(asyncio.get_running_loop(), stop.set)
    peer.say(f"READY {info['id']}")
    await stop.wait()


def same(got, wanted):
    if got != wanted:
        raise AssertionError(f"got {got!r}, wanted {wanted!r}")


async def refused(doing, text):
    """Check that `doing` fails with a message that contains `text`."""
    try:
        await doing
    except Exception as error:
        if text not in str(error):
            raise AssertionError(f"{text!r} is not in {error}") from error
        return
    raise AssertionError(f"not refused: {text}")


async def check(server, host):
    desk = f"{host}:desk"
    address = f"{server.config['workspace']}/{desk}"

    async def camel():
        service = await server.get_service(desk, case_conversion="camel")
        same(await service.readNumber(True), 5)
        same(await service.deepPart.readIt(), 7)
        same(service.config.runInExecutor, True)
        same("read_number" in service, False)
        same(service.readNumber.__schema__["description"], "Read the number.")

    async def both():
        service = await server.get_service(desk, case_conversion="camel+snake")
        same(await service.readNumber(False), 4)
        same(await service.read_number(False), 4)

    async def directly():
        service = await server.rpc.get_remote_service(address, {"case_conversion": "camel"})
        same(await service.readNumber(True), 5)
        same(service.readNumber.__schema__["name"], "readNumber")

    async def published():
        service = await server.get_service(desk)
        info = await server.get_service_info(desk)
        for config in (service["config"], info["config"]):
            same(config["run_in_executor"], True)
            same(config["singleton"], True)
            same(config["flags"], ["tested"])
            same(config["visibility"], "protected")
        same(info["type"], "desk")
        same(info["docs"], "More of it.")

    async def blocking():
        # The caller's idle timeout is one second.
        service = await server.get_service(desk)
        same(await service.nap(2.5), "2.5 s")
        await refused(service.nap(-1.0), "cannot sleep for -1 s")

    async def singleton():
        await refused(
            server.register_service({"id": "desk", "f": lambda: 1}),
            "A singleton service with the same name",
        )
        # The client keeps a rejected service, which it would register again after a reconnect.
        server.rpc._services.pop("desk")

    async def trusted():
        service = await server.get_service(f"{host}:guarded")
        await refused(service.f(), "Encryption required for method")

    async def of_a_type():
        def is_open(at):
            """Mine."""
            return True

        service = {"id": "s", "type": "shutter", "description": "A shutter.", "is_open": is_open}
        info = await server.register_service(dict(service), check_type=True)
        schema = info["service_schema"]["is_open"]["function"]
        same(schema["description"], "See whether it is open.")
        same(list(schema["parameters"]["properties"]), ["at"])
        wrong = "Failed to get service type shutter, error: "
        del service["is_open"]
        await refused(server.register_service(service, check_type=True), wrong)
        service["type"] = "nothing"
        await refused(server.register_service(service, check_type=True), "Service type not found")

    async def defines_a_type():
        def is_open(at: str):
            """See whether it is open, in Python."""
            return True

        example = {"id": "s", "name": "n", "type": "x", "is_open": is_open, "parts": [1, 2]}
        definition = await server.get_service_schema(example)
        info = {"id": "python-shutter", "name": "Shutter", "definition": definition}
        await server.register_service_type(info)
        found = await server.get_service_type("python-shutter")
        same(found["id"], f"{server.config['workspace']}/python-shutter")
        await refused(server.register_service_type(info), "Service type already exists")

    passed = True
    for run in (
        camel,
        both,
        directly,
        published,
        blocking,
        singleton,
        trusted,
        of_a_type,
        defines_a_type,
    ):
        line = {"name": run.__name__, "ok": True}
        try:
            await asyncio.wait_for(run(), 30)
        except Exception as error:
            traceback.print_exc()
            line.update(ok=False, detail=f"{type(error).__name__}: {error}"[-2000:])
            passed = False
        peer.say(json.dumps(line))
    return 0 if passed else 1


async def main():
    parser = peer.arguments(__doc__)
    parser.add_argument("--value")
    parser.add_argument("--host")
    options = parser.parse_args()
    more = {"method_timeout": 1} if options.host else {}
    server = await peer.connect(options, **more)
    if options.host:
        code = await check(server, options.host)
    else:
        code = await provide(server, options.value)
    await server.disconnect()
    return code


sys.exit(asyncio.run(main()))
