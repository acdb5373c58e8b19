"""Connects and makes a token for its workspace; prints `READY <workspace> <token>`, and stays.

An anonymous workspace ends with its last client; this one holds it open for the others.
"""

import asyncio

import peer


async def main():
    options = peer.arguments(__doc__).parse_args()
    server = await peer.connect(options, name="owner of the workspace")
    stop = asyncio.Event()
    peer.on_termination(asyncio.get_running_loop(), stop.set)
    token = await server.generate_token()
    peer.say(f"READY {server.config['workspace']} {token}")
    await stop.wait()
    await server.disconnect()


asyncio.run(main())
