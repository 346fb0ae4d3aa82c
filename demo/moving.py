"""The second act: a service that is written to all the time moves to another machine."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.e2e.world import World
from tests.e2e.writing import Client, ask
from tests.lab import Lab

HERE = Path(__file__).parent
PORT = 8080
PHOTOS = 100


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

    say("Somebody signs it every 10 ms. Meanwhile it moves to the other machine")
    composia("migrate", "guestbook", "--to", "edge", "--dry-run")
    addresses = [(node.address, PORT) for node in lab.nodes.values()]
    with Client(addresses) as client:
        client.wait_for(100)
        composia("migrate", "guestbook", "--from", "main", "--to", "edge", "--yes")
        client.wait_for(100)
    return _kept(world, client, say)


def _kept(world: World, client: Client, say: Callable[[str], None]) -> bool:
    (task,) = world.get("/tasks", type="migrate", limit=1).json()["items"]
    result: dict[str, Any] = task["result"]
    there = set((ask(client.kept[-1].address, "/cgi-bin/read") or "").split())
    lost = [one.number for one in client.kept if str(one.number) not in there]
    print(f"  the outage that the client saw   {client.outage:.2f} s")
    print(f"  the outage that the task says    {result['downtime_seconds']:.2f} s")
    print(f"  signatures acknowledged          {len(client.kept)}")
    print(f"  signatures lost                  {len(lost)}")
    say("Every one of them is there" if not lost else "Some are LOST: this is a bug")
    return not lost
