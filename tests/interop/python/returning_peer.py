"""Offers a public service and calls the manager twice a second, for as long as it is left alone.

Prints `READY <workspace>`, and `ECHO <milliseconds since 1970>` whenever the manager has answered.
"""

import asyncio
import time

import peer


async def main():
    options = peer.arguments(__doc__).parse_args()
    server = await peer.connect(options, name="who comes back", method_timeout=5)
    service = {"id": "here", "config": {"visibility": "public"}, "hello": lambda: "hello"}
    await server.register_service(service)
    peer.say(f"READY {server.config['workspace']}")
    while True:
        await asyncio.sleep(0.5)
        begun = int(time.time() * 1000)
        try:
            if await server.echo(begun) == begun:
                peer.say(f"ECHO {begun}")
        except Exception as error:  # pylint: disable=broad-except
            peer.say(f"FAILED {type(error).__name__}: {str(error)[-200:]!r}")


asyncio.run(main())
