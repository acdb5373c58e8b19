"""Connects, creates a token for its workspace, and prints `READY <workspace> <token>`.

It stays connected, because an anonymous workspace ends with its last client.
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
