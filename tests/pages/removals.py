"""What the household of `seed.py` has moved, changed and written: a third node, files, commits."""

from __future__ import annotations

from datetime import datetime, timedelta

from composia.controller.changes import FileChange, What, Why
from composia.model.config import NodeConfig
from composia.model.node import Disk
from composia.model.task import Status, Step, Task
from composia.operations.surveying import Size, SourceSeen
from composia.tools.git import Commit, Person
from composia.workflows.known import Known
from composia.workflows.service import ServiceRequest, plan_deploy
from tests.twins.office import REVISION, MemoryOffice, node_state

#: A move that went well.
MOVED = "01T70000"
COMPOSE = b"""services:
  web:
    image: busybox:lab
    volumes: [./data/uploads:/uploads, cache:/cache]
  postgres:
    image: postgres:16
volumes:
  cache: {}
"""
META = b"""name: my-app
nodes: [main]
data_protect:
  data:
    - name: uploads
      backup: {strategy: files.copy, include: [./data/uploads]}
      restore: {strategy: files.copy, include: [./data/uploads]}
"""
SUBJECT = "Change my-app/docker-compose.yaml"
BODY = "The cache was on the wrong disk.\n\n- <b>not</b> markup\n- nor \u202eturned\u202c"
PATCH = """@@ -1,6 +1,6 @@
 services:
   web:
     image: busybox:lab
-    volumes: [./data/uploads:/uploads]
+    volumes: [./data/uploads:/uploads, cache:/cache]
   postgres:
-    image: postgres:15
+    image: postgres:16 # \u202e<script>alert(1)</script>"""
FILES = (
    FileChange(path="my-app/docker-compose.yaml", what=What.CHANGED, patch=PATCH, size=200),
    FileChange(path="my-app/empty", what=What.ADDED),
    FileChange(path="my-app/logo.png", what=What.ADDED, why=Why.BINARY, size=4000),
    FileChange(path="my-app/seed.sql", what=What.REMOVED, why=Why.LARGE, size=5 * 2**20),
    FileChange(path=f"my-app/{'long' * 60}<img src=x>\u202egpj.exe\udcff", what=What.MODE),
)


def settle(office: MemoryOffice, now: datetime) -> None:
    """Add all of it."""
    text = '{"id": "loft", "display_name": "Loft", "token": "l", "public_ipv4": "203.0.113.30"}'
    loft = NodeConfig.model_validate_json(text)
    office.config = office.config.model_copy(update={"nodes": (*office.config.nodes, loft)})
    disk = Disk(path="/var/lib/composia", total=100 * 2**30, free=9 * 2**30)
    office.nodes.known["loft"] = node_state().model_copy(update={"disks": (disk,)})
    office.nodes.source = SourceSeen(
        running=("web", "postgres"), sizes={"uploads": Size(size=508 * 2**20, files=11_000)}
    )
    office.nodes.said = b"".join(
        b"my-app-web-1 | \x1b[3%dm%d\x1b[0m <b>GET</b> /uploads/%d 200\n" % (n % 7, n, n)
        for n in range(80)
    )
    office.catalog.content |= {
        "my-app/composia-meta.yaml": META,
        "my-app/docker-compose.yaml": COMPOSE,
        "my-app/logo.png": b"\x89PNG\0",
        "Bad/composia-meta.yaml": b"nmae: bad\n",
        "Bad/docker-compose.yaml": b"services: {}\n",
    }
    who = Person("admin", "admin@example.org")
    office.catalog.commits = [
        Commit(REVISION, who, now - timedelta(hours=3), SUBJECT, BODY),
        Commit("b" * 40, who, now - timedelta(days=40), "Add my-app <b>at last</b>"),
    ]
    office.catalog.changed = {REVISION: FILES, "b" * 40: FILES[1:3]}
    known = Known(catalog=office.catalog.view(), nodes=office.nodes.states())
    plan = plan_deploy(known, "my-app", ServiceRequest())
    for number, (held, between, start) in enumerate(((1.4, 0.3, 0.6), (3.9, 0.9, 1.1))):
        task = _moved(f"01T7000{number}", now - timedelta(days=3 - number), held, between, start)
        office.store.admitted[task.id] = (task, plan)


def _moved(name: str, at: datetime, held: float, between: float, start: float) -> Task:
    seconds = [("0_check", 1), ("0_pre_copy", 40), ("1_export_data", held), ("2_stop_source", 0.2)]
    seconds += [("4_restore_data", 0.5), ("5_start_on_target", start), ("7_update_dns", 2)]
    seconds += [("8_write_back", 1), ("9_retire_source", 1)]
    steps, begun = [], at
    for step, took in seconds:
        ended = begun + timedelta(seconds=took)
        node = "loft" if step.startswith(("4", "5")) else "main"
        steps.append(
            Step(
                name=step,
                node=node,
                status=Status.SUCCEEDED,
                started_at=begun,
                finished_at=ended,
            )
        )
        begun = ended
    return Task(
        id=name,
        type="migrate",
        service="my-app",
        nodes=("loft", "main"),
        status=Status.SUCCEEDED,
        title="Migrate my-app from loft to main",
        created_by="token:admin",
        source="web",
        created_at=at,
        started_at=at,
        finished_at=begun,
        steps=tuple(steps),
        result={
            "downtime_seconds": held + between + start,
            "held_seconds": held,
            "between_seconds": between,
            "start_seconds": start,
            "predicted_seconds": 2.1,
        },
    )
