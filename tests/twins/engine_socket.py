"""A Docker engine without containers, on a socket: enough for an agent to find nothing there.

It has a log of every container all the same: a line, and then nothing for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

#: A container whose log is kept nowhere.
UNREADABLE = "unreadable"
#: Containers that cannot be removed: their state, and how the engine refuses it.
NOT_REMOVED = {
    "hung": ("running", 500, "could not kill: did not receive an exit event"),
    "busy": ("dead", 500, "unable to remove filesystem: device or resource busy"),
    "going": ("removing", 409, "removal of container going is already in progress"),
}


@asynccontextmanager
async def empty_engine(socket: Path) -> AsyncIterator[str]:
    """Answer lists, versions and events; gives the DOCKER_HOST."""
    app = web.Application()
    version = r"{version:(v[\d.]+/)?}"
    app.add_routes(
        [
            web.get(f"/{version}version", _version),
            web.get(f"/{version}info", _info),
            web.get(f"/{version}containers/json", _containers),
            web.get(f"/{version}containers/{{id}}/json", _container),
            web.delete(f"/{version}containers/{{id}}", _remove),
            web.get(f"/{version}containers/{{id}}/logs", _log),
            web.get(f"/{version}events", _events),
        ]
    )
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.UnixSite(runner, str(socket)).start()
    try:
        yield f"unix://{socket}"
    finally:
        await runner.cleanup()


async def _version(request: web.Request) -> web.Response:
    return web.json_response({"Version": "26.1.5", "ApiVersion": "1.45"})


async def _info(request: web.Request) -> web.Response:
    return web.json_response({"DockerRootDir": "/"})


async def _containers(request: web.Request) -> web.Response:
    return web.json_response([])


async def _container(request: web.Request) -> web.Response:
    name = request.match_info["id"]
    state, _, _ = NOT_REMOVED.get(name, ("running", 0, ""))
    shown = {"Id": name, "Config": {"Tty": True}, "State": {"Status": state}}
    return web.json_response(shown)


async def _remove(request: web.Request) -> web.Response:
    _, status, message = NOT_REMOVED[request.match_info["id"]]
    return web.json_response({"message": message}, status=status)


async def _log(request: web.Request) -> web.StreamResponse:
    if request.match_info["id"] == UNREADABLE:
        message = "configured logging driver does not support reading"
        return web.json_response({"message": message}, status=501)
    answer = web.StreamResponse()
    await answer.prepare(request)
    await answer.write(b"a line\n")
    await asyncio.Event().wait()
    return answer


async def _events(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse()
    await answer.prepare(request)
    await asyncio.Event().wait()
    return answer
