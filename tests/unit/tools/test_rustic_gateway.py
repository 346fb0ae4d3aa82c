"""How rustic is started on a node without the repository."""

from __future__ import annotations

import tomllib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from composia.errors import Conflict, Invalid
from composia.tools.compose import ComposeConfig, ComposeService
from composia.tools.rustic_container import Mount
from composia.tools.rustic_gateway import GatewayContainer, GatewayEngine
from composia.tools.rustic_profile import Mounts, Profile
from composia.tools.rustic_service import Prepared
from composia.tools.rustic_way import Way, way_to
from tests.twins.docker import MemoryDocker
from tests.twins.shell import Answer, MemoryShell

PASSWORD = "planted-password"  # planted, to be looked for
ADDRESS = "rest:http://composia:planted-token@127.0.0.1:1/"


class MemoryGateway:
    """A way that is known."""

    def __init__(self, entrypoint: tuple[str, ...] | None = None) -> None:
        self.entrypoint = entrypoint
        self.forgotten: list[str] = []
        self.open = 0

    async def way(self) -> Way:
        return Way(
            image="rustic:latest",
            entrypoint=self.entrypoint,
            program=("rustic",),
            profile="",
            globs=(),
            password=SecretStr(PASSWORD),
        )

    async def profile(self) -> Path:
        return Path("/state/profile.toml")

    async def certificates(self) -> Path:
        return Path("/state/nobody.pem")

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[str]:
        self.open += 1
        yield ADDRESS
        self.open -= 1

    async def forget(self, ids: Sequence[str]) -> None:
        self.forgotten += ids


async def note(name: str, **facts: Any) -> None:
    return


def container(shell: MemoryShell, gateway: MemoryGateway | None = None) -> GatewayContainer:
    return GatewayContainer(
        gateway or MemoryGateway(), MemoryDocker(), shell, origin="01TASK", note=note
    )


async def test_neither_password_nor_token_is_in_an_argument() -> None:
    shell = MemoryShell()

    await container(shell).run("snapshots")

    (command,) = shell.commands
    assert PASSWORD not in str(command)
    assert "planted-token" not in str(command)
    assert command.env == {"RUSTIC_REPOSITORY": ADDRESS, "RUSTIC_PASSWORD": PASSWORD}
    assert command.argv[:4] == ("docker", "run", "--rm", "-i")


async def test_an_address_in_a_complaint_has_no_token() -> None:
    said = b"error sending request for url (http://composia:planted-token@127.0.0.1:1/config)"
    shell = MemoryShell(lambda _: Answer(stderr=said, code=1))

    finished = await container(shell).run("snapshots")

    assert "planted-token" not in finished.complaint
    assert "127.0.0.1:1/config" in finished.complaint


async def test_the_way_is_closed_when_rustic_has_ended() -> None:
    gateway = MemoryGateway()

    await container(MemoryShell(), gateway).run("snapshots")

    assert gateway.open == 0


async def test_a_path_with_commas_and_quotes_is_one_mount() -> None:
    shell = MemoryShell()
    mount = Mount(Path('/data/a,b "c"'), "/composia/files/x", True)

    await container(shell).run("backup", mounts=[mount])

    wanted = 'type=bind,"source=/data/a,b ""c""",target=/composia/files/x,readonly'
    assert wanted in shell.commands[0].argv


@pytest.mark.parametrize(
    ("entrypoint", "option", "rest"),
    [((), "", ()), (("/init", "--", "x"), "/init", ("--", "x"))],
)
async def test_the_services_entry_point_is_kept(
    entrypoint: tuple[str, ...], option: str, rest: tuple[str, ...]
) -> None:
    shell = MemoryShell()

    await container(shell, MemoryGateway(entrypoint)).run("snapshots")

    argv = shell.commands[0].argv
    place = argv.index("--entrypoint")
    assert argv[place + 1] == option
    image = argv.index("rustic:latest")
    assert argv[image + 1 : image + 1 + len(rest)] == rest


async def test_a_repository_is_never_made_from_there() -> None:
    engine = GatewayEngine(MemoryGateway(), MemoryDocker(), MemoryShell(), origin="x", note=note)

    with pytest.raises(Conflict, match="cannot make one"):
        await engine.init()


def prepared(profile: dict[str, Any], environment: dict[str, str | None] | None = None) -> Prepared:
    service = ComposeService(
        name="rustic", image="rustic", entrypoint=None, command=None,
        environment=environment or {}, mounts=(), user=None,
    )  # fmt: skip
    config = ComposeConfig(services={}, volumes={})

    async def no_volume(name: str) -> Path | None:
        return None

    mounts = Mounts(config, service, no_volume)
    found = Profile("/config/rustic.toml", "", (profile,))
    return Prepared(config, service, "rustic", mounts, found, ("rustic",), ())


async def test_of_the_profile_only_what_is_no_secret_goes_along() -> None:
    profile = {
        "repository": {"repository": "/repo", "password": PASSWORD},
        "backup": {"exclude-if-present": [".nobackup"], "globs": ["!*.tmp"]},
        "global": {"env": {"AWS_SECRET_ACCESS_KEY": "x"}},
    }

    way = await way_to(prepared(profile))

    sent = tomllib.loads(way.profile)
    assert sent["backup"] == profile["backup"]
    assert set(sent["repository"]) == {"options"}
    assert "global" not in sent
    assert way.password.get_secret_value() == PASSWORD
    assert PASSWORD not in repr(way)


@pytest.mark.parametrize(
    ("repository", "environment"),
    [
        ({"password": "${SECRET}"}, {"SECRET": PASSWORD, "RUSTIC_PROFILE_SUBSTITUTE_ENV": "true"}),
        ({}, {"RUSTIC_PASSWORD": PASSWORD}),
    ],
)
async def test_a_password_in_the_environment_is_found(
    repository: dict[str, str], environment: dict[str, str | None]
) -> None:
    way = await way_to(prepared({"repository": repository}, environment))

    assert way.password.get_secret_value() == PASSWORD


async def test_a_password_that_only_the_container_knows_is_refused_by_name() -> None:
    profile = {"repository": {"repository": "/repo", "password-command": "pass show x"}}

    with pytest.raises(Invalid, match=r"/config/rustic\.toml names no password") as caught:
        await way_to(prepared(profile))

    assert "password-file" in str(caught.value.hint)
