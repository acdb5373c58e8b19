"""Calls the Rust client over WebRTC (`--call`, `--automatic`), attacks it (`--attack`), or offers a
service to it.

Prints `DONE <observations>` in JSON, or `READY <id of the signaling service>`.
"""

import asyncio
import functools
import json

import aioice
import numpy
import peer
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from hypha_rpc import get_rtc_service, register_rtc_service

# An empty list of servers means the default one, for which the client would wait 5 s, because tests
# have no network.
CONFIG = {"ice_servers": [{"urls": []}]}
LARGE = 1 << 20
SIZES = (1, 60_000, 200_000, LARGE)


async def call(server):
    """Call every kind of method, and return the observations."""
    connection = await get_rtc_service(
        # Chunks of the default size do not fit into a message of the Rust client.
        server, "rtc", {**CONFIG, "long_message_chunk_size": 128 * 1024, "method_timeout": 60}
    )
    direct = await connection.get_service("direct")
    seen = {"caller": await direct.caller()}
    seen["tell"] = await direct.tell(lambda text: f"heard {text}")
    seen["numbers"] = [number async for number in await direct.numbers(5)]
    array = numpy.array([1.0, 2.0])
    seen["add"] = (await direct.add(array, array)).tolist()
    try:
        await direct.refuse()
    except Exception as error:  # pylint: disable=broad-except
        seen["refuse"] = "refused on purpose" in str(error)
    seen["sizes"] = []
    for size in SIZES:
        data = bytes(size)
        if await direct.echo(data) == data:
            seen["sizes"].append(size)
    await connection.disconnect()
    return seen


def caller(context=None):
    """Return the address and the workspace of the caller."""
    return [context["from"], context["ws"]]


async def automatic(server):
    """Call a service over a connection that `get_service` opens. Offer a service."""
    rtc = {**CONFIG, "long_message_chunk_size": 128 * 1024, "method_timeout": 60}
    direct = await server.get_service("auto-host:direct", {"webrtc": True, "webrtc_config": rtc})
    seen = {"caller": await direct.caller(), "direct": direct._webrtc, "sizes": []}
    for size in SIZES:
        data = bytes(size)
        if await direct.echo(data) == data:
            seen["sizes"].append(size)
    peer.say("DONE " + json.dumps(seen))
    service = await server.register_service(
        {
            "id": "python",
            "config": {"visibility": "protected", "require_context": True},
            "caller": caller,
            "echo": lambda data, context=None: data,
        }
    )
    peer.say("READY " + service["id"])
    await asyncio.Event().wait()


async def offered(server, channels, change=lambda sdp: sdp):
    """Offer a connection with this number of channels. `change` changes the offer."""
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    opened = [connection.createDataChannel(f"channel-{n}") for n in range(channels)]
    await connection.setLocalDescription(await connection.createOffer())
    service = await server.get_service("rtc")
    offer = {"sdp": change(connection.localDescription.sdp), "type": "offer"}
    answer = await service.offer(offer)
    answer = RTCSessionDescription(sdp=answer["sdp"], type=answer["type"])
    await connection.setRemoteDescription(answer)
    return connection, opened


async def until_closed(channel):
    """Wait until the other side has closed the channel."""
    while channel.readyState != "closed":
        await asyncio.sleep(0.05)


async def attack(server):
    """Send what no client sends, and return the observations."""
    seen = {}
    connection, channels = await offered(server, 1000)
    await asyncio.wait_for(until_closed(channels[0]), 30)
    seen["channels"] = "closed"
    await connection.close()

    def flood(sdp):
        line = next(line for line in sdp.splitlines() if line.startswith("a=candidate"))
        return sdp.replace(line, "\r\n".join([line] * 500))

    connection, channels = await offered(server, 1, flood)
    while channels[0].readyState != "open":
        await asyncio.sleep(0.05)
    # Neither text nor bytes that are no message end the channel.
    for message in ("text", b"", b"\xc1", b"\x81\xa4type\xa6method", bytes(100_000)):
        channels[0].send(message)
    await asyncio.sleep(0.5)
    seen["garbage"] = channels[0].readyState
    # Connections that nobody closes count until their offer expires.
    refused = 0
    for _ in range(20):
        try:
            await (await server.get_service("rtc")).offer(
                {"sdp": connection.localDescription.sdp, "type": "offer"}
            )
        except Exception as error:  # pylint: disable=broad-except
            refused += "peer connections already" in str(error)
    seen["refused"] = refused
    await connection.close()
    return seen


async def oversize(server):
    """Send messages larger than the announced maximum, and return the observations."""
    seen = []
    for size in (300_000, 64 << 20):
        connection = await get_rtc_service(server, "rtc", {**CONFIG, "method_timeout": 5})
        direct = await connection.get_service("direct")
        connection.rpc._connection._data_channel.send(bytes(size))
        try:
            await asyncio.wait_for(direct.echo(b"x"), 10)
            seen.append("works")
        except Exception:  # pylint: disable=broad-except
            seen.append("fails")
        await connection.close()
    return seen


async def stop_acknowledging(server):
    """Request large results and acknowledge nothing. Return the number of results."""
    connection = await get_rtc_service(server, "rtc", {**CONFIG, "method_timeout": 300})
    direct = await connection.get_service("direct")

    async def ignore():
        """Send no acknowledgment."""

    connection.sctp._send_sack = ignore
    calls = [asyncio.ensure_future(direct.echo(bytes(200_000))) for _ in range(40)]
    done, _ = await asyncio.wait(calls, timeout=15)
    await connection.close()
    return len(done)


def relay(url):
    """Let all packets pass through a TURN server. The client has no option for it."""
    CONFIG["ice_servers"] = [{"urls": url, "username": "guest", "credential": "secret"}]
    aioice.Connection.__init__ = functools.partialmethod(
        aioice.Connection.__init__, transport_policy=aioice.TransportPolicy.RELAY
    )


def refuse():
    """Fail."""
    raise ValueError("refused on purpose")


async def tell(listener):
    """Call the listener."""
    return await listener("news")


async def main():
    parser = peer.arguments(__doc__)
    parser.add_argument("--call", action="store_true")
    parser.add_argument("--automatic", action="store_true")
    parser.add_argument("--attack", action="store_true")
    parser.add_argument("--oversize", action="store_true")
    parser.add_argument("--stop-acknowledging", action="store_true")
    parser.add_argument("--relay", metavar="URL")
    options = parser.parse_args()
    if options.relay:
        relay(options.relay)
    if options.automatic:
        config = {"visibility": "protected", "require_context": True, **CONFIG}
        await automatic(await peer.connect(options, webrtc=True, webrtc_config=config))
        return
    server = await peer.connect(options)
    if options.call:
        peer.say("DONE " + json.dumps(await call(server)))
        return
    for chosen, run in (
        (options.attack, attack),
        (options.oversize, oversize),
        (options.stop_acknowledging, stop_acknowledging),
    ):
        if chosen:
            peer.say("DONE " + json.dumps(await run(server)))
            return
    await server.register_service(
        {
            "id": "python",
            "config": {"visibility": "protected"},
            "echo": lambda data: data,
            "length": len,
            "add": lambda a, b: a + b,
            "tell": tell,
            "refuse": refuse,
        }
    )
    config = {"visibility": "protected", "require_context": True, **CONFIG}
    service = await register_rtc_service(server, "python-rtc", config)
    peer.say("READY " + service["id"])
    await asyncio.Event().wait()


asyncio.run(main())
