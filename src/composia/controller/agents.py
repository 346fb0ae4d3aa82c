"""`/api/agent`: the channel of each agent, and the bulk beside it."""

from __future__ import annotations

import asyncio
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response, WebSocket
from fastapi.responses import FileResponse, JSONResponse
from starlette.requests import ClientDisconnect

from composia.controller.api.problems import STATUS
from composia.controller.callers import UNLIMITED, caller
from composia.controller.controller import Controller
from composia.controller.manifests import manifest_of
from composia.controller.pipes import Closed
from composia.controller.wires import asked_over
from composia.errors import ComposiaError, Denied, Failure, NotFound, Unauthenticated
from composia.model.service import CaddyRef, RepositoryRef, ServiceRef
from composia.operations.backup import SaveData
from composia.operations.restore import FetchData
from composia.operations.verifying import VerifyFiles
from composia.tools import durable, manifest

#: Seconds for the reason of a reading that broke off.
REASON = 2.0
_ID = re.compile(r"[0-9A-Za-z_-]{1,64}", re.ASCII)

router = APIRouter(prefix="/api/agent", include_in_schema=False)


@router.websocket("/channel")
async def channel(socket: WebSocket) -> None:
    """The agent dials, says Hello, and is asked."""
    controller: Controller = socket.app.state.controller
    try:
        node = controller.node_gate.node(socket.headers.get("authorization"))
    except Unauthenticated as error:
        await socket.send_denial_response(JSONResponse({"detail": error.message}, 401))
        return
    socket.state.caller = f"node:{node}"
    await socket.accept()
    await controller.nodes.serve(node, socket)


@router.websocket("/wires/{wire}")
async def wire(socket: WebSocket, wire: str, key: Annotated[str, Query()]) -> None:
    """Two nodes whose questions name the same wire, joined."""
    controller: Controller = socket.app.state.controller
    try:
        node = controller.node_gate.node(socket.headers.get("authorization"))
        question = asked_over(controller.nodes.question(node, key), wire, node)
    except ComposiaError as error:
        denial = JSONResponse({"detail": error.message}, STATUS[type(error)])
        await socket.send_denial_response(denial)
        return
    socket.state.caller = f"node:{node}"
    await socket.accept()
    await controller.wires.serve(wire, node, question, socket)


@router.get("/node")
async def get_node(request: Request) -> Response:
    """Whose token it is: an agent's machine asks before an agent runs there."""
    _, node = caller(request)
    return JSONResponse({"node": node})


@router.get("/bundles/{key}/{service}")
async def get_bundle(request: Request, key: str, service: str) -> Response:
    """A service's folder as tar: only for what this node was asked."""
    controller, node = caller(request)
    for ref in _asked_about(controller, node, key):
        if ref.name == service:
            tar = await controller.catalog.bundle(ref.folder, ref.revision)
            return Response(tar, media_type="application/x-tar")
    raise Denied(f"node {node} is not asked about service {service}")


@router.put("/manifests/{backup_id}", max_body_size=manifest.LARGEST)
async def put_manifest(request: Request, backup_id: str, key: Annotated[str, Query()]) -> Response:
    """What an item looked like when it was saved."""
    controller, node = caller(request)
    question = controller.nodes.question(node, key)
    saves = question.operation if question else None
    if not isinstance(saves, SaveData) or backup_id not in {one.backup_id for one in saves.items}:
        raise NotFound(f"node {node} does not save backup {backup_id} now")
    await _keep(request, _manifest(controller, backup_id))
    return Response(status_code=204)


@router.get("/manifests/{backup_id}")
async def get_manifest(request: Request, backup_id: str, key: Annotated[str, Query()]) -> Response:
    """The same again, for a restore."""
    controller, node = caller(request)
    question = controller.nodes.question(node, key)
    fetches = question.operation if question else None
    if backup_id not in _restored_by(fetches):
        raise Denied(f"node {node} does not restore backup {backup_id} now")
    path = _manifest(controller, backup_id)
    if not path.is_file():
        raise NotFound(f"there is no manifest of backup {backup_id}")
    return FileResponse(path, media_type="application/gzip")


def _restored_by(operation: object) -> set[str]:
    """Ids of the backups that a node restores, be it only to prove them."""
    if isinstance(operation, FetchData):
        return {one.wanted.backup_id for one in operation.items}
    if isinstance(operation, VerifyFiles):
        return {operation.wanted.backup_id}
    return set()


@router.post("/streams/{stream}", max_body_size=UNLIMITED)
async def post_stream(request: Request, stream: str) -> Response:
    """The bytes of a reading, to whoever waits for them."""
    controller, node = caller(request)
    found = controller.nodes.stream(node, stream)
    found.begun.set()
    try:
        async for chunk in request.stream():
            if chunk:
                await found.pipe.put(chunk)
        await found.pipe.end()
    except Closed:
        return Response(status_code=410)
    except ClientDisconnect:
        # Why it broke off comes by the channel, if it comes.
        with suppress(TimeoutError):
            await asyncio.wait_for(found.pipe.ended(), REASON)
        await found.pipe.end(Failure(f"node {node} stopped in the middle of it"))
    return Response(status_code=204)


def _asked_about(controller: Controller, node: str, key: str) -> list[ServiceRef]:
    """The services of a question, a reading or a call. Raises NotFound."""
    if question := controller.nodes.question(node, key):
        asked = question.operation
        others: tuple[RepositoryRef | CaddyRef | None, ...] = (asked.repository, asked.caddy)
        asked_about = [asked.service, *(other.service for other in others if other)]
        if asked.repository is None or not asked.repository.through(node):
            return asked_about
        # Its profile may have the password: a node that does not read it does not get it.
        return [one for one in asked_about if one.name != asked.repository.service.name]
    if relay := controller.nodes.relay(node, key):
        return [relay.repository.service]
    reading = controller.nodes.stream(node, key).reading
    return [reading.service, *([reading.repository.service] if reading.repository else [])]


def _manifest(controller: Controller, backup_id: str) -> Path:
    if not _ID.fullmatch(backup_id):
        raise NotFound("there is no such backup")
    return manifest_of(controller.config.state_dir, backup_id)


async def _keep(request: Request, path: Path) -> None:
    """Whole or not at all, whatever dies meanwhile."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.urandom(6).hex()}")
    try:
        with scratch.open("xb") as file:
            async for chunk in request.stream():
                await asyncio.to_thread(file.write, chunk)
            file.flush()
            await asyncio.to_thread(os.fsync, file.fileno())
        scratch.replace(path)
        await asyncio.to_thread(durable.sync, path.parent)
    finally:
        scratch.unlink(missing_ok=True)
