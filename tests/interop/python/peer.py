"""What the Python conformance programs share: their command line and how they connect."""

import argparse
import os
import signal
import sys

# Connect options that the command line leaves out must not come from the environment of whoever
# runs the tests.
for name in ("HYPHA_SERVER_URL", "HYPHA_TOKEN", "HYPHA_CLIENT_ID", "HYPHA_WORKSPACE"):
    os.environ.pop(name, None)

from hypha_rpc import connect_to_server  # noqa: E402  (reads the environment when it is imported)


def arguments(description):
    """The parser of the options that service and client have in common."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--server-url", required=True)
    parser.add_argument("--workspace")
    parser.add_argument("--token")
    parser.add_argument("--client-id")
    parser.add_argument("--transport", choices=["websocket", "http"])
    return parser


def connect(options, **more):
    """Connect with what the command line says and `more`; an awaitable."""
    config = {
        "server_url": options.server_url,
        "workspace": options.workspace,
        "token": options.token,
        "client_id": options.client_id,
        "transport": options.transport,
        **more,
    }
    return connect_to_server({key: value for key, value in config.items() if value is not None})


def say(line):
    """Print one line of the program's protocol, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def on_termination(loop, action):
    """Run `action` when the program is asked to stop."""
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, action)
