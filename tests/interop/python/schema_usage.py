"""A typical caller of the service `measure`.

mypy checks it against the generated stub, and the test runs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from measure import Measure, Node, Point, Shape


async def use(measure: Measure) -> None:
    samples: list[float] = await measure.sample(3, mode="slow")
    assert samples == [0.0, 0.5, 1.0], samples
    place: Point = {"x": 1.0, "label": None, "tags": []}
    samples = await measure.sample(1, "fast", place)
    assert samples == [1.0], samples

    leaf: Node = {"value": 2, "children": []}
    total: int = await measure.total({"value": 1, "children": [leaf], "next": leaf})
    assert total == 5, total
    renamed: dict[str, int] = await measure.rename({"a": "b"}, pairs=[(1, "a")], data=b"x")
    assert renamed == {"b": 1}, renamed

    counted: list[int] = [n async for n in await measure.count(3)]
    assert counted == [0, 1, 2], counted
    image = np.zeros((2, 3), dtype="float32")
    blurred = await measure.blur(image, sigma=2.0)
    assert blurred.shape == (2, 3), blurred
    answer: str | None = await measure.watch(lambda share: f"seen {share}")
    assert answer == "seen 0.5", answer

    shape: Shape = {"Box": {"width": 1.0}}
    result = await measure.reshape(shape, "one")
    assert result[1]["kind"] == "started", result
    await measure.stage.move(place)
