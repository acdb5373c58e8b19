"""Checks a Rust service that is built from closures, and a web application in Rust.

`--host` is the id of the Rust client.
"""

import asyncio
import urllib.request

import peer
from scenarios import refused, run, same


def fetched(url, data=None):
    """Return the status and the body of a page."""
    with urllib.request.urlopen(url, data=data, timeout=30) as answer:
        return answer.status, answer.headers.get("x-lab"), answer.read().decode()


async def checks(options, server):
    """Return the checks, each a coroutine function."""
    lab = await server.get_service(f"{options.host}:lab")
    app = f"{options.server_url}/{options.workspace}/apps/dashboard"

    async def arguments():
        same(await lab.add(1, 2.5), 3.5)
        same(await lab.add(1, b=2), 3)
        same(await lab.add(b=2, a=1), 3)
        same(await lab.divide(3), 3)
        same(await lab.divide(3, b=2), 1.5)
        same((await lab.who()).split("/")[0], options.workspace)

    async def errors():
        await refused(lab.divide(1, 0), "division by zero")
        await refused(lab.add(1), "missing argument `b`")
        await refused(lab.add(1, c=2), "unknown argument `c`")

    async def schema():
        found = lab.divide.__schema__
        same(found["name"], "divide")
        same(found["description"], "Divides one number by another.")
        same(found["parameters"]["required"], ["a"])
        same(found["parameters"]["properties"]["b"]["description"], "The divisor.")

    async def application():
        same(await asyncio.to_thread(fetched, f"{app}/"), (200, None, "the index"))
        item = await asyncio.to_thread(fetched, f"{app}/items/a%20b?x=1")
        same(item, (201, "yes", "a b x=1"))
        body = b"x" * 300_000
        same(await asyncio.to_thread(fetched, f"{app}/length", body), (200, None, "300000"))

    return [arguments, errors, schema, application]


if __name__ == "__main__":
    parser = peer.arguments(__doc__)
    parser.add_argument("--host", required=True)
    asyncio.run(run(parser.parse_args(), checks))
