"""Provides the service `conformance`.

Prints `READY <full service id>`, and runs until it is terminated.

The methods check types like the Rust contract: the error for a wrong type names the argument.
"""

import asyncio
import contextlib

import numpy as np

import peer


def number(value, name):
    """Return `value` if it is a number. Python counts a bool as an int, the contract does not."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name}: expected a number, got {type(value).__name__}")
    return value


def text(value, name):
    """Return `value` if it is a string."""
    if not isinstance(value, str):
        raise TypeError(f"{name}: expected a string, got {type(value).__name__}")
    return value


def echo(value):
    """Return the value."""
    return value


def add(a: float, b: float = 1.0):
    """Add two numbers."""
    return number(a, "a") + number(b, "b")


def divide(a: float, b: float):
    """Divide one number by another."""
    if number(b, "b") == 0:
        raise ZeroDivisionError("division by zero")
    return number(a, "a") / b


def describe(person: dict):
    """Describe a person `{name, age?, tags?}` in a sentence."""
    if not isinstance(person, dict):
        raise TypeError(f"person: expected an object, got {type(person).__name__}")
    if "name" not in person:
        raise ValueError("person: name is missing")
    sentence = text(person["name"], "person.name")
    age = person.get("age")
    if age is not None:
        if number(age, "person.age") != int(age):
            raise TypeError("person.age: expected an integer")
        sentence += f" is {int(age)} years old"
    else:
        sentence += " is of unknown age"
    tags = person.get("tags")
    if tags is not None:
        if not isinstance(tags, list):
            raise TypeError(f"person.tags: expected a list, got {type(tags).__name__}")
        for index, tag in enumerate(tags):
            text(tag, f"person.tags[{index}]")
        if tags:
            sentence += f" ({', '.join(tags)})"
    return sentence + "."


def whoami(context=None):
    """Describe the caller."""
    return {
        "user_id": context["user"]["id"],
        "workspace": context["ws"],
        "from": context["from"],
        "is_anonymous": context["user"]["is_anonymous"],
    }


async def sleep(seconds: float):
    """Sleep, and return the time."""
    await asyncio.sleep(number(seconds, "seconds"))
    return seconds


def make_bytes(n: int):
    """Make `n` bytes."""
    if number(n, "n") != int(n) or n < 0:
        raise ValueError("n: expected a whole number that is not negative")
    return bytes(range(256)) * (int(n) // 256) + bytes(range(int(n) % 256))


def length(data: bytes):
    """Return the number of bytes in `data`."""
    if not isinstance(data, bytes):
        raise TypeError(f"data: expected bytes, got {type(data).__name__}")
    return len(data)


def panic_now():
    """Fail in a way that no caller could have caused."""
    raise RuntimeError("panic_now was called")


def expect_array(value, name):
    """Return `value` if it is an array."""
    if not isinstance(value, (np.ndarray, np.generic)):
        raise TypeError(f"{name}: expected an array, got {type(value).__name__}")
    return value


def scale(image, factor: float):
    """Multiply every element of an array, keeping the element type."""
    expect_array(image, "image")
    return (image * number(factor, "factor")).astype(image.dtype)


def array_info(array):
    """Describe an array."""
    expect_array(array, "array")
    return {
        "dtype": str(array.dtype),
        "shape": list(array.shape),
        "sum": float(array.sum(dtype="float64")),
    }


def checked_divide(a: float, b: float):
    """Divide one number by another, with an error that callers can match on."""
    quotient = divide(a, b)
    if quotient in (float("inf"), float("-inf")) and abs(a) != float("inf"):
        raise OverflowError(f"{a} / {b} is too large")
    return quotient


async def call_back(callback, times: int):
    """Call a function repeatedly, with 0, 1, 2 and so on, and return its results."""
    return [await callback(index) for index in range(times)]


async def progress(callback, steps: int):
    """Call a function for each step, from 0, ignore its results, and return the number of steps."""
    calls = [callback(step) for step in range(steps)]
    await asyncio.gather(*calls, return_exceptions=True)
    return steps


async def call_nested(functions: dict):
    """Call functions in lists in a map, each with its key."""
    return {
        key: [await function(key) for function in members] for key, members in functions.items()
    }


class Streams:
    """Return the number of streams of `count` that are being read."""

    open = 0


async def count(n: int, delay: float = 0.0):
    """Count from 0 to `n - 1`."""
    Streams.open += 1
    try:
        for index in range(n):
            if delay:
                await asyncio.sleep(delay)
            yield index
    finally:
        Streams.open -= 1


def open_streams():
    """Return the number of streams of `count` that are being read."""
    return Streams.open


def fail_after(n: int):
    """Count from 0, and fail instead of the number `n`."""

    def numbers():
        yield from range(n)
        raise RuntimeError(f"failed after {n} items")

    return numbers()


async def sum_numbers(numbers, limit: int = None):
    """Add up a stream of numbers, or the first `limit` of them."""
    total = 0.0
    if limit == 0:
        return total
    async with contextlib.aclosing(numbers):
        seen = 0
        async for item in numbers:
            total += number(item, "numbers")
            seen += 1
            if seen == limit:
                break
    return total


def blocks(n: int, size: int):
    """Make blocks of bytes, as an iterator that is not a generator."""
    return map(lambda index: bytes([index % 256]) * size, range(n))


async def lengths(blocks):
    """Count the bytes in every block of a stream."""
    return [length(block) async for block in blocks]


def make_counter():
    """Make a counter that starts at 0."""
    state = {"value": 0}

    def increment(by=1):
        state["value"] += by
        return state["value"]

    return {"increment": increment, "value": lambda: state["value"]}


class Stored:
    """The object that `store` has received."""

    interface = None


def store(interface):
    """Store an object with a function `getItem(key)`."""
    Stored.interface = interface


async def use_stored(key):
    """Get an item of the stored object."""
    return await Stored.interface.getItem(key)


async def dispose_stored():
    """Release the stored object at its owner, but keep it stored."""
    await Stored.interface._dispose()


async def read_all(file):
    """Read a file to its end."""
    return await file.read()


async def main():
    options = peer.arguments(__doc__).parse_args()
    server = await peer.connect(options, name="Python conformance service")
    stop = asyncio.Event()
    peer.on_termination(asyncio.get_running_loop(), stop.set)
    methods = [echo, add, divide, describe, whoami, sleep, make_bytes, length, panic_now]
    methods += [scale, array_info, checked_divide, call_back, progress, call_nested, count]
    methods += [open_streams, fail_after, blocks, lengths, make_counter, store, use_stored, dispose_stored]
    methods += [read_all]
    methods = {method.__name__: method for method in methods}
    info = await server.register_service(
        {
            "id": "conformance",
            "name": "Conformance",
            "description": "The methods that every Hypha client is checked with",
            # The service is public, so that callers in other workspaces can call it by its full id.
            "config": {"visibility": "public", "require_context": ["whoami"]},
            **methods,
            "sum": sum_numbers,
        }
    )
    peer.say(f"READY {info['id']}")
    await stop.wait()
    await server.disconnect()


asyncio.run(main())
