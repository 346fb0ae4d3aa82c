"""Promises 11 to 15 where they are kept: operations on a real engine and a real repository."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import pytest

from composia.errors import Conflict
from composia.operations.restore import ExchangeBack
from composia.strategies.files_copy import FilesCopy, FilesCopyBack
from tests.e2e.node import NodeService
from tests.e2e.trees import fill, look
from tests.lab import Lab

WEB = """services:
  web:
    image: busybox:lab
    init: true
    restart: always
    command: sleep 1000000
    volumes: ["./data/uploads:/srv", "cache:/cache"]
volumes:
  cache:
"""
BOTH = ("./data/uploads", "cache")
SAVE = FilesCopy(include=BOTH, exclude=("./data/uploads/temp",))
BACK = FilesCopyBack(include=BOTH)


def a_service(node: Lab, name: str) -> NodeService:
    """Up, filled and saved once."""
    service = NodeService(node, name, WEB)
    service.compose("up", "-d")
    shutil.rmtree(service.folder / "data/uploads")
    fill(service.folder / "data/uploads")
    cache(service).write_text("first")
    return service


def uploads(service: NodeService) -> Path:
    return service.folder / "data/uploads"


def cache(service: NodeService) -> Path:
    return service.volume(f"{service.name}_cache") / "x"


def use(service: NodeService) -> None:
    """As if somebody had used it since."""
    (uploads(service) / "folder 0/file0").write_text("changed")
    (uploads(service) / "new").write_text("new")
    shutil.rmtree(uploads(service) / "folder 1")
    cache(service).write_text("second")


def both(service: NodeService) -> tuple[object, str]:
    return look(uploads(service)), cache(service).read_text()


def test_everything_comes_back_as_it_was_and_the_same_containers_run(node: Lab) -> None:
    service = a_service(node, "exact")
    before, ran = both(service), service.running()
    wanted = service.save("both", SAVE)
    use(service)

    service.restore(wanted, BACK)

    assert both(service) == before
    assert service.running() == ran


def test_what_it_replaced_is_kept_and_comes_back_once(node: Lab) -> None:
    service = a_service(node, "returns")
    wanted = service.save("both", SAVE)
    use(service)
    used = both(service)
    task = service.restore(wanted, BACK)
    restored = both(service)

    back = service.perform(ExchangeBack(service=service.ref, of_task=task))

    assert both(service) == used != restored
    assert back.started
    with pytest.raises(Conflict, match="already brought back"):
        service.perform(ExchangeBack(service=service.ref, of_task=task))


def test_a_fetch_killed_after_any_note_touches_nothing_and_leaves_nothing(node: Lab) -> None:
    service = a_service(node, "fetched")
    wanted = service.save("both", SAVE)
    use(service)
    old, ran = both(service), service.running()
    fetch, task = service.fetching(wanted, BACK), service.new_task()
    for after in itertools.count(1):
        if not service.perform_and_die(fetch, task, after):
            break
        service.put_right(fetch, task)
        assert not service.lies_aside()
    assert after > 3
    assert (both(service), service.running()) == (old, ran)


def test_an_exchange_killed_after_any_note_leaves_old_or_new_and_a_running_service(
    node: Lab,
) -> None:
    service = a_service(node, "killed")
    new = both(service)
    wanted = service.save("both", SAVE)
    use(service)
    old, ran = both(service), service.running()
    states = []
    for after in itertools.count(1):
        task = service.new_task()
        service.perform(service.fetching(wanted, BACK), task)
        died = service.perform_and_die(service.exchanging(), task, after)
        if died:
            service.put_right(service.exchanging(), task)
        states.append(old_or_new(both(service), old, new))
        assert service.running() == ran
        assert service.perform(service.exchanging(), task).exchanged == BOTH
        assert both(service) == new
        service.perform(ExchangeBack(service=service.ref, of_task=task))
        if not died:
            break
    assert states == sorted(states, reverse=True)
    assert states.count("old") >= 3


def old_or_new(state: object, old: object, new: object) -> str:
    assert state in (old, new)
    return "new" if state == new else "old"
