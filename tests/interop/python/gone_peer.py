"""Waits for the response of the method `wait` of `--service`, and prints `FAILED <error>`."""

import asyncio

import peer


async def main():
    parser = peer.arguments(__doc__)
    parser.add_argument("--service", required=True)
    options = parser.parse_args()
    server = await peer.connect(options)
    service = await server.get_service(options.service)
    try:
        await service.wait()
    except Exception as error:  # pylint: disable=broad-except
        peer.say(f"FAILED {type(error).__name__}: {str(error)[-200:]!r}")


asyncio.run(main())
