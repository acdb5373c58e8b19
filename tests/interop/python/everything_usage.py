"""A typical caller of the service `everything`, which only mypy checks."""

from __future__ import annotations

import io
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from everything import Everything, Stage


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
