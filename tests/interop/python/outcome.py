"""Outcomes of steps as JSON, for the comparison of two servers."""

import asyncio
import inspect
import json

import numpy as np

import peer


class Recorder:
    """Prints the outcome of each step."""

    def __init__(self, client, limit):
        self.client = client
        self.limit = limit

    def write(self, step, outcome):
        line = {"step": f"{self.client}: {step}", "outcome": outcome}
        peer.say(json.dumps(line, sort_keys=True))

    def knows(self, **names):
        """Name a text that differs between runs, so that the comparison can replace it."""
        peer.say(json.dumps({"known": {text: f"<{name}>" for name, text in names.items()}}))

    def gone(self, workspace, client):
        """Say that a client is not connected any more, `*` for any workspace.

        The comparison can then tell what the original keeps of it.
        """
        peer.say(json.dumps({"gone": f"{workspace}/{client}"}))

    async def step(self, step, action):
        """Await an action, and print its result or error."""
        try:
            if inspect.isawaitable(action):
                action = await asyncio.wait_for(action, self.limit)
            outcome = {"answer": plain(action)}
        except Exception as error:  # whatever the client raises is what its user sees
            outcome = {"error": error_of(error)}
        self.write(step, outcome)


def error_of(error):
    """Return the text of an error as its user sees it."""
    return f"{type(error).__name__}: {error}"


def plain(value):
    """Return a value as JSON, without losing anything that a user would see."""
    if callable(value):
        return {"function": getattr(value, "__name__", None)}
    if isinstance(value, dict):
        if str(value.get("id")).endswith((":hypha-login", ":admin-utils", ":queue")):
            # Each server documents its own services in its own words.
            schemas = value.get("service_schema") or {}
            value = {**value, "service_schema": sorted(schemas)}
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (bytes, bytearray)):
        return {"bytes": value.hex()}
    if isinstance(value, np.ndarray):
        return {"array": value.tolist(), "dtype": str(value.dtype)}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return {"type": type(value).__name__, "shown": str(value)}
