"""Registers a service `values`, or checks the service `values` of a Rust client.

With `--host`, the full id of the Rust service, it runs the checks, and prints one JSON line
`{name, ok, detail}` per check. Otherwise it registers its own service, prints
`READY <full service id>`, and runs until it is terminated.
"""

import asyncio
import io
import json
import math
import sys
import tempfile
import traceback

import peer
from pydantic import BaseModel

SIZE = 700_000


def payload(size):
    """Return bytes in a pattern."""
    return bytes(i % 251 for i in range(size))


class Point:
    def __init__(self, x, y):
        self.x = x
        self.y = y


class Shape:
    """A type for which only this program has a codec."""


class Person(BaseModel):
    name: str
    age: int | None = None


def register(server):
    server.register_codec(
        {
            "name": "point",
            "type": Point,
            "encoder": lambda point: {"x": point.x, "y": point.y},
            "decoder": lambda wire: Point(wire["x"], wire["y"]),
        }
    )
    server.register_codec(
        {"name": "shape", "type": Shape, "encoder": lambda shape: {"edges": 3, "hole": None}}
    )
    # If the result of an encoder is not a map, the client sends it unchanged.
    server.register_codec({"name": "complex", "type": complex, "encoder": str})


async def provide(server):
    register(server)
    opened = []

    def mirrored(points):
        """Mirror points. The codec has decoded them."""
        return [Point(-point.x, point.y) for point in points]

    def seen(value):
        """Return the Python type of a value."""
        return f"{type(value).__name__} {json.dumps(value, sort_keys=True, default=str)}"

    def returned(value):
        """Return the argument. A time is returned in seconds: the client cannot send a time."""
        return value.to_unix() if type(value).__name__ == "Timestamp" else value

    def shape():
        return Shape()

    def sample(name):
        return {
            "person": Person(name="Ada", age=36),
            "nobody": Person(name="?"),
            "set": {1, 2, 3},
            "big": [2**64 - 1, -(2**63), 2**53 + 1],
            "nan": [math.nan, math.inf, -0.0],
            "none": {"given": None},
            "absent": {},
            "numbered": {12: 0.5},
            "complex": 1 + 2j,
        }[name]

    def open_file(kind):
        if kind == "bytes":
            file = io.BytesIO(payload(SIZE))
        elif kind == "text":
            file = io.StringIO("kůň\n" * 100_000)
        else:
            file = tempfile.TemporaryFile(buffering=0 if kind == "raw" else -1)
            file.write(payload(SIZE))
            file.seek(0)
        opened.append(file)
        return file

    def closed():
        return opened[-1].closed

    def content():
        """Return the content of the last opened file."""
        opened[-1].seek(0)
        return opened[-1].read()

    async def read(file):
        """Read a file in parts, then its end again, and then the whole file."""
        parts = []
        while part := await file.read(100_000):
            parts.append(part)
        data = b"".join(parts)
        at = await file.seek(-5, 2)
        assert at == len(data) - 5 == await file.tell(), at
        assert await file.read() == data[-5:]
        await file.seek(0)
        assert await file.read(-1) == data
        assert await file.readable() and await file.seekable() and not await file.writable()
        assert file.size == len(data) and file.name == "some file"
        return data

    async def write(file):
        assert await file.write(payload(SIZE)) == SIZE
        await file.seek(3)
        assert await file.write(b"xyz") == 3
        await file.flush()
        await file.close()
        try:
            await file.write(b"more")
        except Exception as error:
            return str(error).strip().splitlines()[-1]

    methods = [mirrored, seen, returned, shape, sample, open_file, closed, content, read, write]
    info = await server.register_service(
        {
            "id": "values",
            "config": {"visibility": "public"},
            **{method.__name__: method for method in methods},
        }
    )
    stop = asyncio.Event()
    peer.on_termination(asyncio.get_running_loop(), stop.set)
    peer.say(f"READY {info['id']}")
    await stop.wait()


