"""Calls agents as other agents do, with the package `a2a-sdk`.

`a2a_peer.py URL` prints the outcome of each step as JSON, and `DONE`.
"""

import asyncio
import json
import sys
import uuid

import httpx
from a2a.client import A2ACardResolver, ClientConfig, ClientFactory
from a2a.client.errors import A2AClientError
from a2a.types import Message, Part, Role, TaskIdParams, TaskQueryParams, TextPart

URL = sys.argv[1]


def say(step, answer):
    print(json.dumps({"step": step, "answer": answer}), flush=True)


def said(text):
    return Message(message_id=str(uuid.uuid4()), role=Role.user, parts=[Part(root=TextPart(text=text))])


def texts(parts):
    return [part.root.text if part.root.kind == "text" else part.root.kind for part in parts]


def seen(event):
    """Return an event of the client: a message, or a task with its update."""
    if isinstance(event, Message):
        return texts(event.parts)
    task, update = event
    return {
        "state": task.status.state.value,
        "artifacts": [texts(artifact.parts) for artifact in task.artifacts or []],
        "update": update and update.kind,
    }


async def talk(http, name, streaming):
    """Send all requests to one agent."""
    card = await A2ACardResolver(http, f"{URL}/{name}").get_agent_card()
    kind = f"{name} {'streaming' if streaming else 'at once'}"
    say(f"{kind}: card", {"name": card.name, "skills": [skill.id for skill in card.skills]})
    # The service does not know the address of the server.
    card.url = f"{URL}/{name}"
    client = ClientFactory(ClientConfig(httpx_client=http, streaming=streaming)).create(card)
    for text in ("hello", "fail"):
        say(f"{kind}: {text}", [seen(event) async for event in client.send_message(said(text))])
    for step, asking in (
        ("get", client.get_task(TaskQueryParams(id="no-such"))),
        ("cancel", client.cancel_task(TaskIdParams(id="no-such"))),
    ):
        try:
            await asking
            say(f"{kind}: {step}", "a task")
        except A2AClientError as error:
            say(f"{kind}: {step}", str(error))


async def main():
    async with httpx.AsyncClient(timeout=20) as http:
        for name in ("guide", "counter"):
            for streaming in (True, False):
                await talk(http, name, streaming)
    print("DONE", flush=True)


asyncio.run(main())
