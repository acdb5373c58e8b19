"""Provides the service that the benchmark measures, and prints `READY <full service id>`."""

import asyncio

import peer


def add(a: float, b: float):
    """Add two numbers."""
    return a + b


def echo(data: bytes):
    """Return the bytes."""
    return data


def numbers(n: int):
    """Stream numbers from 0."""
    yield from range(int(n))


async def main():
    options = peer.arguments(__doc__).parse_args()
    server = await peer.connect(options)
    stop = asyncio.Event()
    peer.on_termination(asyncio.get_running_loop(), stop.set)
    info = await server.register_service(
        {"id": "bench", "config": {"visibility": "public"}, "add": add, "echo": echo, "numbers": numbers}
    )
    peer.say(f"READY {info['id']}")
    await stop.wait()
    await server.disconnect()


asyncio.run(main())
