"""The order of writes around a service's fragment: what is there after each thing that fails."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from composia.errors import CommandFailed, Failure, Invalid
from composia.model.service import CaddyRef, ServiceRef
from composia.operations import forwarded, fragments
from composia.operations.caddy import PlaceFragment, ReloadCaddy, RemoveFragment
from composia.operations.forward import EndForward, ForwardHosts
from composia.operations.fragments import settle
from composia.strategies.base import Site
from composia.tools.caddy import Caddy, Changes, Storage
from composia.tools.caddy_config import MARK, SiteAddress
from composia.tools.containers import ContainerInfo
from tests.twins.docker import MemoryDocker
from tests.twins.site import Twins

REF = ServiceRef(
    name="my-app", folder="my-app", project="app", compose_files=("c.yaml",), revision="r1"
)
CADDY = CaddyRef(
    service=REF, compose_service="caddy", config_dir="/etc/caddy", source="Caddyfile.fragment"
)
GONE = CADDY.model_copy(update={"source": None})
SITES = (SiteAddress(host="a.test", port=80, tls=False),)


class MemoryCaddy(Caddy):
    """Real files, and a Caddy that takes what is not told to be refused."""

    def __init__(self, twins: Twins, generated: Path) -> None:
        self.engine = MemoryDocker()
        self.engine.add("caddy", project=twins.compose.project)
        super().__init__(
            twins.compose,
            self.engine,
            compose_service="caddy",
            config_dir="/etc/caddy",
            generated=generated,
            scratch=generated.parent,
            turn=asyncio.Lock(),
            note=twins.notes.note,
        )
        self.asked: list[str] = []
        self.refuses = ""
        #: How many looks at it find it down, until the engine has started it.
        self.down_for = 0
        self.disk_is_full = False
        #: How many writes it is until one that goes on when the test lets it.
        self.slow_write = 0
        self.writing = threading.Event()
        self.may_write = threading.Event()

    async def check(self, changes: Changes) -> None:
        self.asked.append("check")
        if self.refuses == "ask":
            raise CommandFailed("asking Caddy about its configuration failed: no such image")
        if self.refuses == "check":
            raise Invalid("Caddy refuses the configuration: unrecognized directive")

    async def container(self) -> ContainerInfo | None:
        if self.down_for:
            self.down_for -= 1
            self.engine.change("caddy", state="exited" if self.down_for else "running")
        return await super().container()

    def is_stopped(self) -> None:
        """By somebody, and nothing starts it again."""
        self.engine.change("caddy", state="exited", restart_policy="no")

    async def reload(self) -> None:
        self.asked.append("reload")
        if self.refuses == "reload":
            raise CommandFailed("Caddy was not reloaded: port taken")

    async def storage(self) -> Storage | None:
        return None

    def replace(self, name: str, content: bytes | None) -> None:
        if self.disk_is_full:
            raise OSError(28, "No space left on device")
        self.slow_write -= 1
        if self.slow_write == 0:
            self.writing.set()
            assert self.may_write.wait(30)
        super().replace(name, content)


class World:
    """A service with a fragment."""

    def __init__(self, tmp_path: Path) -> None:
        self.twins = Twins(tmp_path / "services" / "my-app")
        self.twins.folder.mkdir(parents=True)
        self.caddy = MemoryCaddy(self.twins, tmp_path / "generated")
        self.site: Site = replace(self.twins.site, caddy=self.caddy)

    def says(self, text: str) -> None:
        (self.twins.folder / "Caddyfile.fragment").write_text(text)

    async def place(self, text: str, **more: Any) -> Any:
        self.says(text)
        return await PlaceFragment(service=REF, caddy=CADDY, **more).perform(self.site)

    async def forward(self, until: datetime | None = None, *, waits: bool = True) -> None:
        operation = ForwardHosts(
            service=REF,
            caddy=CADDY,
            sites=SITES,
            to="10.0.0.2",
            until=(until or datetime.now(UTC)) if waits else None,
        )
        await operation.perform(self.site)

    async def end(self) -> bool:
        return (await EndForward(service=REF, caddy=CADDY).perform(self.site)).changed

    @property
    def there(self) -> str | None:
        content = self.caddy.read("my-app.caddy")
        return content.decode() if content is not None else None

    @property
    def forwards(self) -> bool:
        return forwarded.read(self.site.state) is not None


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_a_fragment_is_checked_before_it_is_put_and_loaded_afterwards(world: World) -> None:
    assert (await world.place("one")).changed
    assert world.there == "one"
    assert world.caddy.asked == ["check", "reload"]
    assert world.twins.notes.names == ["placing_fragment", "fragment_placed"]


async def test_what_caddy_has_already_is_not_told_again(world: World) -> None:
    await world.place("one")
    world.caddy.asked.clear()
    assert not (await world.place("one")).changed
    assert not (await settle(world.site, CADDY)).changed
    assert world.caddy.asked == []


async def test_a_service_that_never_had_a_fragment_costs_nothing(world: World) -> None:
    assert not (await settle(world.site, GONE)).changed
    assert world.caddy.asked == []


@pytest.mark.parametrize("refuses", ["check", "reload"])
async def test_what_caddy_refuses_leaves_the_old_fragment(world: World, refuses: str) -> None:
    await world.place("one")
    world.caddy.refuses = refuses
    with pytest.raises((Invalid, CommandFailed)):
        await world.place("two")
    assert world.there == "one"
    world.caddy.asked.clear()
    assert not (await world.place("one")).changed
    assert world.caddy.asked == []


async def test_nothing_but_fragments_ever_lies_in_the_imported_folder(world: World) -> None:
    await world.place("one")
    world.caddy.refuses = "reload"
    with pytest.raises(CommandFailed):
        await world.place("two")
    assert [path.name for path in world.caddy.generated.iterdir()] == ["my-app.caddy"]


async def test_a_fragment_that_was_put_and_not_loaded_is_loaded_the_next_time(world: World) -> None:
    await world.place("one")
    world.caddy.replace("my-app.caddy", b"two")
    await world.place("two")
    assert world.caddy.asked[-1] == "reload"


@pytest.mark.parametrize(
    ("begin", "slow_write", "then"),
    [
        (lambda world: world.place("two"), 1, "two"),
        (lambda world: world.place("two"), 2, "one"),
        (lambda world: world.end(), 1, None),
    ],
    ids=["put", "put_back", "end_of_a_forward"],
)
async def test_caddys_turn_lasts_until_one_that_is_cancelled_writes_no_more(
    world: World,
    begin: Callable[[World], Coroutine[Any, Any, Any]],
    slow_write: int,
    then: str | None,
) -> None:
    await (world.place("one") if then else world.forward())
    world.caddy.slow_write = slow_write
    if slow_write > 1:
        world.caddy.refuses = "reload"
    working = asyncio.create_task(begin(world))
    assert await asyncio.to_thread(world.caddy.writing.wait, 30)
    working.cancel()
    await asyncio.sleep(0.05)
    assert world.caddy.turn.locked()
    world.caddy.may_write.set()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert not world.caddy.turn.locked()
    assert world.there == then


async def test_while_caddy_is_down_the_fragment_waits_for_it_and_a_move_fails(world: World) -> None:
    world.caddy.is_stopped()
    world.says("one")
    placed = await settle(world.site, CADDY)
    assert "does not run" in placed.warnings[0]
    assert world.there == "one"
    with pytest.raises(Failure, match="does not run"):
        await world.place("two")
    with pytest.raises(Failure, match="does not run"):
        await ReloadCaddy(service=REF, caddy=CADDY).perform(world.site)


@pytest.mark.parametrize("more", [{}, {"rehearse": True}], ids=["placed", "rehearsed"])
async def test_a_move_waits_for_a_caddy_that_the_engine_is_to_start(
    world: World, more: dict[str, Any]
) -> None:
    world.caddy.down_for = 3
    await world.place("one", **more)
    assert world.caddy.asked == ["check", *([] if more else ["reload"])]


async def test_names_wait_for_no_caddy_on_the_source_before_its_forward_ends(world: World) -> None:
    world.caddy.down_for = 3
    with pytest.raises(Failure, match="does not run"):
        await world.forward(waits=False)
    assert not world.forwards
    await world.forward()
    assert world.forwards


async def test_what_nobody_could_check_is_not_put(world: World) -> None:
    world.caddy.refuses = "ask"
    world.caddy.is_stopped()
    world.says("one")
    assert "no such image" in (await settle(world.site, CADDY)).warnings[0]
    assert world.there is None
    world.caddy.engine.starts_by_itself("caddy")
    with pytest.raises(CommandFailed, match="no such image"):
        await settle(world.site, CADDY)


async def test_a_node_without_caddy_is_a_warning_only_for_who_has_a_fragment(world: World) -> None:
    site = replace(world.site, caddy=None)
    assert "generated_dir" in (await settle(site, CADDY)).warnings[0]
    assert (await settle(site, GONE)).warnings == ()


async def test_a_fragment_that_is_missing_is_named(world: World) -> None:
    with pytest.raises(Failure, match=r"\./Caddyfile\.fragment"):
        await settle(world.site, CADDY)


async def test_a_removal_is_loaded_by_the_reload_and_known_until_then(world: World) -> None:
    await world.place("one")
    assert (await RemoveFragment(service=REF, caddy=CADDY).perform(world.site)).changed
    assert (world.there, world.caddy.asked) == (None, ["check", "reload"])
    await ReloadCaddy(service=REF, caddy=CADDY).perform(world.site)
    world.caddy.asked.clear()
    assert not (await settle(world.site, GONE)).changed
    assert world.caddy.asked == []


async def test_a_rehearsal_touches_nothing_and_saves_the_check(world: World) -> None:
    await world.place("one", rehearse=True)
    assert (world.there, world.caddy.asked) == (None, ["check"])
    await world.place("one")
    assert world.caddy.asked == ["check", "reload"]


async def test_a_rehearsal_counts_no_more_when_another_fragment_has_changed(world: World) -> None:
    await world.place("one", rehearse=True)
    world.caddy.replace("other.caddy", b"new")
    await world.place("one")
    assert world.caddy.asked == ["check", "check", "reload"]


async def test_a_forward_has_its_end_on_the_disk_before_it_begins(world: World) -> None:
    world.caddy.disk_is_full = True
    with pytest.raises(Failure, match="No space left"):
        await world.forward()
    assert world.forwards
    assert [one.to for one in forwarded.due(world.site.state.parent, datetime.now(UTC))] == [
        "10.0.0.2"
    ]


async def test_the_end_of_a_forward_takes_nothing_but_the_forward(world: World) -> None:
    await world.forward()
    assert str(world.there).startswith(MARK)
    assert await world.end()
    assert (world.there, world.forwards) == (None, False)
    await world.place("mine")
    assert not await world.end()
    assert world.there == "mine"


async def test_an_end_that_caddy_did_not_hear_of_is_told_again(world: World) -> None:
    await world.forward()
    world.caddy.refuses = "reload"
    with pytest.raises(CommandFailed):
        await world.end()
    assert world.forwards
    world.caddy.refuses, world.caddy.asked = "", []
    await world.end()
    assert (world.caddy.asked, world.forwards) == (["reload"], False)


async def test_a_forward_that_caddy_refuses_brings_back_what_was_there(world: World) -> None:
    await world.place("one")
    world.caddy.refuses = "reload"
    with pytest.raises(CommandFailed):
        await world.forward()
    assert (world.there, world.forwards) == ("one", False)


async def test_a_placement_takes_the_place_of_a_forward(world: World) -> None:
    await world.forward()
    await world.place("one")
    assert (world.there, world.forwards) == ("one", False)


async def trusting(world: World) -> Path:
    """A forward that trusts a file."""
    await world.forward()
    file = world.site.state / "my-app.0123.pem"
    file.write_text("a root")
    was = forwarded.read(world.site.state)
    assert was
    forwarded.keep(world.site.state, was.model_copy(update={"trusted": file}))
    return file


async def test_a_placement_that_is_not_loaded_leaves_the_forward_with_end_and_trust(
    world: World,
) -> None:
    trusted = await trusting(world)
    world.caddy.refuses = "reload"
    with pytest.raises(CommandFailed):
        await world.place("one")
    assert str(world.there).startswith(MARK)
    assert (world.forwards, trusted.exists()) == (True, True)
    world.caddy.refuses = ""
    assert await world.end()
    assert (world.there, world.forwards, trusted.exists()) == (None, False, False)


async def test_a_placement_that_is_loaded_leaves_nothing_of_the_forward(world: World) -> None:
    trusted = await trusting(world)
    await world.place("one")
    assert (world.forwards, trusted.exists()) == (False, False)


async def test_a_forward_that_is_taken_away_leaves_nothing_to_end(world: World) -> None:
    trusted = await trusting(world)
    assert (await RemoveFragment(service=REF, caddy=CADDY).perform(world.site)).changed
    assert (world.there, world.forwards, trusted.exists()) == (None, False, False)


async def test_a_placement_for_when_caddy_starts_leaves_nothing_to_end(world: World) -> None:
    trusted = await trusting(world)
    world.caddy.is_stopped()
    world.says("one")
    await settle(world.site, CADDY)
    assert (world.there, world.forwards, trusted.exists()) == ("one", False, False)


class Killed(BaseException):
    """The agent, at once: nothing of it goes on."""


@pytest.mark.parametrize("by", ["placement", "forward"])
@pytest.mark.parametrize("at", ["placing_fragment", "fragment_placed", "reload"])
async def test_whenever_it_is_killed_no_forward_is_without_its_end(
    world: World, monkeypatch: pytest.MonkeyPatch, by: str, at: str
) -> None:
    async def dies(*_: Any, **__: Any) -> None:
        raise Killed

    async def note(name: str, **facts: Any) -> None:
        if name == at:
            raise Killed

    if by == "placement":
        trusted = await trusting(world)
    with monkeypatch.context() as patched:
        patched.setattr(world.twins.notes, "note", note)
        if at == "reload":
            patched.setattr(world.caddy, "reload", dies)
        with pytest.raises(Killed):
            await (world.place("one") if by == "placement" else world.forward())
    if str(world.there).startswith(MARK):
        assert world.forwards
        assert by == "forward" or trusted.exists()
    # What the agent does when the time is over.
    for one in forwarded.due(world.site.state.parent, datetime.now(UTC)):
        assert one.service == REF
        await world.end()
    assert not str(world.there).startswith(MARK)
    assert not world.forwards


async def test_a_rehearsal_for_a_caddy_that_is_down_fails_before_anything_stops(
    world: World,
) -> None:
    world.caddy.is_stopped()
    with pytest.raises(Failure, match="does not run"):
        await world.place("one", rehearse=True)
    await world.place("one", rehearse=True, must_run=False)
    assert world.caddy.asked == ["check"]


@pytest.mark.parametrize("link", ["Caddyfile.fragment", "sub"])
async def test_a_link_is_no_fragment(tmp_path: Path, link: str) -> None:
    world = World(tmp_path)
    (tmp_path / "host").mkdir()
    (tmp_path / "host/Caddyfile.fragment").write_text("secret")
    to = tmp_path / "host" / ("Caddyfile.fragment" if link != "sub" else "")
    (world.twins.folder / link).symlink_to(to)
    source = "sub/Caddyfile.fragment" if link == "sub" else link
    caddy = CADDY.model_copy(update={"source": source})

    with pytest.raises(Failure, match="cannot be read") as raised:
        await PlaceFragment(service=REF, caddy=caddy).perform(world.site)

    assert "link" in str(raised.value.hint)
    assert (world.there, world.caddy.asked) == (None, [])


async def test_what_is_no_file_or_too_large_is_no_fragment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)
    place = world.twins.folder / "Caddyfile.fragment"
    for make, remove in ((os.mkfifo, os.unlink), (os.mkdir, os.rmdir)):
        make(place)
        with pytest.raises(Failure, match="for Caddy: it is no file"):
            await PlaceFragment(service=REF, caddy=CADDY).perform(world.site)
        remove(place)
    monkeypatch.setattr(fragments, "LARGEST", 5)
    await world.place("12345")
    with pytest.raises(Failure, match="too large"):
        await world.place("123456")
    assert world.there == "12345"