def same(got, wanted):
    if not isinstance(got, type(wanted)) or got != wanted:
        raise AssertionError(f"got {got!r}, wanted {wanted!r}"[:500])


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
    register(server)
    service = await server.get_service(host)

    async def codecs():
        points = await service.mirrored([Point(1.5, 2), Point(0.5, -1)])
        same([type(point) for point in points], [Point, Point])
        same([(point.x, point.y) for point in points], [(-1.5, 2.0), (-0.5, -1.0)])
        same(await service.shape(), {"edges": 3, "hole": None, "_rtype": "rust-shape"})
        await refused(service.mirrored([{"x": 1, "y": 2}]), "expected a `point`, got a map")
        await refused(service.mirrored([Shape()]), "`points[0]`: expected a `point`, got a `shape`")
        await refused(service.mirrored([Point("a", 1)]), "expected a `point`: ")
        await refused(service.mirrored([Point(math.inf, 1)]), "it lies at infinity")

    async def values():
        same(await service.sample("set"), {1, 2, 3})
        same(dict(await service.sample("ordered map")), {1: "a", "b": None})
        same(await service.sample("big"), [2**64 - 1, -(2**63), 2**53 + 1])
        nan, inf = await service.sample("nan")
        same((math.isnan(nan), inf), (True, math.inf))
        same(await service.sample("none"), {"given": None})
        same(await service.sample("absent"), {})
        same((await service.sample("date")).to_unix(), 981173106.5)
        same(await service.greet(Person(name="Ada", age=36)), "Ada, 36")
        same(await service.greet(Person(name="Ada")), "Ada, None")
        same(await service.greet({"name": "Ada"}), "Ada, None")
        for wells in [{12: 0.5}, {"12": 0.5}]:
            same(await service.doubled(wells), {"12": 1.0})
        await refused(service.doubled({"x": 0.5}), "`wells`: expected an integer as a key, got `x`")

    async def errors():
        for part in (
            "RemoteError:200.5 is outside of 0 to 100.5\n",
            "Caused by:\n    the axis is blocked\n",
            'data: {"Outside":{"position":200.5,"limit":100.5}}\n',
            "ValueError: 200.5 is outside of 0 to 100.5\n",
        ):
            await refused(service.stage(200.5), part)

    async def own_files():
        for file in (io.BytesIO(payload(SIZE)), tempfile.TemporaryFile(), open(__file__, "rb")):
            if file.readable() and not isinstance(file, io.BytesIO) and file.writable():
                file.write(payload(10))
                file.seek(0)
            wanted = file.read()
            file.seek(0)
            same(await service.read_all(file), wanted)
            same(await service.part(file, 2, 3), wanted[2:5])
            same(await service.part(file, -3, 3), wanted[-3:])
            same(file.closed, False)
        text = "žluťoučký kůň\n" * 20_000
        same(await service.read_all(io.StringIO(text)), text.encode())
        with open(__file__, encoding="utf-8") as file:
            same((await service.read_all(file)).decode(), open(__file__, encoding="utf-8").read())
        written = io.BytesIO()
        await service.write_to(written, payload(SIZE))
        same(written.getvalue(), payload(SIZE))
        written = io.StringIO()
        await service.write_to(written, "žluťoučký".encode())
        same(written.getvalue(), "žluťoučký")
        with open(__file__, "rb") as file:
            await refused(service.write_to(file, b"x"), "write")
        closed = io.BytesIO()
        closed.close()
        refusal = "closed"
        try:
            await service.read_all(closed)
        except Exception as error:
            refusal = str(error)
        same("closed" in refusal, True)

    async def gone():
        await service.keep(io.BytesIO(b"abc"))
        await refused(service.read_kept(), "the file no longer exists at its owner")

    async def their_files():
        file = await service.open(SIZE)
        same((file.size, file.name), (SIZE, "opened"))
        same(await file.read(10), payload(10))
        same(await file.seek(-10, 1), 0)
        same(await file.read(), payload(SIZE))
        same(await file.read(1), b"")
        await file.close()
        await refused(file.read(1), "I/O operation on closed file")

    return await run(codecs, values, errors, own_files, gone, their_files)


async def run(*checks):
    passed = True
    for one in checks:
        line = {"name": one.__name__, "ok": True}
        try:
            await asyncio.wait_for(one(), 60)
        except Exception as error:
            traceback.print_exc()
            line.update(ok=False, detail=f"{type(error).__name__}: {error}"[-2000:])
            passed = False
        peer.say(json.dumps(line))
    return 0 if passed else 1


async def main():
    parser = peer.arguments(__doc__)
    parser.add_argument("--host")
    options = parser.parse_args()
    server = await peer.connect(options)
    if options.host:
        code = await check(server, options.host)
    else:
        code = await provide(server)
    await server.disconnect()
    return code


sys.exit(asyncio.run(main()))
