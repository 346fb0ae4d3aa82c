"""A stand-in for Cloudflare's API that checks what the real one checks.

Codes and words as the real one answers them; a change of several records is all or nothing there
too, in the order deletes, patches, posts.
"""

from __future__ import annotations

import copy
import ipaddress
import re
import secrets
from collections.abc import Mapping
from typing import Any

from aiohttp import web

TYPES = ("A", "AAAA", "CAA", "CNAME", "HTTPS", "MX", "NS", "PTR", "SRV", "SSHFP", "TXT")
PROXIABLE = ("A", "AAAA", "CNAME")
_HOST = re.compile(r"(\*\.)?([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}")

Record = dict[str, Any]


class Refused(Exception):
    """An answer with an error."""

    def __init__(self, status: int, code: int, message: str, *chain: tuple[int, str]) -> None:
        super().__init__(message)
        self.status = status
        self.error: dict[str, Any] = {"code": code, "message": message}
        if chain:
            self.error["error_chain"] = [{"code": c, "message": m} for c, m in chain]


class Cloudflare:
    """One account with one token, and the zones that it may edit."""

    def __init__(self, token: str, *zones: str) -> None:
        self.token = token
        self.zones = {secrets.token_hex(16): zone for zone in zones}
        self.records: dict[str, dict[str, Record]] = {zone: {} for zone in self.zones}
        #: Answers to give before any real one: a status and its Retry-After.
        self.busy: list[tuple[int, str | None]] = []
        self.calls: list[str] = []
        #: Who answers for the zones.
        self.name_servers: list[str] = []
        self.url = ""
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen on a port of the machine's choice."""
        app = web.Application(middlewares=[self._answered])
        app.router.add_get("/client/v4/zones", self._list_zones)
        app.router.add_get("/client/v4/zones/{zone}/dns_records", self._list)
        app.router.add_post("/client/v4/zones/{zone}/dns_records", self._create)
        app.router.add_post("/client/v4/zones/{zone}/dns_records/batch", self._batch)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}/client/v4"

    async def aclose(self) -> None:
        """Listen no more."""
        if self._runner:
            await self._runner.cleanup()

    # What a person does in the dashboard.

    def put(self, record: Mapping[str, Any]) -> Record:
        """A record that somebody made."""
        zone = next(iter(self.zones))
        return self._post(zone, {"ttl": 300, **record})

    def drop(self, name: str) -> None:
        """All records of a name go."""
        for records in self.records.values():
            for key in [key for key, one in records.items() if one["name"] == name]:
                del records[key]

    def of(self, name: str) -> list[Record]:
        """The records of a name."""
        return [
            one for records in self.records.values() for one in records.values()
            if one["name"] == name
        ]  # fmt: skip

    # What the API answers.

    @web.middleware
    async def _answered(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.calls.append(f"{request.method} {request.path.rpartition('/')[2]}")
        if self.busy:
            status, wait = self.busy.pop(0)
            headers = {"Retry-After": wait} if wait else {}
            told = {"code": 971, "message": "Please wait and consider throttling your request"}
            return web.json_response(_refusal(told), status=status, headers=headers)
        try:
            self._admit(request)
            found: web.StreamResponse = await handler(request)
        except Refused as refused:
            return web.json_response(_refusal(refused.error), status=refused.status)
        return found

    def _admit(self, request: web.Request) -> None:
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if kind != "Bearer" or not re.fullmatch(r"[A-Za-z0-9_-]{8,}", token):
            raise Refused(
                400, 6003, "Invalid request headers",
                (6111, "Invalid format for Authorization header"),
            )  # fmt: skip
        if token != self.token:
            raise Refused(403, 9109, "Invalid access token")

    async def _list_zones(self, request: web.Request) -> web.Response:
        wanted = request.query.get("name")
        found = [
            {"id": id_, "name": name, "status": "active", "name_servers": self.name_servers}
            for id_, name in self.zones.items()
            if wanted in (None, name)
        ]
        return _page(request, found, 50)

    async def _list(self, request: web.Request) -> web.Response:
        records = self._of_zone(request).values()
        name, kind = request.query.get("name"), request.query.get("type")
        found = [
            one for one in records
            if (name is None or one["name"] == name.lower()) and kind in (None, one["type"])
        ]  # fmt: skip
        return _page(request, found, 5_000_000)

    async def _create(self, request: web.Request) -> web.Response:
        self._of_zone(request)
        return _ok(self._post(request.match_info["zone"], await _body(request)))

    async def _batch(self, request: web.Request) -> web.Response:
        self._of_zone(request)
        zone, body = request.match_info["zone"], await _body(request)
        before = copy.deepcopy(self.records[zone])
        try:
            done = {
                "deletes": [self._delete(zone, one) for one in body.get("deletes", ())],
                "patches": [self._patch(zone, one) for one in body.get("patches", ())],
                "posts": [self._post(zone, one) for one in body.get("posts", ())],
            }
        except Refused:
            self.records[zone] = before
            raise
        return _ok(done)

    def _of_zone(self, request: web.Request) -> dict[str, Record]:
        zone = request.match_info["zone"]
        if not re.fullmatch(r"[0-9a-f]{32}", zone):
            what = f"Could not route to {request.path}, perhaps your object identifier is invalid?"
            raise Refused(404, 7003, what)
        if zone not in self.records:
            raise Refused(403, 10000, "Authentication error")
        return self.records[zone]

    def _post(self, zone: str, wanted: Mapping[str, Any]) -> Record:
        return self._keep(zone, {"id": secrets.token_hex(16), **wanted})

    def _patch(self, zone: str, wanted: Mapping[str, Any]) -> Record:
        return self._keep(zone, {**self._found(zone, wanted), **wanted})

    def _delete(self, zone: str, wanted: Mapping[str, Any]) -> Record:
        return self.records[zone].pop(self._found(zone, wanted)["id"])

    def _found(self, zone: str, wanted: Mapping[str, Any]) -> Record:
        if wanted.get("id") not in self.records[zone]:
            raise Refused(404, 81044, "Record does not exist.")
        return self.records[zone][wanted["id"]]

    def _keep(self, zone: str, wanted: Mapping[str, Any]) -> Record:
        record = _checked(dict(wanted), self.zones[zone])
        others = [
            one for one in self.records[zone].values()
            if one["name"] == record["name"] and one["id"] != record["id"]
        ]  # fmt: skip
        _refuse_twins(record, others)
        self.records[zone][record["id"]] = record
        return record


def _checked(record: Record, zone: str) -> Record:
    kind = record.get("type")
    if kind not in TYPES:
        raise _invalid(9000, f"DNS record type {kind!r} is invalid.")
    name = str(record.get("name", "")).lower().removesuffix(".")
    # A name outside the zone is taken as one below it.
    record["name"] = name if name == zone or name.endswith(f".{zone}") else f"{name}.{zone}"
    if not _HOST.fullmatch(record["name"]):
        raise _invalid(9000, "DNS name is invalid.")
    record["content"] = _content(kind, record.get("content"))
    record["proxied"] = record.get("proxied", False)
    if record["proxied"] and kind not in PROXIABLE:
        raise _invalid(9004, "This record type cannot be proxied.")
    ttl = record.get("ttl", 1)
    if not isinstance(ttl, int) or (ttl != 1 and not 60 <= ttl <= 86400):
        raise _invalid(9021, "TTL must be between 60 and 86400 seconds, or 1 for Automatic.")
    record["ttl"] = 1 if record["proxied"] else ttl
    record.setdefault("comment", None)
    return record


def _content(kind: str, content: Any) -> str:
    if kind in ("A", "AAAA"):
        version = 4 if kind == "A" else 6
        try:
            address = ipaddress.ip_address(content)
        except ValueError:
            address = None
        if address is None or address.version != version:
            code = 9005 if version == 4 else 9006
            raise Refused(
                400, code, f"Content for {kind} record must be a valid IPv{version} address."
            )
        return str(address)
    text = str(content).lower().removesuffix(".") if kind == "CNAME" else str(content)
    if kind == "CNAME" and not _HOST.fullmatch(text):
        raise Refused(400, 9007, "Content for CNAME record is invalid.")
    return text


def _refuse_twins(record: Record, others: list[Record]) -> None:
    if any((one["type"], one["content"]) == (record["type"], record["content"]) for one in others):
        raise Refused(400, 81058, "An identical record already exists.")
    if record["type"] == "CNAME" and any(one["type"] in PROXIABLE for one in others):
        what = "An A, AAAA, or CNAME record with that host already exists."
        raise Refused(400, 81053, what)
    if record["type"] in ("A", "AAAA") and any(one["type"] == "CNAME" for one in others):
        raise Refused(400, 81054, "A CNAME record with that host already exists.")


def _invalid(code: int, message: str) -> Refused:
    return Refused(400, 1004, "DNS Validation Error", (code, message))


def _refusal(error: Mapping[str, Any]) -> dict[str, Any]:
    return {"result": None, "success": False, "errors": [error], "messages": []}


def _ok(result: Any, **more: Any) -> web.Response:
    return web.json_response(
        {"result": result, "success": True, "errors": [], "messages": [], **more}
    )


def _page(request: web.Request, found: list[Any], most: int) -> web.Response:
    page = int(request.query.get("page", 1))
    size = min(most, int(request.query.get("per_page", 20)))
    part = found[(page - 1) * size : page * size]
    info = {
        "page": page, "per_page": size, "count": len(part), "total_count": len(found),
        "total_pages": -(-len(found) // size),
    }  # fmt: skip
    return _ok(part, result_info=info)


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        found = await request.json()
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Refused(400, 9207, "Failed to parse request body")
    return found
