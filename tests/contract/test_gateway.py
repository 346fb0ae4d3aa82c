"""The way to the repository for nodes without it, used by rustic's and restic's own clients."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from tests.contract.gateway_world import (
    KEY,
    PASSWORD,
    GatewayWorld,
    ProgramFailed,
    ended,
    gateway_world,
)
from tests.contract.repository import small_disk
from tests.lab import keys, rustic
from tests.waiting import until

V2 = {"Accept": "application/vnd.x.restic.rest.v2"}
BODY = b"some content"
NAME = hashlib.sha256(BODY).hexdigest()

pytestmark = pytest.mark.skipif(
    rustic.found() is None or shutil.which("restic") is None, reason="bin/setup brings them"
)


@pytest.fixture
async def bare(state_dir: Path) -> AsyncIterator[GatewayWorld]:
    """Nothing in the folder yet."""
    async with gateway_world(state_dir) as world:
        yield world


@pytest.fixture
async def world(bare: GatewayWorld, template: Path) -> GatewayWorld:
    """A repository that is there: a copy of one that was made once."""
    if not (template / "config").exists():
        await make_repository(template)
    shutil.copytree(template, bare.repository, dirs_exist_ok=True)
    return bare


async def make_repository(folder: Path) -> None:
    env = {**os.environ, "RUSTIC_PASSWORD": PASSWORD, "RUSTIC_REPOSITORY": str(folder)}
    program = rustic.found()
    assert program
    made = await asyncio.create_subprocess_exec(
        str(program), "init", env=env, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    await ended(made)
    keys.lighten(folder, PASSWORD)


@pytest.fixture
async def http(bare: GatewayWorld) -> AsyncIterator[aiohttp.ClientSession]:
    """Somebody on the node who has the token."""
    async with aiohttp.ClientSession() as session:
        yield session


async def status(session: aiohttp.ClientSession, method: str, url: str, **more: object) -> int:
    async with session.request(method, url, **more) as answer:  # type: ignore[arg-type]
        await answer.read()
        return answer.status


# The clients.


async def test_rustic_saves_and_brings_back(world: GatewayWorld, tmp_path: Path) -> None:
    data = world.data()
    await world.rustic("backup", str(data))

    await world.rustic("restore", f"latest:{data}", str(tmp_path / "back"))
    await world.rustic("check", "--read-data")

    back = {path.name: path.read_bytes() for path in (tmp_path / "back").iterdir()}
    assert back == {path.name: path.read_bytes() for path in data.iterdir()}


async def test_restic_saves_brings_back_and_checks(world: GatewayWorld, tmp_path: Path) -> None:
    data = world.data()
    await world.restic("backup", str(data))

    await world.restic("restore", "latest", "--target", str(tmp_path / "back"))
    said = await world.restic("check", "--read-data")

    back = tmp_path / "back" / str(data).lstrip("/")
    assert {path.name: path.read_bytes() for path in back.iterdir()} == {
        path.name: path.read_bytes() for path in data.iterdir()
    }
    assert "no errors were found" in said


async def test_many_clients_at_once(world: GatewayWorld) -> None:
    folders = [world.data(f"data{number}") for number in range(6)]

    await asyncio.gather(
        *(world.restic("backup", str(folder)) for folder in folders[:3]),
        *(world.rustic("backup", str(folder)) for folder in folders[3:]),
    )

    assert len(list((world.repository / "snapshots").iterdir())) == 6
    await world.rustic("check", "--read-data")


async def test_no_repository_is_made_from_there(bare: GatewayWorld) -> None:
    with pytest.raises(ProgramFailed):
        await bare.restic("init")
    with pytest.raises(ProgramFailed):
        await bare.rustic("init")

    assert not (bare.repository / "config").exists()


async def test_nothing_is_forgotten_from_there(world: GatewayWorld) -> None:
    await world.rustic("backup", str(world.data()))
    before = world.objects()

    client = await world.restic_begun("forget", "--prune", "latest")
    assert client.stdout
    # It would go on trying for most of a minute.
    await until_said(client.stdout, b"403")
    client.kill()
    await client.wait()

    assert before <= world.objects()


async def until_said(stream: asyncio.StreamReader, word: bytes) -> None:
    """Wait for a word of a program; fails where it ends without it."""
    async with asyncio.timeout(60):
        while line := await stream.readline():
            if word in line:
                return
    raise AssertionError(f"it never said {word!r}")


async def test_a_client_that_is_killed_leaves_no_half_object(world: GatewayWorld) -> None:
    client = await world.restic_begun("backup", str(world.data(size=20_000_000)))
    await until(lambda: any(".composia" in path for path in world.objects()), 60)

    client.kill()
    await client.wait()

    await until(lambda: not any(".composia" in path for path in world.objects()))
    for path in world.repository.glob("data/*/*"):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name


async def test_the_holding_agent_killed_meanwhile_is_waited_for(world: GatewayWorld) -> None:
    client = asyncio.create_task(world.rustic("backup", str(world.data(size=20_000_000))))
    await until(lambda: any(".composia" in path for path in world.objects()), 60)

    await world.main.kill()
    await until(lambda: not world.nodes.online("main"))
    await world.main.connect()
    await client

    await world.rustic("check", "--read-data")


async def test_a_repository_that_is_away_for_a_while_is_opened_later(world: GatewayWorld) -> None:
    await world.main.kill()
    await until(lambda: not world.nodes.online("main"))
    opening = asyncio.create_task(world.rustic("snapshots"))
    done, _ = await asyncio.wait({opening}, timeout=1.5)

    await world.main.connect()

    assert not done
    await opening


async def test_an_answer_that_breaks_off_is_asked_for_again_at_once(
    bare: GatewayWorld, http: aiohttp.ClientSession
) -> None:
    url = f"{bare.http}data/{NAME}"
    await status(http, "POST", url, data=BODY)
    bare.main.holder.failing = 1

    async with asyncio.timeout(30):
        assert await status(http, "GET", url) == 200


# The protocol.


async def test_an_object_is_kept_and_read(bare: GatewayWorld, http: aiohttp.ClientSession) -> None:
    url = f"{bare.http}data/{NAME}"
    assert await status(http, "POST", url, data=BODY) == 200

    async with http.get(url) as answer:
        assert (answer.status, await answer.read()) == (200, BODY)
    async with http.head(url) as answer:
        assert (answer.status, answer.content_length) == (200, len(BODY))
    kept = bare.repository / "data" / NAME[:2] / NAME
    assert kept.read_bytes() == BODY


async def test_a_part_of_an_object_is_206(bare: GatewayWorld, http: aiohttp.ClientSession) -> None:
    url = f"{bare.http}data/{NAME}"
    await status(http, "POST", url, data=BODY)

    async with http.get(url, headers={"Range": "bytes=2-5"}) as answer:
        assert (answer.status, await answer.read()) == (206, BODY[2:6])
        assert answer.headers["Content-Range"] == f"bytes 2-5/{len(BODY)}"
    assert await status(http, "GET", url, headers={"Range": "bytes=99-100"}) == 416


async def test_lists_tell_names_or_names_and_sizes(
    bare: GatewayWorld, http: aiohttp.ClientSession
) -> None:
    await status(http, "POST", f"{bare.http}data/{NAME}", data=BODY)

    async with http.get(f"{bare.http}data/") as answer:
        assert await answer.json(content_type=None) == [NAME]
    async with http.get(f"{bare.http}data/", headers=V2) as answer:
        assert answer.content_type == V2["Accept"]
        assert await answer.json(content_type=None) == [{"name": NAME, "size": len(BODY)}]


async def test_the_same_object_again_is_fine(
    bare: GatewayWorld, http: aiohttp.ClientSession
) -> None:
    url = f"{bare.http}index/{NAME}"
    await status(http, "POST", url, data=BODY)

    assert await status(http, "POST", url, data=BODY) == 200


async def test_the_first_objects_may_come_at_once(
    bare: GatewayWorld, http: aiohttp.ClientSession
) -> None:
    bodies = {hashlib.sha256(body).hexdigest(): body for body in map(os.urandom, range(1, 33))}

    found = await asyncio.gather(
        *(status(http, "POST", f"{bare.http}data/{name}", data=bodies[name]) for name in bodies),
        *(status(http, "POST", f"{bare.http}data/{name}", data=bodies[name]) for name in bodies),
    )

    assert set(found) == {200}
    kept = {path.name: path.read_bytes() for path in bare.repository.glob("data/*/*")}
    assert kept == bodies


# Hostile requests.


async def test_nothing_is_deleted(bare: GatewayWorld, http: aiohttp.ClientSession) -> None:
    url = f"{bare.http}snapshots/{NAME}"
    await status(http, "POST", url, data=BODY)

    assert await status(http, "DELETE", url) == 403

    assert (bare.repository / "snapshots" / NAME).read_bytes() == BODY


async def test_nothing_is_overwritten(bare: GatewayWorld, http: aiohttp.ClientSession) -> None:
    url = f"{bare.http}snapshots/{NAME}"
    await status(http, "POST", url, data=BODY)

    assert await status(http, "POST", url, data=b"other content") == 403

    assert (bare.repository / "snapshots" / NAME).read_bytes() == BODY


async def test_content_that_is_not_what_its_name_says_is_refused(
    bare: GatewayWorld, http: aiohttp.ClientSession
) -> None:
    assert await status(http, "POST", f"{bare.http}data/{NAME}", data=b"other") == 400

    assert bare.objects() == set()


@pytest.mark.parametrize(
    "path",
    [
        "data/../../outside",
        "data/%2e%2e%2f%2e%2e%2foutside",
        "..%2foutside",
        "data//etc/passwd",
        f"data/{NAME.upper()}",
        f"data/{NAME}x",
        f"data/{'a' * 100_00}",
        f"elsewhere/{NAME}",
        "data/%00",
        "../outside",
    ],
)
async def test_names_that_are_none_are_not_found(
    bare: GatewayWorld, http: aiohttp.ClientSession, path: str
) -> None:
    (bare.repository.parent / "outside").write_bytes(BODY)
    url = URL(f"{bare.http}{path}", encoded=True)

    found = [await status(http, "GET", url), await status(http, "POST", url, data=BODY)]  # type: ignore[arg-type]

    assert set(found) <= {400, 403, 404}
    assert bare.objects() == set()


async def test_links_are_not_followed(
    bare: GatewayWorld, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_bytes(BODY)
    (tmp_path / "elsewhere").mkdir()
    (bare.repository / "keys").mkdir()
    (bare.repository / "keys" / NAME).symlink_to(tmp_path / "secret")
    (bare.repository / "index").symlink_to(tmp_path / "elsewhere")

    read = await status(http, "GET", f"{bare.http}keys/{NAME}")
    written = await status(http, "POST", f"{bare.http}index/{NAME}", data=BODY)
    over = await status(http, "POST", f"{bare.http}keys/{NAME}", data=BODY)

    assert (read, written, over) == (404, 403, 403)
    assert list((tmp_path / "elsewhere").iterdir()) == []


async def test_without_the_token_nothing_is_answered(
    bare: GatewayWorld, http: aiohttp.ClientSession
) -> None:
    place = bare.http.partition("@")[2]

    assert await status(http, "GET", f"http://{place}config") == 401
    assert await status(http, "GET", f"http://composia:wrong@{place}config") == 401


async def test_a_node_that_is_asked_nothing_reaches_nothing(bare: GatewayWorld) -> None:
    url = f"{bare.url}/api/agent/repository/data/"
    headers = {"Authorization": "Bearer edge-token"}
    async with aiohttp.ClientSession(headers=headers) as session:
        assert await status(session, "GET", f"{url}?key={KEY}") == 200
        # Not 403, which is final: a controller that was restarted is about to ask the same again.
        assert await status(session, "GET", f"{url}?key=another") == 503
        assert await status(session, "DELETE", f"{url}{NAME}?key={KEY}") == 403


async def test_a_full_disk_can_be_tried_again_and_leaves_nothing(
    bare: GatewayWorld, http: aiohttp.ClientSession
) -> None:
    body = os.urandom(4 * 1024 * 1024)
    url = f"{bare.http}data/{hashlib.sha256(body).hexdigest()}"
    with small_disk(bare.repository):
        answered = await status(http, "POST", url, data=BytesIO(body))
        left = bare.objects()

    assert answered == 507
    assert left == set()
