"""Python peer of the schema tests.

Without options, it provides two services and prints `READY <id> <id>`: `measure`, which has the
schemas of the Rust contract, and `plain`, with functions without schemas. With `--service`, it runs
`schema_usage.py` on a service `measure`. With `--validate`, it validates the JSON schemas in a file.
With `--openapi`, it calls the functions in an OpenAPI document and prints their responses.
"""

import asyncio
import json
from enum import Enum
from typing import Annotated, Any, Dict, List, Optional, Tuple

import httpx
from hypha_rpc.utils.schema import schema_function
from jsonschema import Draft202012Validator
from pydantic import BaseModel, Field

import peer


Number = Annotated[int, Field(ge=-2147483648, le=2147483647)]


class Mode(str, Enum):
    """A choice of speed."""

    FAST = "fast"
    SLOW = "slow"


class Point(BaseModel):
    """A position."""

    x: float = Field(description="Distance to the right.")
    label: Optional[str] = None
    weight: int = 1
    tags: List[str]


class Node(BaseModel):
    """A tree of numbers."""

    value: int = Field(ge=0, le=4294967295)
    children: List["Node"]
    next: Optional["Node"] = None


@schema_function
def sample(
    count: int = Field(..., ge=0, le=255, description="Number of samples."),
    mode: Mode = Field("fast", description="The speed."),
    place: Optional[Point] = Field(None, description="Position, if not the current one."),
):
    """Take some samples."""
    step = 1.0 if mode == "fast" else 0.5
    start = place.x if place else 0.0
    return [start + step * n for n in range(count)]


def add_up(tree):
    below = sum(add_up(child) for child in tree.children)
    return tree.value + below + (add_up(tree.next) if tree.next else 0)


@schema_function
def total(tree: Node = Field(..., description="Root of the tree.")):
    """Add up a tree."""
    return add_up(tree)


@schema_function
def rename(
    names: Dict[str, str] = Field(..., description="New names by old names."),
    pairs: List[Tuple[Number, str]] = Field(..., description="Items with their numbers."),
    others: Optional[Dict[str, Any]] = Field(None, description="Other entries."),
    share: float = Field(0.5, description="The amount."),
    data: Optional[bytes] = Field(None, description="Raw data."),
    dry: bool = Field(False, description="Whether to only simulate."),
):
    """Rename numbered items."""
    return {names.get(name, name): number for number, name in pairs}


@schema_function
def settings(
    level: int = Field(1, ge=0, le=255, description="Level of the light."),
    note: Optional[str] = Field(None, description="Note for the next user."),
):
    """Change the settings."""


def add(a, b=2):
    """Add two values of any type."""
    return a + b


def typed(n: int, names: list, text: str = "x"):
    return [n, names, text]


async def numbers(*args, **kwargs):
    return [list(args), kwargs]


async def host(server):
    config = {"visibility": "public"}
    functions = {"sample": sample, "total": total, "rename": rename, "settings": settings}
    measure = await server.register_service(
        {"id": "measure", "description": "Takes measurements.", "config": config, **functions}
    )
    functions = {"add": add, "typed": typed, "nested": {"class": add}, "numbers": numbers, "list": numbers}
    plain = await server.register_service({"id": "plain", "config": config, "answer": 42, **functions})
    stop = asyncio.Event()
    peer.on_termination(asyncio.get_running_loop(), stop.set)
    peer.say(f"READY {measure['id']} {plain['id']}")
    await stop.wait()


def openapi(path):
    """Call each function as its OpenAPI document describes, with the given arguments."""
    with open(path, encoding="utf-8") as file:
        document, calls = json.load(file)
    answers = {}
    for path, arguments in calls.items():
        operation = document["paths"][path]["post"]
        content = operation["requestBody"]["content"]["application/json"]["schema"]
        Draft202012Validator({**content, "components": document["components"]}).validate(arguments)
        answer = httpx.post(document["servers"][0]["url"] + path, json=arguments, timeout=30)
        answer.raise_for_status()
        result = operation["responses"]["200"]["content"]["application/json"]["schema"]
        Draft202012Validator({**result, "components": document["components"]}).validate(answer.json())
        answers[path] = answer.json()
    peer.say(json.dumps(answers))


def validate(path):
    """Check that each schema is valid, and accepts and rejects the given values."""
    with open(path, encoding="utf-8") as file:
        cases = json.load(file)
    problems = []
    for case in cases:
        name, schema = case["name"], case["schema"]
        Draft202012Validator.check_schema(schema)
        validator = Draft202012Validator(schema)
        problems += [f"{name} refuses {value}" for value in case["good"] if not validator.is_valid(value)]
        problems += [f"{name} takes {value}" for value in case["bad"] if validator.is_valid(value)]
    peer.say(json.dumps({"schemas": len(cases), "problems": problems}))


async def main():
    parser = peer.arguments(__doc__)
    parser.add_argument("--service")
    parser.add_argument("--validate")
    parser.add_argument("--openapi")
    options = parser.parse_args()
    if options.openapi:
        return openapi(options.openapi)
    if options.validate:
        return validate(options.validate)
    server = await peer.connect(options)
    if options.service:
        from schema_usage import use

        await use(await server.get_service(options.service))
        peer.say("USED")
    else:
        await host(server)
    await server.disconnect()


asyncio.run(main())
