"""Provides the service `safe` with encryption, or calls it.

As a provider, prints `READY <full service id> <public key>`, and runs until it is terminated.
As a caller, with `--service` and `--key`, prints the results as one line of JSON.
"""

import asyncio
import json

import peer


def whisper(text, context=None):
    """Return the string, and the key of its sender."""
    return [f"secret {text}", context.get("caller_public_key")]


async def tell(listener, context=None):
    """Call the listener with a string, and return its result."""
    return await listener("secret rumour")


def adder(n, context=None):
    """Make a function that adds."""
    return lambda m: n + m


def stories(n, context=None):
    """Stream `n` strings."""
    for index in range(int(n)):
        yield f"secret story {index}"


async def host(server, options):
    config = {"visibility": "public", "require_context": True}
    if options.trusted_key:
        config["trusted_keys"] = [options.trusted_key]
    info = await server.register_service(
        {"id": "safe", "config": config, "whisper": whisper, "tell": tell, "adder": adder, "stories": stories}
    )
    stop = asyncio.Event()
    peer.on_termination(asyncio.get_running_loop(), stop.set)
    peer.say(f"READY {info['id']} {server.rpc.get_public_key()}")
    await stop.wait()


async def call(server, options):
    safe = await server.get_service(options.service, encryption_public_key=options.key)
    said = {"key": server.rpc.get_public_key()}
    said["whisper"] = await safe.whisper("word")
    said["tell"] = await safe.tell(lambda text: f"heard {text}")
    add = await safe.adder(1)
    said["adder"] = await add(2)
    said["stories"] = [story async for story in await safe.stories(3)]
    long = await safe.whisper("word" * 200_000)
    said["long"] = len(long[0])
    plain = await server.get_service(options.service)
    said["plain"] = await plain.whisper("word")
    peer.say(json.dumps(said))


async def main():
    parser = peer.arguments(__doc__)
    parser.add_argument("--service")
    parser.add_argument("--key")
    parser.add_argument("--trusted-key")
    options = parser.parse_args()
    server = await peer.connect(options, encryption=True)
    await (call if options.service else host)(server, options)
    await server.disconnect()


asyncio.run(main())
