"""Provides a service whose methods raise the exceptions of `raised`."""

import asyncio

import peer


class Custom(ValueError):
    """A class whose name has no usual suffix."""


def raised(how):
    """Raise the exception with the name `how`."""
    if how == "inner":
        raise OSError("KeyError: inner")
    if how == "custom":
        raise Custom(1, "b")
    if how == "path":
        raise KeyError(r"C:\data\new")
    if how == "text":
        raise KeyError("ü\"'µ\n\x1b")
    if how == "lines":
        raise OSError("a\nKeyError: b\n\nc")
    if how == "context":
        try:
            raise KeyError("a")
        except KeyError:
            raise Custom("b")
    if how == "direct":
        raise Custom("b") from KeyError("a")
    if how == "group":
        raise ExceptionGroup("two failed", [ValueError("a"), KeyError("b")])
    if how == "note":
        error = OSError("a")
        error.add_note("KeyError: b")
        raise error
    raise AssertionError(how)


async def raised_later(how):
    """Raise the exception in an asynchronous method."""
    await asyncio.sleep(0)
    raised(how)


async def main():
    options = peer.arguments(__doc__).parse_args()
    server = await peer.connect(options)

    async def passed_on(how):
        """Let the exception of a call pass."""
        service = await server.get_service("exceptions")
        return await service.raised_later(how)

    info = await server.register_service(
        {
            "id": "exceptions",
            "config": {"visibility": "public"},
            "raised": raised,
            "raised_later": raised_later,
            "passed_on": passed_on,
        }
    )
    peer.say(f"READY {info.id}")
    await server.serve()


asyncio.run(main())
