"""The steps of `outcomes.py` over MCP: services as tools, resources and prompts."""

from datetime import datetime
from typing import Literal, Optional
from uuid import UUID

from hypha_rpc.utils.schema import schema_function
from pydantic import BaseModel, Field

from outcomes_http import shown

ALICE = "/ws-user-alice/mcp"
HEADERS = {"Accept": "application/json, text/event-stream"}


@schema_function
def divide(a: float = Field(..., description="dividend"), b: float = Field(1.0, description="divisor")) -> float:
    """Divide one number by another."""
    if b == 0:
        raise ValueError("division by zero")
    return a / b


@schema_function
def results(kind: str) -> object:
    """Return a value of a kind."""
    block = {"type": "text", "text": "hi"}
    kinds = {"text": "plain", "int": 5, "float": 3.0, "list": [1, "b", block], "empty": [], "map": {"a": None}}
    return {**kinds, "true": True, "none": None}[kind]


class Frame(BaseModel):
    """A frame with a part whose schema resembles bytes in Rust."""

    pixels: bytes
    label: Optional[bytes] = None


@schema_function
def keep(
    data: bytes = Field(..., description="the data"),
    more: Optional[bytes] = Field(None, description="more data"),
    frame: Optional[Frame] = Field(None, description="a frame"),
    when: Optional[datetime] = Field(None, description="the time"),
    key: Optional[UUID] = Field(None, description="the key"),
    mode: Literal["a", "b"] = Field("a", description="the mode"),
) -> list:
    """Return the types of the arguments."""
    return [type(it).__name__ for it in (data, more, frame, when, key, mode)]


def undescribed(x):
    return x


def read():
    return "inline content"


def write(topic: str = Field(..., description="the topic"), tone: str = Field("dry", description="the tone")) -> str:
    return f"Write about {topic}, {tone}"


async def call_tool(name, arguments):
    if name == "broken":
        raise KeyError("broken")
    return [{"type": "text", "text": f"{name} {sorted(arguments)}"}]


def native():
    """Return a service that implements the functions of MCP."""
    tool = {"name": "t", "description": "d", "inputSchema": {"type": "object", "properties": {}}}
    resource = {"uri": "resource://r", "name": "r", "mimeType": "text/plain"}
    template = {"uriTemplate": "resource://{x}", "name": "rt"}
    prompt = {"name": "p", "description": "P", "arguments": [{"name": "x", "required": True}]}
    message = {"role": "user", "content": {"type": "text", "text": "do it"}}

    async def read_resource(uri):
        return {"contents": [{"uri": uri, "mimeType": "text/plain", "text": "content"}]}

    async def get_prompt(name, arguments):
        return {"description": "got", "messages": [message]}

    return {
        "list_tools": lambda: [tool],
        "call_tool": call_tool,
        "list_resources": lambda: [resource],
        "list_resource_templates": lambda: [template],
        "read_resource": read_resource,
        "list_prompts": lambda: [prompt],
        "get_prompt": get_prompt,
    }


async def register(host):
    """Register services of all forms."""
    public = {"visibility": "public"}
    about = {"text": "some text", "parts": ["x", "y"], "count": 5}
    nested = {"inner": {"divide": divide}, "all": [divide]}
    tools = {"divide": divide, "results": results, "keep": keep, "undescribed": undescribed}
    service = {"name": "Tools", "description": "calculates", "docs": "read me", "about": about, "nested": nested}
    await host.register_service({"id": "tools", "config": public, **service, **tools})
    await host.register_service({"id": "closed-tools", "config": {}, "divide": divide})
    await host.register_service({"id": "native", "type": "mcp", "config": public, **native()})
    one = {"uri": "resource://one", "name": "One", "description": "The one", "mime_type": "text/markdown"}
    lists = {
        "tools": {"divide": divide, "results": results},
        "resources": {"one": {**one, "read": schema_function(read)}},
        "prompts": {"write": {"name": "write", "description": "writes", "read": schema_function(write)}},
    }
    await host.register_service({"id": "lists", "type": "mcp", "config": public, **lists})
    await host.register_service({"id": "no-mcp", "type": "mcp", "config": public, "divide": divide})


async def requests(recorder, http, tokens):
    """Send valid and invalid requests."""

    async def ask(service, method, who=None, **params):
        async def answer():
            headers = {**HEADERS, "Connection": "close"}
            if who:
                headers["Authorization"] = f"Bearer {tokens[who]}"
            message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
            return shown(await http.post(f"{ALICE}/{service}/mcp", json=message, headers=headers))

        step = f"{method} {params} of {service} as {who or 'nobody'}"
        await recorder.step(f"mcp: {step}", answer())

    client = {"name": "steps", "version": "0"}
    begin = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client}
    listings = ("tools/list", "resources/list", "resources/templates/list", "prompts/list", "ping", "no/such")
    for service in ("tools", "native", "lists", "host:tools"):
        await ask(service, "initialize", **begin)
        for method in listings:
            await ask(service, method)
    for service in ("no-mcp", "no-such"):
        await ask(service, "initialize", **begin)
    for who in (None, "alice", "bob", "reader", "root"):
        await ask("closed-tools", "tools/list", who)
    for kind in ("text", "int", "float", "list", "empty", "map", "true", "none"):
        await ask("tools", "tools/call", name="results", arguments={"kind": kind})
    await ask("lists", "tools/call", name="results", arguments={"kind": "list"})
    for name in ("divide", "nested_inner_divide", "nested_all_0", "undescribed", "no-such"):
        await ask("tools", "tools/call", name=name, arguments={"a": 1, "b": 4})
    for arguments in ({"a": 1, "b": 0}, {"x": 1}, {"a": "x"}):
        await ask("tools", "tools/call", name="divide", arguments=arguments)
    for more in ({}, {"more": "x", "frame": {"pixels": "x", "label": "y"}}, {"frame": {"pixels": [1]}}, {"mode": "c"}):
        await ask("tools", "tools/call", name="keep", arguments={"data": "text", **more})
    for arguments in ({"data": [1, 2]}, {"data": 1}, {}, {"data": "x", "when": "2026-01-01T00:00:00Z", "key": "x"}):
        await ask("tools", "tools/call", name="keep", arguments=arguments)
    for name in ("t", "broken"):
        await ask("native", "tools/call", name=name, arguments={"a": 1})
    for service in ("tools", "native", "lists"):
        for uri in ("docs", "about/text", "about/parts/1", "one", "r", "no-such"):
            await ask(service, "resources/read", uri=f"resource://{uri}")
    for service, name in (("native", "p"), ("lists", "write"), ("lists", "no-such"), ("tools", "p")):
        await ask(service, "prompts/get", name=name, arguments={"topic": "x"})
    for path in ("", "/", "/tools", "/lists", "/native", "/no-such", "/closed-tools"):

        async def page(path=path):
            return shown(await http.get(f"{ALICE}{path}"))

        await recorder.step(f"mcp: GET {path}", page())
    told = {"jsonrpc": "2.0", "method": "notifications/initialized"}

    async def telling():
        return shown(await http.post(f"{ALICE}/tools/mcp", json=told, headers=HEADERS))

    await recorder.step("mcp: a notification", telling())
