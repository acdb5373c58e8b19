"""A typical caller of the service `everything`, which only mypy checks."""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from everything import BundleArgument, Everything, Order, Stage
    from numpy.typing import NDArray


async def use(everything: Everything) -> None:
    total: float = 0.0
    await everything.snap(0.5)
    stage: Stage = await everything.stage()
    total += await stage.go(total + 1, colour="green")
    await stage.go((total + 1))
    await stage.listen(lambda x, colour: x > 1 and colour == "red")
    await everything.drive(stage, 1.0)
    await everything.drive({"go": lambda x, colour: x}, 1.0)
    async for frame in await everything.frames(3):
        total += frame["index"]
    file = await everything.file(io.BytesIO(b"content"))
    await file.read(10)
    maps: dict[str, str] = await everything.maps({"7": "red"}, {}, {}, [1], {2}, OrderedDict())
    total += len(maps)

    # Bytes in place of a file.
    file = await everything.file(b"content")
    # Lists of more special types, and tuples.
    ints: list[int] = [1, 2]
    order: Order = {"weights": ints, "by_name": {"a": 1}, "place": (0.5, 1)}
    by_name: dict[str, list[int]] = {"a": ints}
    await everything.order(order, ints, by_name)
    await everything.order({"weights": (1, 0.5), "by_name": {}, "place": [1, 2]}, (1, 2), {})
    await everything.values(b"", None, (1, None), ints, "a", 1, 2)
    await everything.values(b"", None, [1, None], ints, "a", 1, 2)
    # Content of an argument has the same forms.
    sent: BundleArgument = {
        "files": [io.BytesIO(b""), b"", file],
        "report": lambda share: 1,
        "image": np.zeros((1, 2), np.uint8),
        "images": images(),
        "tags": ["a"],
        "pair": (1, "a"),
        "part": None,
    }
    received = await everything.bundle(sent)
    total += await received["report"](0.5)
    await received["files"][0].read()
    async for part in received["images"]:
        total += len(part)
    await everything.bundle(received)
    await everything.bundle({**sent, "part": received})
    await everything.bundle({**sent, "report": report})


async def report(share: float) -> int:
    return 1


async def images() -> AsyncGenerator[NDArray[np.uint8], None]:
    yield np.zeros(1, np.uint8)
