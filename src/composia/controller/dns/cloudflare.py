"""Cloudflare's API, version 4."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

from composia.controller.dns.authoritative import answered
from composia.controller.dns.base import Change, Overtaken, Present
from composia.errors import Failure
from composia.model.config import Cloudflare
from composia.model.dns import DnsTarget, normal

API = "https://api.cloudflare.com/client/v4"
#: On every record that we write, so that it is known as ours.
COMMENT = "Managed by Composia"
#: Seconds for one answer; how often it is asked for; the longest wait between two.
PATIENCE = 20.0
TRIES = 4
LONGEST_WAIT = 60.0
PAGE = 100
#: There is a record that excludes this one, or none any more.
_NOT_AS_SEEN = frozenset({81044, 81053, 81054, 81056, 81057, 81058})
_TOKEN_REFUSED = frozenset({6003, 6111, 9109, 10000, 10001})


@dataclass(frozen=True, slots=True)
class _Refusal:
    status: int
    #: Codes and messages, with those that explain them.
    reasons: tuple[tuple[int, str], ...]

    @property
    def codes(self) -> set[int]:
        return {code for code, _ in self.reasons}

    def __str__(self) -> str:
        told = "; ".join(f"{message} ({code})" for code, message in self.reasons)
        return told or f"HTTP {self.status}"


class CloudflareProvider:
    """Zones that one API token may edit."""

    def __init__(self, config: Cloudflare, *, api: str = API, port: int = 53) -> None:
        self._token = config.api_token.get_secret_value().strip()
        self._api = api.rstrip("/")
        self._port = port
        self._zones: dict[str, str] = {}
        self._servers: dict[str, list[str]] = {}

    async def find(self, zone: str, hostname: str) -> tuple[Present, ...]:
        """See `Provider.find`."""
        path = f"/zones/{await self._zone(zone)}/dns_records"
        records = await self._all(path, {"name": hostname})
        return tuple(_present(one) for one in records if normal(one["name"]) == normal(hostname))

    async def change(self, target: DnsTarget, seen: Sequence[Present], change: Change) -> None:
        """See `Provider.change`.

        Cloudflare knows no conditions: it is looked at once more right before, and the change
        itself is one transaction that fails when a record is gone or an excluding one has come.
        """
        if set(await self.find(target.zone, target.hostname)) != set(seen):
            raise Overtaken
        path = f"/zones/{await self._zone(target.zone)}/dns_records/batch"
        answer = await self._ask("POST", path, body=_batch(target, change))
        if isinstance(answer, _Refusal):
            if answer.codes & _NOT_AS_SEEN:
                raise Overtaken
            raise self._failure(answer, f"the change of {target.hostname}")

    async def shown(self, target: DnsTarget) -> set[str] | None:
        """See `Provider.shown`: a proxied name answers with addresses of Cloudflare."""
        if target.proxied:
            return None
        await self._zone(target.zone)
        return await answered(self._servers[target.zone], self._port, target)

    async def _zone(self, name: str) -> str:
        if name not in self._zones:
            zones = await self._all("/zones", {"name": name})
            found = [zone for zone in zones if normal(zone["name"]) == name]
            if not found:
                raise Failure(
                    f"Cloudflare shows no zone {name} to this token",
                    hint="Give the token Zone:Read and DNS:Edit for it, "
                    "or correct controller.dns.cloudflare.zones.",
                )
            self._zones[name] = str(found[0]["id"])
            self._servers[name] = list(found[0].get("name_servers") or ())
        return self._zones[name]

    async def _all(self, path: str, filters: Mapping[str, str]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        page, pages = 1, 1
        while page <= pages:
            params = {**filters, "page": str(page), "per_page": str(PAGE)}
            answer = await self._ask("GET", path, params=params)
            if isinstance(answer, _Refusal):
                raise self._failure(answer, f"a look at {filters['name']}")
            found += answer["result"]
            pages = int((answer.get("result_info") or {}).get("total_pages") or 1)
            page += 1
        return found

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> dict[str, Any] | _Refusal:
        """The answer, after some patience with a server that is busy."""
        answer: dict[str, Any] | _Refusal = _Refusal(0, ())
        for again in range(TRIES):
            answer, wait = await self._once(method, path, params, body)
            busy = isinstance(answer, _Refusal) and (answer.status == 429 or answer.status >= 500)
            if not busy or again == TRIES - 1:
                break
            await asyncio.sleep(min(LONGEST_WAIT, wait if wait is not None else 0.5 * 2**again))
        return answer

    async def _once(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        body: Mapping[str, Any] | None,
    ) -> tuple[dict[str, Any] | _Refusal, float | None]:
        headers = {"Authorization": f"Bearer {self._token}"}
        timeout = aiohttp.ClientTimeout(total=PATIENCE)
        try:
            async with (
                aiohttp.ClientSession(headers=headers, timeout=timeout) as session,
                session.request(method, self._api + path, params=params, json=body) as answer,
            ):
                return await _read(answer), _wait(answer)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Failure(
                f"Cloudflare's API cannot be reached: {error or type(error).__name__}",
                hint="Does the controller reach the internet? Asking again is safe.",
            ) from error

    def _failure(self, refusal: _Refusal, what: str) -> Failure:
        hint = "Asking again is safe."
        if refusal.status in (401, 403) or refusal.codes & _TOKEN_REFUSED:
            hint = "Check controller.dns.cloudflare.api_token: it needs Zone:Read and DNS:Edit."
        elif refusal.status == 429:
            hint = "Too many requests were made with this token. Wait a few minutes."
        return Failure(f"Cloudflare refuses {what}: {refusal}", hint=hint)


async def _read(answer: aiohttp.ClientResponse) -> dict[str, Any] | _Refusal:
    try:
        told = await answer.json(content_type=None)
    except ValueError:
        told = None
    if not isinstance(told, dict):
        return _Refusal(answer.status if answer.status >= 400 else 502, ())
    if answer.status < 400 and told.get("success"):
        return told
    return _Refusal(answer.status, tuple(_reasons(told.get("errors") or ())))


def _reasons(errors: Sequence[Mapping[str, Any]]) -> list[tuple[int, str]]:
    found = []
    for error in errors:
        found.append((int(error.get("code") or 0), str(error.get("message") or "")))
        found += _reasons(error.get("error_chain") or ())
    return found


def _wait(answer: aiohttp.ClientResponse) -> float | None:
    told = answer.headers.get("Retry-After", "")
    return float(told) if told.isdigit() else None


def _batch(target: DnsTarget, change: Change) -> dict[str, Any]:
    """Records of the same type are changed where they are; the rest goes and comes."""
    remove, posts, patches = list(change.remove), [], []
    for new in change.add:
        old = next((one for one in remove if one.type == new.type), None)
        if old is None:
            posts.append({"name": target.hostname, **_fields(target, new)})
        else:
            remove.remove(old)
            patches.append({"id": old.id, **_fields(target, new)})
    wanted = {"deletes": [{"id": one.id} for one in remove], "patches": patches, "posts": posts}
    return {name: several for name, several in wanted.items() if several}


def _fields(target: DnsTarget, new: Present) -> dict[str, Any]:
    return {
        "type": new.type,
        "content": new.value,
        "proxied": target.proxied,
        "ttl": 1 if target.proxied else new.ttl,
        "comment": COMMENT,
    }


def _present(record: Mapping[str, Any]) -> Present:
    return Present(
        type=str(record["type"]),
        value=normal(str(record["content"])),
        ttl=int(record["ttl"]),
        proxied=bool(record.get("proxied")),
        marked=record.get("comment") == COMMENT,
        id=str(record["id"]),
    )
