"""Logs in with the library while a user reports a token, and prints one JSON line per check."""

import asyncio
import json
import urllib.parse
import urllib.request

import peer
from hypha_rpc import login, logout


async def main():
    options = peer.arguments(__doc__).parse_args()
    url = options.server_url

    async def user(context):
        query = urllib.parse.urlencode({"key": context["key"], "token": options.token})
        request = f"{context['report_url']}?{query}"
        await asyncio.to_thread(lambda: urllib.request.urlopen(request).read())

    config = {"server_url": url, "login_callback": user, "login_timeout": 20}
    token = await login(config)
    peer.say(json.dumps({"name": "token", "ok": token == options.token, "detail": token}))
    profile = await login({**config, "profile": True})
    good = profile["token"] == options.token and profile["email"] is None
    peer.say(json.dumps({"name": "profile", "ok": good, "detail": str(profile)}))
    said = []

    async def leave(context):
        said.append(context)

    await logout({"server_url": url, "logout_callback": leave})
    peer.say(json.dumps({"name": "logout", "ok": "logout_url" in said[0], "detail": str(said)}))


asyncio.run(main())
