"""Hosts the service `conformance`, prints `READY <full service id>`, stays until told to stop.

Every method is as strict as the contract: an argument of another type is an error that names it.
"""

import asyncio

import peer


def number(value, name):
    """`value`, if it is a number (a bool is not one)."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name}: expected a number, got {type(value).__name__}")
    return value


def text(value, name):
    """`value`, if it is a string."""
    if not isinstance(value, str):
        raise TypeError(f"{name}: expected a string, got {type(value).__name__}")
    return value


def echo(value):
    """Answer the value."""
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
    """Say in a sentence who a person `{name, age?, tags?}` is."""
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
    """Say who is calling."""
    return {
        "user_id": context["user"]["id"],
        "workspace": context["ws"],
        "from": context["from"],
        "is_anonymous": context["user"]["is_anonymous"],
    }


async def sleep(seconds: float):
    """Sleep, and answer for how long."""
    await asyncio.sleep(number(seconds, "seconds"))
    return seconds


def make_bytes(n: int):
    """Make `n` bytes."""
    if number(n, "n") != int(n) or n < 0:
        raise ValueError("n: expected a whole number that is not negative")
    return bytes(range(256)) * (int(n) // 256) + bytes(range(int(n) % 256))


def length(data: bytes):
    """The number of bytes in `data`."""
    if not isinstance(data, bytes):
        raise TypeError(f"data: expected bytes, got {type(data).__name__}")
    return len(data)


def panic_now():
    """Fail in a way that no caller could have caused."""
    raise RuntimeError("panic_now was called")


async def main():
    options = peer.arguments(__doc__).parse_args()
    server = await peer.connect(options, name="Python conformance service")
    stop = asyncio.Event()
    peer.on_termination(asyncio.get_running_loop(), stop.set)
    methods = [echo, add, divide, describe, whoami, sleep, make_bytes, length, panic_now]
    info = await server.register_service(
        {
            "id": "conformance",
            "name": "Conformance",
            "description": "The methods that every Hypha client is checked with",
            # Public, so that a caller in its own anonymous workspace needs only the full id.
            "config": {"visibility": "public", "require_context": ["whoami"]},
            **{method.__name__: method for method in methods},
        }
    )
    peer.say(f"READY {info['id']}")
    await stop.wait()
    await server.disconnect()


asyncio.run(main())
