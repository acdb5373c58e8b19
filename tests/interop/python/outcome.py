"""Prints outcomes of steps as JSON, for the comparison of two servers."""

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
        """Print strings that differ between runs. The comparison replaces these strings."""
        peer.say(json.dumps({"known": {text: f"<{name}>" for name, text in names.items()}}))

    def gone(self, workspace, client):
        """Print that a client has disconnected. `*` stands for any workspace.

        The comparison then recognizes records of this client that the original has not removed.
        """
        peer.say(json.dumps({"gone": f"{workspace}/{client}"}))

    async def step(self, step, action):
        """Await an action, and print its result or error as the outcome of the step."""
        try:
            if inspect.isawaitable(action):
                action = await asyncio.wait_for(action, self.limit)
            outcome = {"answer": plain(action)}
        except Exception as error:  # any class: the user sees it
            outcome = {"error": error_of(error)}
        self.write(step, outcome)


def error_of(error):
    """Return the class and message of an error, as users see them."""
    return f"{type(error).__name__}: {error}"


def plain(value):
    """Convert a value to JSON, keeping everything that a user can see."""
    if callable(value):
        return {"function": getattr(value, "__name__", None)}
    if isinstance(value, dict):
        if str(value.get("id")).endswith((":hypha-login", ":admin-utils", ":agent-skills", ":queue")):
            # The documentation of the servers' own services differs.
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
