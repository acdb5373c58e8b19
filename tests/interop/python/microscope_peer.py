"""Uses the example `microscope` from Python.

`--service` is the id of the service, and `--token` a token of its operator.
"""

import asyncio
import io

import peer
from hypha_rpc import connect_to_server
from scenarios import refused, run, same


async def checks(options, server):
    """Return the checks, each a coroutine function."""
    microscope = await server.get_service(options.service)

    async def images():
        image = await microscope.snap()
        same((image.shape, str(image.dtype), int(image.max())), ((4, 6), "uint16", 100))
        image = await microscope.snap(exposure=0.5, region={"width": 3, "height": 2})
        same((image.shape, int(image.max())), ((2, 3), 500))
        await refused(microscope.snap(60), "ValueError: the exposure must be from 0 to 10")

    async def live():
        frames = await microscope.live()
        pixels = []
        async for image in frames:
            pixels.append(int(image[0, 0]))
            if len(pixels) == 3:
                break
        await frames.aclose()
        same(pixels, [1, 2, 3])

    async def acquisition():
        steps = []
        stack = await microscope.acquire(3, on_progress=steps.append)
        same(steps, [{"done": done, "total": 3} for done in (1, 2, 3)])
        same((stack.name, stack.size), ("stack.raw", 144))
        first = await stack.read(48)
        rest = await stack.read()
        same(first + rest, b"\x64\x00" * 72)

    async def cancel():
        async def stop(progress):
            if progress["done"] == 2:
                await refused(microscope.acquire(1), "another acquisition is running")
                same((await microscope.snap()).shape, (4, 6))
                await microscope.cancel()

        acquiring = microscope.acquire(1000, on_progress=stop)
        await refused(acquiring, "the acquisition was cancelled after 2 images")
        same(await microscope.cancel(), False)

    async def background():
        content = b"\x0a\x00" * 24
        # The image may be a file object or plain bytes.
        for image in (io.BytesIO(content), content):
            same(await microscope.set_background(image), 48)
        same(int((await microscope.snap()).max()), 90)
        same(await microscope.set_background(b""), 0)
        await refused(microscope.set_background("dark.raw"), "expected a file, got string")

    async def stage():
        stage = await microscope.stage()
        same(await stage.move_to({"x": 1, "y": 2.5}), {"x": 1.0, "y": 2.5})
        same(await stage.position(), {"x": 1.0, "y": 2.5})
        await refused(stage.move_to({"x": -1, "y": 0}), "ValueError: the x must be from 0 to 100")

    async def permission():
        stranger = await connect_to_server({"server_url": options.server_url})
        other = await stranger.get_service(options.service)
        stage = await other.stage()
        same((await stage.position())["x"], 1.0)
        await refused(stage.move_to({"x": 2, "y": 2}), "may not move the stage")
        same((await stage.position())["x"], 1.0)
        await stranger.disconnect()

    return [images, live, acquisition, cancel, background, stage, permission]


if __name__ == "__main__":
    parser = peer.arguments(__doc__)
    parser.add_argument("--service", required=True)
    asyncio.run(run(parser.parse_args(), checks))
