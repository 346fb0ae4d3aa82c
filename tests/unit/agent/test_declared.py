"""What compose has said of a service's files, over restarts of the agent."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from composia.agent.checkout import Manifest
from composia.agent.declared import FILE, Declared
from composia.agent.sites import Sites
from composia.errors import Failure
from composia.model.service import ServiceRef
from composia.tools.compose import ComposeConfig, parse_config

SECRET = "planted-secret"


class Machine:
    """The folders of a node, and a compose that counts what it is asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []
        self.target: str | None = "/data"

    def state(self, service: str) -> Path:
        return self.folder / service

    def compose(self, service: ServiceRef) -> Any:
        return _Project(self, service.name)


class _Project:
    def __init__(self, machine: Machine, name: str) -> None:
        self._machine = machine
        self._name = name

    async def config(self) -> ComposeConfig:
        self._machine.asked.append(self._name)
        if self._machine.target is None:
            raise Failure("compose refuses it")
        volume = {"type": "volume", "source": "pages", "target": self._machine.target}
        web = {"image": "web", "environment": {"TOKEN": SECRET}, "command": [SECRET]}
        return parse_config({"services": {"web": {**web, "volumes": [volume]}}})


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def started(machine: Machine) -> Declared:
    return Declared(cast("Sites", machine))


def checked_out(revision: str = "a" * 40) -> Manifest:
    service = ServiceRef(name="my-app", folder="my-app", project="my-app", revision=revision,
                         compose_files=("compose.yaml",))  # fmt: skip
    return Manifest(service=service)


def target(config: ComposeConfig | None) -> str | None:
    return config.services["web"].mounts[0].target if config else None


async def test_an_agent_that_has_just_started_asks_nobody(machine: Machine) -> None:
    before = await started(machine).config(checked_out())
    machine.asked.clear()
    assert await started(machine).config(checked_out()) == before
    assert target(before) == "/data"
    assert machine.asked == []


async def test_other_files_are_asked_about(machine: Machine) -> None:
    declared = started(machine)
    await declared.config(checked_out())
    machine.target = "/elsewhere"
    assert target(await declared.config(checked_out())) == "/data"
    assert target(await declared.config(checked_out("b" * 40))) == "/elsewhere"
    assert target(await started(machine).config(checked_out("b" * 40))) == "/elsewhere"


async def test_what_has_changed_without_us_is_found_after_the_start(machine: Machine) -> None:
    await started(machine).config(checked_out())
    machine.target = "/elsewhere"
    declared = started(machine)
    assert target(await declared.config(checked_out())) == "/data"
    assert await declared.ask_again([checked_out()])
    assert target(await declared.config(checked_out())) == "/elsewhere"
    machine.asked.clear()
    assert not await declared.ask_again([checked_out()])
    assert machine.asked == []


async def test_files_that_compose_refuses_are_known_as_such(machine: Machine) -> None:
    machine.target = None
    assert await started(machine).config(checked_out()) is None
    machine.asked.clear()
    assert await started(machine).config(checked_out()) is None
    assert machine.asked == []


async def test_no_secret_is_kept_and_rubbish_is_asked_about(machine: Machine) -> None:
    await started(machine).config(checked_out())
    file = machine.state("my-app") / FILE
    assert SECRET not in file.read_text()
    file.write_text('{"of": 1')
    assert target(await started(machine).config(checked_out())) == "/data"


async def test_a_disk_that_takes_nothing_keeps_nobody_from_knowing(machine: Machine) -> None:
    machine.state("my-app").write_text("in the way of the folder")
    declared = started(machine)
    assert target(await declared.config(checked_out())) == "/data"
    assert target(await declared.config(checked_out())) == "/data"
    assert machine.asked == ["my-app"]
