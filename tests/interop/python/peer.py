"""Command line and connection of the Python conformance programs."""

import argparse
import os
import signal
import sys

# Options that the command line does not set must not come from the environment of the developer.
for name in ("HYPHA_SERVER_URL", "HYPHA_TOKEN", "HYPHA_CLIENT_ID", "HYPHA_WORKSPACE"):
    os.environ.pop(name, None)

from hypha_rpc import connect_to_server  # noqa: E402  (reads the environment when it is imported)


def arguments(description):
    """Return a parser with the options that all peers share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--server-url", required=True)
    parser.add_argument("--workspace")
    parser.add_argument("--token")
    parser.add_argument("--client-id")
    parser.add_argument("--transport", choices=["websocket", "http"])
    return parser


def connect(options, **more):
    """Return an awaitable that connects with the command-line options and `more`."""
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
    """Print one line for the test, without buffering."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def on_termination(loop, action):
    """Run `action` when the program receives SIGINT or SIGTERM."""
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, action)
