"""Logs in through the library as a user with an account, and prints one JSON line per check."""

import argparse
import asyncio
import json
import urllib.request

import peer
from hypha_rpc import connect_to_server, login

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--server-url", required=True)
parser.add_argument("--email", required=True)
parser.add_argument("--password", required=True)
options = parser.parse_args()


def post(context, method, arguments):
    """Call a method of the login service like the login page."""
    url = context["report_url"].replace("/report", f"/{method}")
    body = json.dumps(arguments).encode()
    headers = {"Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url, body, headers)) as answer:
        return json.load(answer)


async def main():
    answers = []

    async def user(context):
        credentials = {"email": options.email, "key": context["key"]}
        for password in ["wrong horse", options.password]:
            arguments = {**credentials, "password": password}
            answers.append(await asyncio.to_thread(post, context, "login", arguments))

    config = {"server_url": options.server_url, "login_callback": user, "login_timeout": 20}
    profile = await login({**config, "profile": True})
    refused, accepted = answers
    ok = refused == {"success": False, "error": "Invalid email or password"}
    peer.say(json.dumps({"name": "refused", "ok": ok, "detail": str(refused)}))
    ok = accepted["success"] and accepted["token"] == profile["token"]
    peer.say(json.dumps({"name": "token", "ok": ok, "detail": str(profile)}))
    ok = profile["email"] == options.email and profile["user_id"] == accepted["user_id"]
    peer.say(json.dumps({"name": "profile", "ok": ok, "detail": str(profile)}))
    server = await connect_to_server({"server_url": options.server_url, "token": profile["token"]})
    ok = server.config.workspace == f"ws-user-{profile['user_id']}" == accepted["workspace"]
    peer.say(json.dumps({"name": "workspace", "ok": ok, "detail": server.config.workspace}))
    await server.disconnect()


asyncio.run(main())
