"""Assertions of the checks of the Python conformance client."""

import asyncio
import re
import time

import sample_values

MEGABYTE = 1024 * 1024
# Maximum duration, in seconds, of a call that must fail immediately. Long enough for slow machines.
AT_ONCE = 5
# Error messages of functions whose session has ended or whose owner has disconnected.
GONE = (
    "session not found",
    "parent session was closed",
    "method expired or not found",
    "is not connected",
    "client disconnected",
)


class Failed(Exception):
    """Failure of a check."""


def expect(condition, detail):
    """Fail the check with `detail` unless `condition` is true."""
    if not condition:
        raise Failed(detail)


def expect_same(got, wanted):
    """Fail the check unless the values are equal."""
    difference = sample_values.difference(got, wanted)
    expect(difference is None, difference)


async def expect_error(call, *words):
    """Fail the check unless `call` fails with a message that contains one of `words` as a word."""
    try:
        got = await call
    except Exception as error:  # any class: users see its message
        message = str(error)
        expect(
            any(re.search(rf"(?<![A-Za-z]){word}", message, re.IGNORECASE) for word in words),
            f"the error should contain one of {words}: {message[-500:]}",
        )
        return message
    raise Failed(f"the call should have failed, but returned {short(got)}")


async def expect_failure_at_once(call, *words):
    """Like `expect_error`, but the call must fail within `AT_ONCE`."""
    begun = time.monotonic()
    await expect_error(call, *words)
    took = time.monotonic() - begun
    expect(took < AT_ONCE, f"it took {took:.1f} s to fail")


async def eventually(what, is_so):
    """Wait until the condition is true. Fail the check after some seconds."""
    begun = time.monotonic()
    while not await is_so():
        expect(time.monotonic() - begun < 2 * AT_ONCE, what)
        await asyncio.sleep(0.02)


def short(value):
    """Return a value as a short string for error messages."""
    shown = repr(value)
    return shown if len(shown) <= 200 else f"{shown[:200]}... ({len(shown)} characters)"
