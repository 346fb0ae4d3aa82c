"""What a verification that nobody started finds wrong reaches the owner's webhook."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e import services
from tests.e2e.test_schedules import at_second, with_clock
from tests.e2e.world import World, until
from tests.lab.clock import Clock

#: Seconds in which messages are gathered.
GATHERED = 31


class Webhook:
    """A receiver in the test's own process, where the controller reaches it."""

    def __init__(self, host: str) -> None:
        self.got: list[str] = []
        got = self.got

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                got.append(json.loads(body)["message"])
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return

        self.server = ThreadingHTTPServer((host, 0), Handler)
        self.url = f"json://{host}:{self.server.server_port}/"

    @property
    def said(self) -> str:
        return "\n".join(self.got)


@pytest.fixture
def webhook(world: World) -> Iterator[Webhook]:
    made = Webhook(world.lab.url.split("//")[1].split(":")[0])
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


def test_what_a_scheduled_verification_finds_is_told_and_what_is_good_is_verified(
    world: World, webhook: Webhook
) -> None:
    world.service("files", services.files_compose(), services.files_meta("files"))
    world.service("base", services.database_compose(), services.database_meta("base"))
    for name in ("files", "base"):
        world.ok(f"/services/{name}/deploy")
    (world.volume("files_cache") / "x").write_text("x")
    good = world.ok("/services/files/backup", {"data_items": ["cache"]})
    saved_by_hand(world, "files", "uploads", "/composia", "files/data/uploads/")
    saved_by_hand(world, "base", "database", "/dump.sql", "dump.sql", "CREATE TABLE t(x int);\n")
    adopted = world.ok("/repository/adopt")
    clock = Clock(world.lab.state)
    with_clock(world, clock, second=0)

    configure(
        world,
        notifications={"urls": [webhook.url]},
        backup={"verify_schedule": "* * * * *"},
    )
    # Its minute comes at once, and the end of what messages are gathered in.
    clock.set(at_second(59, clock.seconds))
    configure(world)

    until(
        lambda: names_both(world.get("/notifications").text),
        "what is to be told",
        lambda: f"{world.backups()}",
    )
    clock.set(clock.seconds + GATHERED)
    until(lambda: names_both(webhook.said), "the message", lambda: f"{webhook.got}")
    assert adopted["result"]["adopted"] == 2
    assert "Backup not proven: uploads of files on main" in webhook.said
    assert "is an empty folder in the snapshot" in webhook.said
    assert "Backup not proven: database of base on main" in webhook.said
    assert "is not whole: its last line is missing" in webhook.said
    # The one that is good has nothing to tell, and may be proven last.
    proven = good["result"]["backup_ids"][0]
    until(lambda: bool(world.record(proven)["verified_at"]), "the proof of the good one")
    assert "all equal to what was saved" in world.record(proven)["verification"]
    assert {one["data_item"] for one in world.backups() if one["damaged"]} == {
        "uploads", "database",
    }  # fmt: skip


def names_both(text: str) -> bool:
    return all(f"of {name} on main" in text for name in ("files", "base"))


def saved_by_hand(
    world: World, service: str, item: str, at: str, path: str, text: str | None = None
) -> None:
    """A snapshot with the tags of one of ours: an empty folder, or a file with a text."""
    source = world.lab.nodes["main"].folder / "by-hand" / service
    made = source / path
    made.mkdir(parents=True) if text is None else made.parent.mkdir(parents=True)
    if text is not None:
        made.write_text(text)
    config = world.folder("infra-backup") / "config"
    mounts = (f"{config}:/config", f"{world.lab.repository}:/repo")
    world.docker(
        "run", "--rm", "--network", "none",
        *(word for mount in mounts for word in ("-v", mount)),
        "-v", f"{source if text is None else made}:{at}",
        "rustic:latest", "rustic", "-P", "/config/rustic", "backup",
        "--host", "main", "--tag", f"service={service},item={item}", at,
    )  # fmt: skip


def configure(world: World, **sections: Any) -> None:
    """Change these sections of config.yaml, and have it read."""
    config = Path(world.lab.config)
    changed = yaml.safe_load(config.read_text())
    changed["controller"] |= sections
    config.write_text(yaml.safe_dump(changed))
    assert world.post("/config/reload").status_code == 200
