"""How long the server takes for each page of a large household, and what a browser loads for it."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
from sqlalchemy import insert

from composia.controller.store import schema
from composia.controller.store.database import open_database
from composia.controller.store.times import stored
from composia.model.backup import Backup, BackupStatus

SERVICES = 200
BACKUPS = 100_000
#: Taken of each page, one after the other.
TIMES = 100
TOKEN = "bench-token"
PATIENCE = 60.0
PAGES = (
    "/", "/services", "/services/app-7", "/services/app-7/instances", "/services/app-7/data",
    "/services/app-7/backups", "/services/app-7/files", "/services/app-7/history", "/backups",
    "/backups?service=app-7", "/tasks", "/nodes", "/schedules", "/repository", "/notifications",
    "/settings",
)  # fmt: skip
CONFIG = """
controller:
  listen_addr: "127.0.0.1:{port}"
  repo_dir: {folder}/catalog
  state_dir: {folder}/state
  log_dir: {folder}/logs
  access_tokens: [{{name: admin, token: {token}}}]
  nodes: [{{id: main, token: main-token}}, {{id: edge, token: edge-token}}]
"""
COMPOSE = """
services:
  web: {image: "nginx:1", volumes: ["./data:/data"]}
"""
META = """
name: {name}
nodes: [main]
data_protect:
  data:
    - name: data
      backup: {{strategy: files.copy, include: [./data]}}
      restore: {{strategy: files.copy, include: [./data]}}
backup:
  data: [{{name: data, schedule: "0 2 * * *"}}]
"""


@dataclass(frozen=True)
class Measured:
    """One page: seconds of each answer, and bytes of it with all that it loads, compressed."""

    path: str
    seconds: Sequence[float]
    size: int

    def __str__(self) -> str:
        ordered = sorted(self.seconds)
        half, most = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]
        return (
            f"  {self.path:30} {half * 1000:6.0f} ms, p99 {most * 1000:6.0f} ms,"
            f" {self.size / 1000:6.0f} KB"
        )


def measure() -> Iterator[Measured]:
    """Each page of a controller with 200 services and 100,000 backups."""
    with tempfile.TemporaryDirectory(prefix="composia-pages-") as scratch:
        folder = Path(scratch)
        make_catalog(folder / "catalog")
        asyncio.run(make_records(folder / "state"))
        with served(folder) as http:
            yield from (measured(http, path) for path in PAGES)


def measured(http: httpx2.Client, path: str) -> Measured:
    """A page, again and again."""
    page = http.get(path)
    assert page.status_code == 200, (path, page.status_code)
    loaded = re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text)
    whole = [page.content, *(http.get(one).content for one in loaded)]
    taken = [seconds(http, path) for _ in range(TIMES)]
    return Measured(path, taken, sum(len(gzip.compress(one)) for one in whole))


def seconds(http: httpx2.Client, path: str) -> float:
    """From the question to the whole answer, on the loopback."""
    start = time.perf_counter()
    http.get(path)
    return time.perf_counter() - start


def make_catalog(folder: Path) -> None:
    """Services with a compose file and a data item each."""
    for number in range(SERVICES):
        service = folder / f"app-{number}"
        service.mkdir(parents=True)
        (service / "docker-compose.yaml").write_text(COMPOSE)
        (service / "composia-meta.yaml").write_text(META.format(name=service.name))
    git = ["git", "-C", str(folder), "-c", "user.name=Bench", "-c", "user.email=bench@example.com"]
    for words in (["init", "-qb", "main"], ["add", "-A"], ["commit", "-qm", "Add services"]):
        subprocess.run([*git, *words], check=True)


async def make_records(state_dir: Path) -> None:
    """As many backups of each, one a day."""
    state_dir.mkdir(parents=True)
    db, now = await open_database(state_dir), datetime.now(UTC)
    try:
        async with db.write() as connection:
            for number in range(SERVICES):
                rows = [row(one) for one in records(f"app-{number}", now)]
                await connection.execute(insert(schema.BACKUPS), rows)
    finally:
        await db.aclose()


def row(backup: Backup) -> dict[str, object]:
    """As the store keeps it."""
    return {
        **backup.model_dump(include={"id", "service", "data_item", "node", "task_id"}),
        "status": backup.status,
        "time": stored(backup.time),
        "record": backup.model_dump_json(),
    }


def records(service: str, now: datetime) -> Iterator[Backup]:
    """The backups of one service."""
    for day in range(BACKUPS // SERVICES):
        yield Backup(
            id=f"{day:06}-{service}",
            service=service,
            data_item="data",
            node="main",
            snapshot_id=f"{day:064x}",
            status=BackupStatus.SUCCESS,
            size=5_000_000 + day * 1000,
            added=1000,
            files=312,
            time=now - timedelta(days=BACKUPS // SERVICES - day),
            duration=1.5,
        )


@contextlib.contextmanager
def served(folder: Path) -> Iterator[httpx2.Client]:
    """A controller of its own, and somebody who has signed in."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = folder / "config.yaml"
    config.write_text(CONFIG.format(port=port, folder=folder, token=TOKEN))
    argv = [str(Path(sys.executable).with_name("composia")), "controller", "--config", str(config)]
    url = f"http://127.0.0.1:{port}"
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log)
    try:
        with httpx2.Client(base_url=url, timeout=PATIENCE, headers={"Origin": url}) as http:
            wait_for(http)
            signed_in = http.post("/login", data={"token": TOKEN})
            assert signed_in.status_code == 303, signed_in.text
            yield http
    finally:
        process.terminate()
        process.wait()


def wait_for(http: httpx2.Client) -> None:
    """Until it is ready."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with contextlib.suppress(httpx2.TransportError):
            if http.get("/readyz").status_code == 200:
                return
        time.sleep(0.1)
    raise RuntimeError("the controller did not become ready")
