"""Calls the methods of `--service`, which block, and prints `DONE`."""

import asyncio
import time

import peer


async def main():
    parser = peer.arguments(__doc__)
    parser.add_argument("--service", required=True)
    options = parser.parse_args()
    server = await peer.connect(options)
    instrument = await server.get_service(options.service)
    assert await instrument.divide(1, 4) == 0.25
    try:
        await instrument.divide(1, 0)
    except Exception as error:  # pylint: disable=broad-except
        assert "division by zero" in str(error), error
    else:
        raise AssertionError("divided by zero")

    # Calls of a blocking method run concurrently.
    begin = time.monotonic()
    sleeping = [instrument.sleep(0.5) for _ in range(8)]
    assert set(await asyncio.gather(*sleeping)) == {server.config.workspace}
    assert time.monotonic() - begin < 3

    seen = []

    def double(number):
        seen.append(number)
        return 2 * number

    assert await instrument.each(4, double) == 12
    assert seen == [0, 1, 2, 3], seen
    assert [number async for number in await instrument.count(5)] == [0, 1, 2, 3, 4]
    log = await instrument.log()
    size = 0
    while piece := await log.read(200_000):
        size += len(piece)
    assert size == 600_000, size
    peer.say("DONE")
    await server.disconnect()


asyncio.run(main())
