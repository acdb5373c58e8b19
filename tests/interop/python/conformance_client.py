"""Checks every method of a `conformance` service in any language.

Prints one JSON line `{"name", "ok", "detail"}` per check. The exit status is 1 if a check failed.
"""

import asyncio
import json
import math
import sys
import traceback

import peer
import sample_values
from checks import MEGABYTE, Failed, expect, expect_error, expect_same, short
from live_checks import LiveChecks

# Timeout of a check, in seconds.
LIMIT = 90


class Checks(LiveChecks):
    """The checks. Each public coroutine method is a check. They run in the order of the source."""

    def __init__(self, options, server, service):
        self.options = options
        self.host = options.host_language
        # Python and Rust functions reject additional arguments. JavaScript functions ignore them.
        self.knows_parameters = self.host in ("python", "rust")
        self.server = server
        self.service = service
        # Sessions of abandoned calls, which may remain.
        self.left_alone = set()

    def _sessions(self):
        """Return the sessions in which calls wait or functions are stored.

        Responses to callbacks also leave sessions behind, which contain only the name of the peer.
        """

        def holds(entry):
            return callable(entry) or isinstance(entry, dict) and any(map(holds, entry.values()))

        sessions = self.server.rpc.get_session_stats()["session_ids"]
        return {key for key in sessions if holds(self.server.rpc._object_store[key])}

    def all(self):
        """Return the checks by name."""
        members = {**vars(Checks), **vars(LiveChecks)}
        for name, member in members.items():
            if not name.startswith("_") and asyncio.iscoroutinefunction(member):
                yield name, getattr(self, name)

    async def echo_plain_values(self):
        for name, value in sample_values.plain():
            got = await self.service.echo(value)
            difference = sample_values.difference(got, value)
            expect(difference is None, f"{name}: {difference}")

    async def echo_big_integers(self):
        if self.host not in ("python", "rust"):
            return "skipped: JavaScript numbers hold 53 bits"
        for value in sample_values.BIG_INTEGERS:
            expect_same(await self.service.echo(value), value)

    async def echo_whole_floats_stay_floats(self):
        if self.host not in ("python", "rust"):
            return "skipped: JavaScript has one type of number"
        for value in (0.0, 3.0, -0.0, 1e18):
            got = await self.service.echo(value)
            expect(isinstance(got, float), f"{value} came back as {got!r}")
            expect(math.copysign(1, got) == math.copysign(1, value), f"sign of {value}: {got!r}")

    async def echo_by_name(self):
        expect_same(await self.service.echo(value={"a": [1, None]}), {"a": [1, None]})

    async def echo_map_is_not_keywords(self):
        expect_same(await self.service.echo({"value": 1}), {"value": 1})

    async def echo_large_bytes(self):
        for size in (MEGABYTE, 5 * MEGABYTE):
            data = sample_values.pattern(size)
            got = await self.service.echo(data)
            expect(isinstance(got, bytes), f"got {type(got).__name__}")
            expect(got == data, f"{size} bytes came back as {len(got)} other bytes")

    async def echo_sizes_around_the_chunk_threshold(self):
        for size in (262_143, 262_144, 262_145, 263_168, 263_300, 524_288, 524_289):
            data = sample_values.pattern(size)
            got = await self.service.echo(data)
            expect(got == data, f"{size} bytes came back as {len(got)} other bytes")

    async def echo_large_structure(self):
        rows = [{"index": i, "name": f"row {i}", "half": i + 0.5} for i in range(20_000)]
        expect_same(await self.service.echo(rows), rows)

    async def add_positional(self):
        expect_same(await self.service.add(2.5, 3.25), 5.75)
        expect_same(await self.service.add(-1, 2), 1)

    async def add_by_name(self):
        expect_same(await self.service.add(a=2.5, b=3.25), 5.75)
        expect_same(await self.service.add(b=3.25, a=2.5), 5.75)

    async def add_mixed(self):
        if not self.knows_parameters:
            return "skipped: JavaScript hosts drop positional arguments beside named ones"
        expect_same(await self.service.add(2.5, b=3.25), 5.75)

    async def add_default(self):
        expect_same(await self.service.add(2.5), 3.5)
        expect_same(await self.service.add(a=2.5), 3.5)

    async def divide(self):
        expect_same(await self.service.divide(1, 4), 0.25)

    async def divide_by_zero_fails(self):
        await expect_error(self.service.divide(1.0, 0.0), "zero")
        await expect_error(self.service.divide(1, 0), "zero")

    async def describe(self):
        for person in (
            {"name": "Ada"},
            {"name": "Žofie 漢字", "age": 36},
            {"name": "Ada", "tags": []},
            {"name": "Ada", "age": 36, "tags": ["countess", "mathematics"]},
        ):
            got = await self.service.describe(person)
            expect(isinstance(got, str), f"a sentence, not {short(got)}")
            expect(person["name"] in got, f"{got!r} does not name {person['name']}")
        expect_same(
            await self.service.describe(person=person), await self.service.describe(person)
        )

    async def describe_accepts_a_whole_float_as_integer(self):
        got = await self.service.describe({"name": "Ada", "age": 36.0})
        expect(isinstance(got, str) and "Ada" in got, short(got))

    async def whoami(self):
        got = await self.service.whoami()
        config = self.server.config
        wanted = {
            "user_id": config["user"]["id"],
            "workspace": config["workspace"],
            "from": f"{config['workspace']}/{config['client_id']}",
            "is_anonymous": config["user"]["is_anonymous"],
        }
        for key, value in wanted.items():
            expect_same(got[key], value)

    async def sleep(self):
        for seconds in (0, 0.2):
            expect_same(await self.service.sleep(seconds), seconds)

    async def sleep_longer_than_the_silence_limit(self):
        # Without heartbeats, the call would fail after `method_timeout`.
        server = await peer.connect(self._second_client(), method_timeout=3)
        try:
            service = await server.get_service(self.options.service)
            expect_same(await service.sleep(5), 5)
        finally:
            await server.disconnect()

    def _second_client(self):
        options = type(self.options)(**vars(self.options))
        options.client_id = None
        return options

    async def make_bytes(self):
        for size in (0, 1, 70_000, 5 * MEGABYTE):
            got = await self.service.make_bytes(size)
            expect(isinstance(got, bytes), f"got {type(got).__name__}")
            expect(len(got) == size, f"{size} bytes wanted, {len(got)} came")

    async def length(self):
        for size in (0, 1, 70_000, 5 * MEGABYTE):
            expect_same(await self.service.length(sample_values.pattern(size)), size)

    async def many_calls_at_once(self):
        got = await asyncio.gather(*(self.service.add(i, 0.5) for i in range(300)))
        expect_same(got, [i + 0.5 for i in range(300)])

    async def calls_do_not_wait_for_each_other(self):
        before = self._sessions()
        sleeper = asyncio.ensure_future(self.service.sleep(15))
        await asyncio.sleep(0)
        self.left_alone |= self._sessions() - before
        sleepers = [asyncio.ensure_future(self.service.sleep(0.5)) for _ in range(40)]
        expect_same(await self.service.echo("quick"), "quick")
        expect(not sleeper.done(), "the long call has ended")
        await asyncio.wait_for(asyncio.gather(*sleepers), 12)
        expect(not sleeper.done(), "the long call has ended")
        sleeper.cancel()

    async def large_payloads_at_once(self):
        datas = [sample_values.pattern(MEGABYTE, seed) for seed in range(4)]
        got = await asyncio.gather(*(self.service.echo(data) for data in datas))
        expect(got == datas, "payloads got mixed up")

    async def unknown_method_fails(self):
        await expect_error(self._member("no_such_method")(1), "not found", "invalid method")

    async def unknown_service_fails(self):
        workspace_and_client = self.options.service.split(":")[0]
        await expect_error(
            self.server.get_service(f"{workspace_and_client}:no-such-service"), "not found"
        )

    def _member(self, name):
        """Call a method that the service description does not list."""
        listed = self.service.echo.__rpc_object__
        method = listed["_rmethod"].rpartition(".")[0] + "." + name
        return self.server.rpc.decode({**listed, "_rmethod": method, "_rname": name})

    async def ill_typed_argument_fails(self):
        await expect_error(self.service.add("one", 2.0), r"a\b")
        await expect_error(self.service.add(a=1.0, b=[2.0]), r"b\b")
        await expect_error(self.service.describe("Ada"), "person")
        await expect_error(self.service.describe({"age": 36}), "name")
        await expect_error(self.service.describe({"name": 1}), "name")
        await expect_error(self.service.describe({"name": "Ada", "tags": [1]}), "tags")
        await expect_error(self.service.length("text"), "data")
        await expect_error(self.service.make_bytes(-1), r"n\b")

    async def too_few_arguments_fail(self):
        await expect_error(self.service.divide(1.0), r"b\b")
        await expect_error(self.service.divide(b=1.0), r"a\b")
        await expect_error(self.service.describe(), "person")

    async def too_many_arguments_fail(self):
        if not self.knows_parameters:
            return "skipped: JavaScript ignores additional arguments"
        await expect_error(self.service.echo(1, 2), "argument")
        await expect_error(self.service.add(1.0, 2.0, 3.0), "argument")

    async def unknown_or_doubled_names_fail(self):
        if not self.knows_parameters:
            return "skipped: JavaScript ignores additional arguments"
        await expect_error(self.service.add(1.0, c=2.0), r"c\b")
        await expect_error(self.service.add(1.0, a=2.0), r"a\b")

    async def schema(self):
        info = await self.server.get_service_info(self.options.service)
        schema = info["service_schema"]
        names = {
            "echo": (["value"], ["value"]),
            "add": (["a", "b"], ["a"]),
            "divide": (["a", "b"], ["a", "b"]),
            "describe": (["person"], ["person"]),
            "whoami": ([], []),
            "sleep": (["seconds"], ["seconds"]),
            "make_bytes": (["n"], ["n"]),
            "length": (["data"], ["data"]),
            "panic_now": ([], []),
            "scale": (["image", "factor"], ["image", "factor"]),
            "call_back": (["callback", "times"], ["callback", "times"]),
            "count": (["n", "delay"], ["n"]),
            "sum": (["numbers", "limit"], ["numbers"]),
            "store": (["interface"], ["interface"]),
        }
        for method, (properties, required) in names.items():
            expect(method in schema, f"{method} is missing: {list(schema)}")
            function = schema[method]["function"]
            expect_same(function["name"], method)
            if not self.knows_parameters:
                continue
            parameters = function["parameters"]
            expect_same(parameters["type"], "object")
            expect_same(list(parameters["properties"]), properties)
            # `echo` accepts null, so some hosts do not require the argument.
            if method != "echo":
                expect_same(list(parameters.get("required", [])), required)

    async def panic_is_an_error(self):
        await expect_error(self.service.panic_now(), "panic")

    async def answers_after_the_panic(self):
        expect_same(await self.service.echo("still there"), "still there")
        got = await asyncio.gather(*(self.service.add(i, 1.0) for i in range(20)))
        expect_same(got, [i + 1.0 for i in range(20)])


