"""Checks of arrays, functions, streams, objects and files in arguments and results."""

import asyncio
import gc
import io
import sys

try:
    import numpy as np
except ImportError:
    # Pyodide has no numpy unless a program installs it.
    np = None

import peer
import sample_values
from checks import GONE, MEGABYTE, eventually, expect, expect_error, expect_failure_at_once
from checks import expect_same, short


class Endless:
    """Endless streams of ones, with a count of the open streams."""

    def __init__(self):
        self.open = 0

    def plain(self):
        """Return an endless generator."""
        self.open += 1
        try:
            while True:
                yield 1
        finally:
            self.open -= 1

    async def waiting(self):
        """Return an endless asynchronous generator."""
        self.open += 1
        try:
            while True:
                await asyncio.sleep(0.001)
                yield 1
        finally:
            self.open -= 1

    async def has_ended(self):
        """Fail unless the stream is closed soon."""

        async def is_so():
            # Garbage collection closes a generator that was not closed.
            gc.collect()
            return self.open == 0

        await eventually("our stream has not been closed", is_so)


class LiveChecks:
    """Checks that the class `Checks` inherits."""

    async def array_info(self):
        if np is None:
            return "skipped: there is no numpy"
        for array in (
            np.arange(6, dtype="uint8").reshape(2, 3),
            np.array([[[-1, 300]], [[2, -4]]], dtype="int16"),
            np.array([0.5, 0.25], dtype="float32"),
            np.array([[1e300]]),
            np.zeros((0, 4), dtype="int32"),
            np.array(7, dtype="uint32"),
        ):
            wanted = {
                "dtype": str(array.dtype),
                "shape": list(array.shape),
                "sum": float(array.sum(dtype="float64")),
            }
            expect_same(dict(await self.service.array_info(array)), wanted)

    async def scale(self):
        if np is None:
            return "skipped: there is no numpy"
        for image, factor in (
            (np.array([[1, 2], [3, 100]], dtype="uint8"), 2),
            (np.array([[[0.5, -1.0, 1e100]]]), -2.0),
            (np.array([[1, 2], [3, 4]], dtype="int32").T, 3),
            (np.zeros((3, 0), dtype="float32"), 3.0),
            (np.full((1024, 1024), 0.5, dtype="float32"), 4.0),
        ):
            got = await self.service.scale(image, factor)
            wanted = (image * factor).astype(image.dtype)
            expect(isinstance(got, np.ndarray), f"got {short(got)}")
            same = got.dtype == wanted.dtype and np.array_equal(got, wanted)
            expect(same, f"wanted {wanted!r}, got {got!r}")

    async def what_is_no_array_is_refused(self):
        await expect_error(self.service.array_info("text"), "array")

    async def checked_divide(self):
        expect_same(await self.service.checked_divide(1, 4), 0.25)
        await expect_error(self.service.checked_divide(1, 0), "division by zero")
        await expect_error(self.service.checked_divide(1e300, 1e-300), "too large")

    async def read_all(self):
        for size in (0, 10, 700_000):
            data = sample_values.pattern(size)
            expect_same(await self.service.read_all(io.BytesIO(data)), data)

    async def call_back(self):
        expect_same(await self.service.call_back(lambda i: 2 * i, 3), [0, 2, 4])
        expect_same(await self.service.call_back(lambda i: i, 0), [])

        async def slow(i):
            await asyncio.sleep(0.02)
            return {"n": [i, None]}

        expect_same(await self.service.call_back(slow, 2), [{"n": [0, None]}, {"n": [1, None]}])

    async def callbacks_that_fail(self):
        def fail(i):
            if i == 1:
                raise ValueError("no more of it")

        async def fail_later(i):
            await asyncio.sleep(0.01)
            fail(i)

        for callback in (fail, fail_later):
            await expect_failure_at_once(self.service.call_back(callback, 2), "no more of it")
        # Values that cannot be sent.
        await expect_failure_at_once(self.service.call_back(lambda i: object(), 1), "unsupported")
        expect_same(await self.service.add(1.0, 2.0), 3)

    async def large_answers_of_callbacks(self):
        got = await self.service.call_back(lambda i: bytes([i]) * (MEGABYTE + i), 3)
        expect(got == [bytes([i]) * (MEGABYTE + i) for i in range(3)], "other bytes came")

    async def callbacks_in_maps_and_lists(self):
        functions = {
            "a": [lambda key: f"first {key}", lambda key: f"second {key}"],
            "b": [],
            "c": [lambda key: f"third {key}"],
        }
        wanted = {"a": ["first a", "second a"], "b": [], "c": ["third c"]}
        expect_same(await self.service.call_nested(functions), wanted)

    async def a_callback_calls_the_service(self):
        got = await self.service.call_back(lambda i: self.service.add(i, 0.5), 2)
        expect_same(got, [0.5, 1.5])

    async def progress(self):
        seen = []
        expect_same(await self.service.progress(seen.append, 200), 200)

        async def all_came():
            return len(seen) == 200

        await eventually("not all steps came", all_came)
        expect_same(seen, list(range(200)))

    async def callbacks_end_with_their_call(self):
        back = await self.service.echo(lambda i: 2 * i)
        await expect_failure_at_once(back(1), *GONE)
        await self.service.store({"getItem": lambda key: key})
        await expect_failure_at_once(self.service.use_stored("key"), *GONE)

    async def make_counter(self):
        counter = await self.service.make_counter()
        other = await self.service.make_counter()
        expect_same(await counter.increment(2), 2)
        await self.many_calls_at_once()
        await asyncio.sleep(0.3)
        expect_same(await counter.increment(by=3), 5)
        expect_same(await counter.increment(), 6)
        expect_same(await other.value(), 0)
        expect_same(await counter.value(), 6)

    async def nobody_else_uses_what_was_handed_out(self):
        counter = await self.service.make_counter()
        interface = {"_rintf": True, "getItem": lambda key: key}
        await self.service.store(interface)
        own = self.server.config
        # Only clients in the owner's workspace receive a reference to an interface, so this client
        # builds a reference.
        known = {
            **counter.value.__rpc_object__,
            "_rtarget": f"{own['workspace']}/{own['client_id']}",
            "_rmethod": f"services.{interface['_rintf_service_id']}.getItem",
        }
        other = await peer.connect(self._second_client())
        try:
            stranger = other.rpc.decode(dict(counter.value.__rpc_object__))
            await expect_failure_at_once(stranger(), "access denied", "permission denied")
            if other.config["workspace"] != own["workspace"]:
                await expect_failure_at_once(other.rpc.decode(known)("key"), "permission denied")
        finally:
            await other.disconnect()
            await self.server.rpc.unregister_service(interface["_rintf_service_id"])

    async def _no_stream_is_left(self):
        async def is_so():
            gc.collect()
            return await self.service.open_streams() == 0

        await eventually("the host's stream has not been closed", is_so)

    async def count(self):
        for n in (0, 1, 5, 500):
            expect_same([item async for item in await self.service.count(n)], list(range(n)))
        await self._no_stream_is_left()

    async def streams_that_are_left(self):
        stream = await self.service.count(1_000_000)
        seen = []
        async for item in stream:
            seen.append(item)
            if item == 2:
                break
        expect_same(seen, [0, 1, 2])
        expect_same(await self.service.open_streams(), 1)
        await stream.aclose()
        await self._no_stream_is_left()
        # The stream is not closed explicitly: garbage collection must close it.
        async for item in await self.service.count(1_000_000):
            break
        await self._no_stream_is_left()

    async def fail_after(self):
        for n in (0, 2):
            seen = []

            async def read():
                async for item in await self.service.fail_after(n):
                    seen.append(item)

            await expect_failure_at_once(read(), f"failed after {n} items")
            expect_same(seen, list(range(n)))

    async def blocks(self):
        got = [block async for block in await self.service.blocks(3, MEGABYTE)]
        expect(got == [bytes([i]) * MEGABYTE for i in range(3)], "other bytes came")

    async def sum(self):
        async def later(numbers):
            for number in numbers:
                await asyncio.sleep(0.001)
                yield number

        expect_same(await self.service.sum(iter([])), 0)
        expect_same(await self.service.sum(number for number in (1.5, 2.25)), 3.75)
        expect_same(await self.service.sum(later([1, 2.5])), 3.5)
        expect_same(await self.service.sum(map(float, range(2000))), 1_999_000)

    async def streams_of_ours_that_fail(self):
        def broken():
            yield 1
            raise ValueError("no more numbers")

        async def broken_later():
            yield 1
            await asyncio.sleep(0.01)
            raise ValueError("no more numbers")

        for stream in (broken(), broken_later()):
            await expect_failure_at_once(self.service.sum(stream), "no more numbers")

    async def streams_of_ours_that_are_left(self):
        endless = Endless()
        for stream in (endless.plain, endless.waiting):
            expect_same(await self.service.sum(stream(), 3), 3)
            await endless.has_ended()

    async def lengths(self):
        blocks = (bytes(MEGABYTE + i) for i in range(3))
        expect_same(await self.service.lengths(blocks), [MEGABYTE + i for i in range(3)])

    async def use_stored(self):
        def get_item(key):
            if key == "none":
                raise KeyError("there is no such item")
            return [7, key]

        interface = {"_rintf": True, "getItem": get_item}
        await self.service.store(interface)
        await self.many_calls_at_once()
        for key in ("key", 5):
            expect_same(await self.service.use_stored(key), [7, key])
        await expect_failure_at_once(self.service.use_stored("none"), "there is no such item")
        await self.server.rpc.unregister_service(interface["_rintf_service_id"])
        await expect_failure_at_once(self.service.use_stored("key"), *GONE)

    async def dispose_stored(self):
        interface = {"_rintf": True, "getItem": lambda key: [8, key]}
        await self.service.store(interface)
        expect_same(await self.service.use_stored("key"), [8, "key"])
        await self.service.dispose_stored()
        left = self.server.rpc.get_all_local_services()
        expect(interface["_rintf_service_id"] not in left, "the interface is still there")
        await expect_failure_at_once(self.service.use_stored("key"), *GONE)

    async def an_interface_ends_with_its_owner(self):
        owner = await peer.connect(self._second_client())
        service = await owner.get_service(self.options.service)
        await service.store({"_rintf": True, "getItem": lambda key: [9, key]})
        expect_same(await self.service.use_stored("key"), [9, "key"])
        await owner.disconnect()
        await expect_failure_at_once(self.service.use_stored("key"), *GONE)

    async def nothing_is_left(self):
        async def is_so():
            return not self._sessions() - self.left_alone

        try:
            await eventually("sessions are left", is_so)
        finally:
            store = self.server.rpc._object_store
            for session in self._sessions() - self.left_alone:
                print(session, store[session], file=sys.stderr)
