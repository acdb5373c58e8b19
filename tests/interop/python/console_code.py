"""Runs the Python code of the console with stubs.

Reads one JSON list of programs from the standard input, and prints one JSON line per program: the
services that it has looked up, and its calls.
"""

import json
import sys
import types

IDS, CALLS = [], []


class Recorder:
    """A value whose members are of the same kind. Calls are recorded."""

    def __init__(self, path=()):
        object.__setattr__(self, "_path", path)

    def __getattr__(self, name):
        return Recorder(self._path + (name,))

    def __getitem__(self, name):
        return Recorder(self._path + (str(name),))

    def __call__(self, /, *args, **kwargs):
        if any(callable(value) for value in kwargs.values()):
            kwargs = {k: "function" if callable(v) else v for k, v in kwargs.items()}
        CALLS.append({"path": self._path, "args": args, "kwargs": kwargs})
        return Items()


class Items:
    """An empty stream, which can also be awaited."""

    def __await__(self):
        async def own():
            return self

        return own().__await__()

    def __aiter__(self):
        return self

    async def __anext__(self):
        raise StopAsyncIteration


class Server:
    """A server on which every service exists."""

    def get_service(self, service_id):
        IDS.append(service_id)
        return Recorder()


class AsyncServer:
    """The same for programs with `await`."""

    async def get_service(self, service_id):
        return Server().get_service(service_id)


class File:
    """A file whose content is its name."""

    def __init__(self, name, _mode):
        self.name = name

    def read(self):
        return f"file {self.name}"


async def connect_to_server(_config):
    return AsyncServer()


library, synchronous = types.ModuleType("hypha_rpc"), types.ModuleType("hypha_rpc.sync")
library.connect_to_server = connect_to_server
synchronous.connect_to_server = lambda _config: Server()
library.sync = synchronous
sys.modules["hypha_rpc"], sys.modules["hypha_rpc.sync"] = library, synchronous

for source in json.load(sys.stdin):
    IDS.clear()
    CALLS.clear()
    try:
        exec(compile(source, "the program", "exec"), {"open": File, "print": lambda *_: None})
        found = {"ids": IDS, "calls": CALLS}
    except Exception as error:
        found = {"error": repr(error)}
    print(json.dumps(found), flush=True)