def report(name, ok, detail):
    """Print the result of a check."""
    peer.say(json.dumps({"name": name, "ok": ok, "detail": detail}))


async def run(name, check):
    """Run one check, and return whether it passed."""
    try:
        detail = await asyncio.wait_for(check(), LIMIT)
    except asyncio.TimeoutError:
        report(name, False, f"no end after {LIMIT} s")
        return False
    except Failed as failure:
        report(name, False, str(failure))
        return False
    except Exception as error:
        traceback.print_exc()
        report(name, False, f"{type(error).__name__}: {error}"[-2000:])
        return False
    report(name, True, detail or "")
    return True


async def main():
    parser = peer.arguments(__doc__)
    parser.add_argument("--service", required=True, help="full id of the service")
    parser.add_argument("--host-language", choices=["rust", "python", "js"])
    parser.add_argument("--skip", default="", help="names of checks to skip, separated by commas")
    options = parser.parse_args()
    skipped = options.skip.split(",")
    opened = {}

    async def connect():
        server = opened["server"] = await peer.connect(options, name="Python conformance client")
        opened["service"] = await server.get_service(options.service)

    if not await run("connect", connect):
        return 1
    checks = Checks(options, opened["server"], opened["service"])
    passed = [await run(name, check) for name, check in checks.all() if name not in skipped]
    await opened["server"].disconnect()
    return 0 if all(passed) else 1


# `pyodide_peer.mjs` imports this module and awaits `main` itself.
if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
