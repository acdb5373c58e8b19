"""Assertions of the checks of the Python conformance client."""

import asyncio
import re
import time

import sample_values

MEGABYTE = 1024 * 1024
# Time in seconds within which a call must fail that fails without a timeout, on the slowest
# machine.
AT_ONCE = 5
# Error texts of calls of functions whose session or owner is gone.
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
    """Fail the check with `detail` unless `condition` holds."""
    if not condition:
        raise Failed(detail)


def expect_same(got, wanted):
    """Fail the check unless the two values are the same."""
    difference = sample_values.difference(got, wanted)
    expect(difference is None, difference)


async def expect_error(call, *words):
    """Fail the check unless `call` fails with a text that contains one of `words`, as a word."""
    try:
        got = await call
    except Exception as error:  # whatever the client raises, its text is what users see
        message = str(error)
        expect(
            any(re.search(rf"(?<![A-Za-z]){word}", message, re.IGNORECASE) for word in words),
            f"the error should contain one of {words}: {message[-500:]}",
        )
        return message
    raise Failed(f"should have failed, answered {short(got)}")


async def expect_failure_at_once(call, *words):
    """Fail the check also if the error does not come at once."""
    begun = time.monotonic()
    await expect_error(call, *words)
    took = time.monotonic() - begun
    expect(took < AT_ONCE, f"it took {took:.1f} s to fail")


async def eventually(what, is_so):
    """Poll until the condition holds, and fail the check after some seconds."""
    begun = time.monotonic()
    while not await is_so():
        expect(time.monotonic() - begun < 2 * AT_ONCE, what)
        await asyncio.sleep(0.02)


def short(value):
    """Return a value as a short text for errors."""
    shown = repr(value)
    return shown if len(shown) <= 200 else f"{shown[:200]}... ({len(shown)} characters)"
