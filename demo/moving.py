"""The second act: a service that is written to all the time moves to another machine."""

from __future__ import annotations

import os
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any

from tests.e2e import https
from tests.e2e.world import World
from tests.e2e.writing import Client
from tests.lab import Lab
from tests.lab.catalog import CADDY_ROOT_CA

HERE = Path(__file__).parent
HOST = "guestbook.lab.test"
#: Seconds after which a browser asks again.
PATIENCE = 2.0
PHOTOS = 100


class Browser(Client):
    """Asks by name, over HTTPS, and goes on with the address that DNS had for it at first."""

    def __init__(self, lab: Lab, root_ca: Path) -> None:
        super().__init__([(address, 443) for address in lab.dns.addresses(HOST)])
        self._root_ca = root_ca

    def ask(self, address: tuple[str, int], path: str) -> str | None:
        """What is answered under a certificate of that name; None where nothing is."""
        try:
            answer = https.get(address[0], HOST, self._root_ca, path, PATIENCE)
        except (OSError, HTTPException):
            return None
        return answer.body if answer.status == 200 else None


def show(lab: Lab, composia: Callable[..., None], say: Callable[[str], None]) -> bool:
    """Move the guestbook while somebody writes to it; whether nothing was lost."""
    world = World(lab)
    say("A guestbook, with 100 MB of photos, its own name, and Caddy in front of it")
    lab.commit_service(HERE / "guestbook")
    composia("deploy", "infra-caddy")
    composia("deploy", "guestbook")
    composia("dns-update", "guestbook")
    photos = world.volume("guestbook_photos")
    for number in range(PHOTOS):
        (photos / f"{number}.jpg").write_bytes(os.urandom(1_000_000))

    say(f"Somebody signs it at https://{HOST} every 10 ms. Meanwhile it moves to the other machine")
    composia("migrate", "guestbook", "--to", "edge", "--dry-run")
    root_ca = world.folder("infra-caddy") / CADDY_ROOT_CA
    with Browser(lab, root_ca) as browser:
        browser.wait_for(100)
        certificate = _certificate(lab, root_ca)
        composia("migrate", "guestbook", "--from", "main", "--to", "edge", "--yes")
        browser.wait_for(100)
    same = _certificate(lab, root_ca) == certificate
    return _kept(lab, world, browser, same, say)


def _certificate(lab: Lab, root_ca: Path) -> str | None:
    """The serial number of what is shown where DNS points to."""
    (address,) = lab.dns.addresses(HOST)
    return https.get(address, HOST, root_ca, "/cgi-bin/read").serial


def _kept(lab: Lab, world: World, browser: Browser, same: bool, say: Callable[[str], None]) -> bool:
    (task,) = world.get("/tasks", type="migrate", limit=1).json()["items"]
    result: dict[str, Any] = task["result"]
    (edge,) = lab.dns.addresses(HOST)
    there = set((browser.ask((edge, 443), "/cgi-bin/read") or "").split())
    lost = [one.number for one in browser.kept if str(one.number) not in there]
    shown = {
        "DNS says now": f"{edge}, which is edge",
        "its certificate": "came along" if same else "is another one",
        "the outage at the old address, through both Caddys": f"{browser.outage:.2f} s",
        "the outage that the task says": f"{result['downtime_seconds']:.2f} s",
        "signatures acknowledged": len(browser.kept),
        "signatures lost": len(lost),
    }
    for name, value in shown.items():
        print(f"  {name:52}{value}")
    say("Every one of them is there" if not lost else "Some are LOST: this is a bug")
    return not lost and same
