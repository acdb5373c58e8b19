"""Uses a service through MCP, with the packages `mcp` and `fastmcp`.

`mcp_peer.py URL` prints the outcome of each step as JSON, and `DONE`.
"""

import asyncio
import json
import sys

import fastmcp
from mcp import ClientSession
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client

URL = sys.argv[1]


def say(step, answer):
    print(json.dumps({"step": step, "answer": answer}), flush=True)


def contents(result):
    """Return the content of a result, without the data of images."""
    shown = []
    for block in result.content:
        shown.append({"text": block.text} if block.type == "text" else {"type": block.type})
    return {"content": shown, "error": bool(result.is_error)}


async def session(kind, streams):
    """Run one session of the package `mcp`."""
    seen = []

    async def progress(done, _total, message):
        seen.append([done, message])

    async with ClientSession(streams[0], streams[1]) as client:
        begun = await client.initialize()
        say(f"{kind}: name", begun.server_info.name.split("/")[-1].split(":")[-1])
        tools = (await client.list_tools()).tools
        say(f"{kind}: tools", sorted(tool.name for tool in tools))
        divide = next(tool for tool in tools if tool.name == "divide")
        say(f"{kind}: description", divide.description)
        say(f"{kind}: required", divide.input_schema.get("required"))
        say(f"{kind}: divide", contents(await client.call_tool("divide", {"a": 1, "b": 4})))
        failed = contents(await client.call_tool("divide", {"a": 1, "b": 0}))
        say(f"{kind}: failure", [failed["error"], "division by zero" in failed["content"][0]["text"]])
        missing = contents(await client.call_tool("nothing", {}))
        say(f"{kind}: no tool", [missing["error"], "Tool 'nothing' not found" in missing["content"][0]["text"]])
        say(f"{kind}: echo", contents(await client.call_tool("echo", {"value": ["a", "b"]})))
        counted = await client.call_tool("count", {"to": 3}, progress_callback=progress)
        say(f"{kind}: count", [contents(counted), seen])
        say(f"{kind}: snap", contents(await client.call_tool("snap", {})))
        resources = (await client.list_resources()).resources
        say(f"{kind}: resources", [str(found.uri) for found in resources])
        docs = await client.read_resource("resource://docs")
        say(f"{kind}: docs", docs.contents[0].text)


async def main():
    async with streamable_http_client(f"{URL}/mcp") as streams:
        await session("http", streams)
    async with sse_client(f"{URL}/sse") as streams:
        await session("sse", streams)
    for kind in ("mcp", "sse"):
        async with fastmcp.Client(f"{URL}/{kind}") as client:
            say(f"fastmcp {kind}: tools", sorted(tool.name for tool in await client.list_tools()))
            result = await client.call_tool("divide", {"a": 1, "b": 4})
            say(f"fastmcp {kind}: divide", result.content[0].text)
            try:
                await client.call_tool("divide", {"a": 1, "b": 0})
            except fastmcp.exceptions.ToolError as error:
                say(f"fastmcp {kind}: failure", "division by zero" in str(error))
    print("DONE", flush=True)


asyncio.run(main())
