"""The steps of the workflows are those of docs/design.md, in the same order."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from composia.operations.base import Nothing, Operation
from composia.operations.service import Deployed
from composia.workflows.backup import BackupRequest, plan_backup
from composia.workflows.plan import Plan
from composia.workflows.restore import RestoreRequest, plan_restore, plan_rollback
from composia.workflows.service import ServiceRequest, plan_deploy
from tests.twins.office import backup
from tests.twins.run import Answer, MemoryRun
from tests.unit.workflows import saving, test_restore
from tests.unit.workflows.conftest import World

DESIGN = Path(__file__).parents[3] / "docs" / "design.md"


def documented(heading: str) -> list[str]:
    section = re.search(rf"^### {heading}\b.*?\n(.*?)(?=^##)", DESIGN.read_text(), re.M | re.S)
    assert section, heading
    return re.findall(r"^\d+\. `(\w+)`", section[1], re.M)


def node(name: str, operation: Operation[Any]) -> Answer:
    if operation.op == "deploy":
        return Deployed(changed=True)
    if operation.op == "save_data":
        return saving.node()(name, operation)
    return test_restore.node(name, operation) or Nothing()


def plan_of(heading: str, world: World) -> Plan:
    known = world.known
    if heading == "Deploy":
        return plan_deploy(known, "my-app", ServiceRequest())
    if heading == "Backup":
        return plan_backup(known, "my-app", BackupRequest())
    restore = plan_restore(known, "my-app", RestoreRequest(), [backup("a")])
    return restore if heading == "Restore" else plan_rollback(known, test_restore.task(), restore)


@pytest.mark.parametrize("heading", ["Deploy", "Backup", "Restore", "Rollback"])
async def test_the_steps_are_the_documented_ones(heading: str, world: World) -> None:
    run = MemoryRun(node)
    await plan_of(heading, world).carry_out(run)
    assert [step for step, _ in run.steps] == documented(heading)
