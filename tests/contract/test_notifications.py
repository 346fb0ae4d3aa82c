"""Messages at real receivers: a webhook and a mail server, in the test's own process."""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes
from email.message import Message as Mail
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiosmtpd.smtp import SMTP, Envelope, Session
from pydantic import SecretStr

from composia.controller.deliver import Courier
from composia.controller.notify import Notifier
from composia.controller.ping import ping
from composia.controller.wording import trial
from composia.errors import Failure
from composia.model.backup import BackupStatus
from composia.model.task import Status
from tests.twins.notify import MemoryWorld, Telling, record


class Webhook:
    """Keeps what it is sent; a status over 399 is that of one that is broken."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.status = 200
        self.answers = asyncio.Event()
        self.answers.set()
        self.port = 0

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._take)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port, reuse_address=True).start()
        self.port = runner.addresses[0][1]
        try:
            yield
        finally:
            await runner.cleanup()

    @property
    def url(self) -> SecretStr:
        return SecretStr(f"json://127.0.0.1:{self.port}/secret-path")

    async def _take(self, request: web.Request) -> web.Response:
        self.paths.append(request.path)
        await self.answers.wait()
        if request.method == "POST" and self.status < 400:
            self.got.append(await request.json())
        return web.Response(status=self.status)


class MailBox:
    """A mail server that keeps what it takes."""

    def __init__(self) -> None:
        self.mails: list[Mail] = []

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        self.mails.append(message_from_bytes(envelope.content, policy=default))
        return "250 taken"


@pytest.fixture
async def courier() -> AsyncIterator[Courier]:
    made = Courier(timeout=60)
    yield made
    made.close()


@pytest.fixture
async def webhook() -> AsyncIterator[Webhook]:
    made = Webhook()
    async with made.serving():
        yield made


@pytest.fixture
async def telling(tmp_path: Path, webhook: Webhook, courier: Courier) -> AsyncIterator[Telling]:
    made = _Real(tmp_path, MemoryWorld(urls=(webhook.url,)), courier)
    await made.start()
    yield made
    await made.stop()


class _Real(Telling):
    def __init__(self, folder: Path, world: MemoryWorld, courier: Courier) -> None:
        super().__init__(folder, world)
        self.real = courier

    async def start(self) -> None:
        await super().start()
        self.notifier = Notifier(self.world, self.store, self.real, clock=lambda: self.now)


async def test_a_failure_and_its_end_reach_a_webhook(telling: Telling, webhook: Webhook) -> None:
    await telling.task(records=[record(BackupStatus.FAILED)])
    await telling.pass_(minutes=1)
    await telling.task(status=Status.SUCCEEDED, records=[record(BackupStatus.SUCCESS, "01B2")])
    await telling.pass_(minutes=1)

    assert [(one["title"], one["type"]) for one in webhook.got] == [
        ("Composia: Backup failed: uploads of my-app on main", "failure"),
        ("Composia: all well again: Backup failed: uploads of my-app on main", "success"),
    ]
    assert "./data is not there" in webhook.got[0]["message"]


async def test_a_message_waits_for_a_receiver_that_is_down_and_for_a_restart(
    telling: Telling, webhook: Webhook
) -> None:
    webhook.status = 500
    await telling.task(records=[record(BackupStatus.FAILED)])
    await telling.pass_(minutes=1)
    [shown] = (await telling.store.unsettled())[0].deliveries
    await telling.stop()
    webhook.status = 200
    await telling.start()

    await telling.pass_(minutes=5)
    await telling.pass_(minutes=5)

    assert shown.error is not None
    assert "500" in shown.error
    assert len(webhook.got) == 1


async def test_a_message_on_its_way_at_the_stop_arrives_once(
    telling: Telling, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("composia.controller.notify.GOODBYE", 60.0)
    webhook.answers.clear()
    await telling.task(records=[record(BackupStatus.FAILED)])
    await telling.notifier.turn()
    telling.now = telling.now.replace(minute=5)
    await telling.notifier.turn()
    stopping = asyncio.create_task(telling.stop())
    await asyncio.sleep(0)
    webhook.answers.set()
    await stopping

    await telling.start()
    await telling.pass_(hours=1)

    assert len(webhook.got) == 1


async def test_a_message_reaches_a_mail_server(courier: Courier) -> None:
    box = MailBox()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(box, loop=loop), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        to = f"mailto://127.0.0.1:{port}?from=composia@example.com&to=me@example.com&mode=insecure"
        await courier.bring(SecretStr(to), trial("urls[0] (mailto)"))

    [mail] = box.mails
    assert mail["subject"] == "Composia: test"
    assert mail["to"] == "me@example.com"
    assert "Nothing is wrong." in mail.as_string()


@pytest.mark.parametrize(
    "address",
    [
        "json://user:secret-word@127.0.0.1:{port}/secret-path?+X-Key=secret-key",
        "json://secret-word@127.0.0.1:1/secret-path",
        "nonsense://secret-word/secret-path",
        "mailto://secret-word:secret-key@127.0.0.1:1?to=secret-path@example.com&mode=insecure",
    ],
)
async def test_no_reason_names_a_part_of_the_address(
    courier: Courier, webhook: Webhook, address: str
) -> None:
    webhook.status = 403
    heard = io.StringIO()
    listener = logging.StreamHandler(heard)
    logging.getLogger().addHandler(listener)

    with pytest.raises(Failure) as failed:
        await courier.bring(SecretStr(address.format(port=webhook.port)), trial("x"))

    assert "secret" not in str(failed.value)
    assert "secret" not in heard.getvalue()
    logging.getLogger().removeHandler(listener)


async def test_a_receiver_that_says_nothing_is_given_up(webhook: Webhook) -> None:
    impatient = Courier(timeout=0.5)
    webhook.answers.clear()

    with pytest.raises(Failure, match=r"within 0\.5 s"):
        await impatient.bring(webhook.url, trial("x"))

    webhook.answers.set()
    impatient.close()


async def test_a_ping_is_a_plain_question_and_a_bad_one_says_so(webhook: Webhook) -> None:
    url = SecretStr(f"http://127.0.0.1:{webhook.port}/uuid")

    arrived = [await ping(url, well=True), await ping(url, well=False)]
    webhook.status = 404
    arrived.append(await ping(url, well=True))

    assert webhook.paths == ["/uuid", "/uuid/fail", "/uuid"]
    assert arrived == [True, True, False]
