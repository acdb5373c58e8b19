"""Measures the service of the benchmark, and prints the figures as one line of JSON."""

import asyncio
import json
import time

import peer

AT_ONCE = 64
MB = 1024 * 1024
# Number of echoes of each size to ignore, as in the Rust caller.
WARM_UP = 3
# Number of clients that each make a first call over WebRTC. The median counts.
FIRST_CALLS = 5
# An empty list of servers means the default one, for which the client would wait 5 s without a
# network. Chunks of the default size do not fit into a message of the Rust client.
WEBRTC = {
    "ice_servers": [{"urls": []}],
    "long_message_chunk_size": 128 * 1024,
    "method_timeout": 300,
}


def percentiles(samples):
    """Return the median and the 99th percentile, in microseconds."""
    samples.sort()
    at = lambda share: samples[min(int(len(samples) * share), len(samples) - 1)] * 1e6
    return [at(0.5), at(0.99)]


async def calls(service, seconds, latencies):
    """Make one call at a time for `seconds`, and append the latencies."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        begun = time.perf_counter()
        await service.add(1.0, 2.0)
        latencies.append(time.perf_counter() - begun)


async def stream(service, count):
    """Read a stream of numbers, check that none is missing, and return items per second."""
    begun = time.perf_counter()
    read = 0
    async for number in await service.numbers(count):
        assert number == read
        read += 1
    assert read == count
    return count / (time.perf_counter() - begun)


async def lookup(options):
    """Connect, and get the service. Return both with the duration of the lookup and one call."""
    config = {}
    more = {}
    if options.webrtc:
        more = {
            "webrtc": True,
            "webrtc_config": {"visibility": "protected", "require_context": True, **WEBRTC},
        }
        config = {"webrtc": True, "webrtc_config": dict(WEBRTC)}
    server = await peer.connect(options, **more)
    begun = time.perf_counter()
    service = await server.get_service(options.service, config)
    await service.add(1.0, 2.0)
    return server, service, time.perf_counter() - begun


async def main():
    parser = peer.arguments(__doc__)
    parser.add_argument("--service", required=True)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--items", type=int, help="only read a stream with this number of items")
    parser.add_argument("--webrtc", action="store_true")
    options = parser.parse_args()
    first = []
    if not options.items:
        for _ in range(FIRST_CALLS):
            server, service, seconds = await lookup(options)
            first.append(seconds)
            if options.webrtc:
                await service._peer.disconnect()
            await server.disconnect()
    server, service, _ = await lookup(options)
    if options.items:
        rate = await stream(service, options.items)
        peer.say(f"RATE {rate}")
        return await server.disconnect()
    await calls(service, 0.2, [])
    figures = {"first_ms": percentiles(first)[0] / 1e3}
    for name, tasks in (("serial", 1), ("parallel", AT_ONCE)):
        latencies = []
        begun = time.perf_counter()
        await asyncio.gather(*(calls(service, options.seconds, latencies) for _ in range(tasks)))
        figures[f"{name}_rate"] = len(latencies) / (time.perf_counter() - begun)
        figures[f"{name}_us"] = percentiles(latencies)
    for size in (1, 16, 100):
        data = bytes(size * MB)
        # Over WebRTC, large echoes take a minute.
        for _ in range(0 if options.webrtc and size > 1 else WARM_UP):
            await service.echo(data)
        begun = time.perf_counter()
        done = 0
        while not done or time.perf_counter() - begun < options.seconds:
            assert len(await service.echo(data)) == size * MB
            done += 1
        figures[f"mb_{size}"] = done * size / (time.perf_counter() - begun)
    figures["items"] = await stream(service, 3000)
    peer.say(json.dumps(figures))
    await server.disconnect()


asyncio.run(main())
