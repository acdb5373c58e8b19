"""Registers a public service, and calls the manager after each registration.

Prints `READY <workspace>`, and `ECHO <milliseconds since 1970>` after each response of the manager.

It makes no call while the connection is lost, because of a fault of the library (seen in 0.21.47).
A call at the moment of the loss, before the library reconnects, opens a connection itself. If this
connection fails, the failure cancels the reconnect that has started meanwhile. Later calls then
wait forever for the canceled reconnect.
"""

import asyncio
import time

import peer


async def main():
    options = peer.arguments(__doc__).parse_args()
    server = await peer.connect(options, name="a client that returns")
    service = {"id": "here", "config": {"visibility": "public"}, "hello": lambda: "hello"}
    await server.register_service(service)
    returned = asyncio.Event()
    server.rpc.on("services_registered", lambda _: returned.set())
    peer.say(f"READY {server.config['workspace']}")
    while True:
        begun = int(time.time() * 1000)
        try:
            if await server.echo(begun) == begun:
                peer.say(f"ECHO {begun}")
        except Exception as error:  # pylint: disable=broad-except
            peer.say(f"FAILED {type(error).__name__}: {str(error)[-200:]!r}")
            await asyncio.sleep(0.5)
            continue
        await returned.wait()
        returned.clear()


asyncio.run(main())
