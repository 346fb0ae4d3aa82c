"""The agent's end of the channel: dials, says hello, listens, and dials again for ever."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress

import aiohttp
import structlog
from pydantic import TypeAdapter, ValidationError

from composia import __version__
from composia.agent.executor import Executor
from composia.agent.host import Host
from composia.agent.outbox import Outbox
from composia.agent.readings import Readings
from composia.agent.relays import Relays
from composia.errors import Failure
from composia.operations.messages import (
    LARGEST_MESSAGE,
    PROTOCOL,
    Acknowledge,
    Ask,
    Cancel,
    FromController,
    Hello,
    Message,
    Outcome,
    Read,
    Revoke,
    Serve,
    StopReading,
    StopServing,
    Welcome,
)

log = structlog.get_logger()

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0
#: Seconds between two pings; half of it is waited for the answer.
HEARTBEAT = 3.0
#: Seconds for the controller to say Welcome.
WELCOME = 10.0
#: Seconds after which outcomes that were not acknowledged are told again.
REPEAT = 10.0

_controller: TypeAdapter[Message] = TypeAdapter(FromController)


class Channel:
    """One connection after the other."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        address: str,
        node: str,
        outbox: Outbox,
        executor: Executor,
        readings: Readings,
        host: Host,
        relays: Relays,
    ) -> None:
        self._session = session
        self._url = f"{address.rstrip('/')}/api/agent/channel"
        self._node = node
        self._outbox = outbox
        self._executor = executor
        self._readings = readings
        self._host = host
        self._relays = relays

    async def run(self) -> None:
        """Be connected until cancelled."""
        pause = FIRST_PAUSE
        while True:
            try:
                async with await self._dial() as socket:
                    await self._greet(socket)
                    pause = FIRST_PAUSE
                    await self._talk(socket)
                log.info("disconnected", code=socket.close_code)
            except (aiohttp.ClientError, TimeoutError, OSError, Failure) as error:
                log.info("not connected", reason=_reason(error))
            # Not when the agent ends: what cleans up after itself still needs the way.
            self._relays.cut()
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _dial(self) -> aiohttp.ClientWebSocketResponse:
        # A controller that hangs takes the connection and never answers.
        async with asyncio.timeout(WELCOME):
            return await self._session.ws_connect(
                self._url, heartbeat=HEARTBEAT, max_msg_size=LARGEST_MESSAGE
            )

    async def _greet(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        hello = Hello(
            protocol=PROTOCOL,
            node=self._node,
            version=__version__,
            state=self._host.state,
            open_keys=self._executor.open_keys,
            epochs=self._executor.epochs,
        )
        await socket.send_str(hello.model_dump_json())
        async with asyncio.timeout(WELCOME):
            answer = await socket.receive()
        if answer.type is not aiohttp.WSMsgType.TEXT:
            raise Failure(f"the controller refuses this agent: {answer.extra or answer.data}")
        welcome = _parsed(answer.data)
        if not isinstance(welcome, Welcome):
            raise Failure("the controller did not say welcome")
        log.info("connected", controller=welcome.version)
        if welcome.protocol != PROTOCOL:
            log.warning("the controller speaks another protocol: update this agent or it")

    async def _talk(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        writing = asyncio.create_task(self._outbox.empty_into(socket.send_str))
        # It goes first: what is told from here on is told on this connection.
        await asyncio.sleep(0)
        repeating = asyncio.create_task(self._repeat())
        self._relays.connected()
        try:
            async for message in socket:
                if message.type is aiohttp.WSMsgType.TEXT:
                    await self._hear(message.data)
        finally:
            for task in (writing, repeating):
                task.cancel()
            await asyncio.gather(writing, repeating, return_exceptions=True)

    async def _repeat(self) -> None:
        self._outbox.send(self._host.as_told())
        while True:
            self._executor.tell_outcomes()
            await asyncio.sleep(REPEAT)

    async def _hear(self, text: str) -> None:
        try:
            message = _parsed(text)
        except ValidationError as error:
            log.error("a message was not understood", problems=error.error_count())
            self._answer_what_is_not_understood(text)
            return
        if not self._streams(message):
            await self._works(message)

    def _streams(self, message: Message) -> bool:
        """Whether it was about bytes that go beside the channel."""
        match message:
            case Read():
                self._readings.begin(message)
            case StopReading():
                self._readings.stop(message.stream)
            case Serve():
                self._relays.begin(message)
            case StopServing():
                self._relays.stop(message.relay)
            case _:
                return False
        return True

    async def _works(self, message: Message) -> None:
        match message:
            case Ask():
                await self._executor.ask(message)
            case Cancel():
                self._executor.cancel(message.key)
            case Revoke():
                await self._executor.revoke(message.key)
            case Acknowledge():
                self._executor.acknowledge(message.key)

    def _answer_what_is_not_understood(self, text: str) -> None:
        with suppress(ValueError, KeyError, TypeError):
            said = json.loads(text)
            if said["type"] == "ask":
                error = Failure(
                    f"the agent of {self._node} does not understand the question",
                    hint="Run the same version of Composia on controller and nodes.",
                )
                self._outbox.send(Outcome(key=str(said["key"]), error=error.as_told()))


def _parsed(text: str) -> Message:
    return _controller.validate_json(text)


def _reason(error: BaseException) -> str:
    if isinstance(error, aiohttp.WSServerHandshakeError):
        return f"the controller answered {error.status}" + (
            ": is the token right?" if error.status in (401, 403) else ""
        )
    return str(error) or type(error).__name__
