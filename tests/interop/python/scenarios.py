"""Runs checks against a service in Rust, and reports each as a JSON line `{name, ok, detail}`."""

import asyncio
import json
import sys
import traceback

import peer

# Timeout of a check, in seconds.
LIMIT = 60


def same(got, wanted):
    """Fail unless the values are equal."""
    if got != wanted:
        raise AssertionError(f"got {got!r}, not {wanted!r}")


async def refused(call, text):
    """Fail unless the call fails with a message that contains `text`."""
    try:
        result = await call
    except Exception as error:
        if text not in str(error):
            raise
        return
    raise AssertionError(f"got {result!r}, not an error with {text!r}")


async def run(options, checks):
    """Connect, run the coroutine functions that `checks(options, server)` returns, and exit."""
    server = await peer.connect(options)
    passed = True
    for check in await checks(options, server):
        detail = ""
        try:
            await asyncio.wait_for(check(), LIMIT)
        except Exception:
            detail = traceback.format_exc()
            passed = False
        peer.say(json.dumps({"name": check.__name__, "ok": not detail, "detail": detail}))
    await server.disconnect()
    sys.exit(0 if passed else 1)
