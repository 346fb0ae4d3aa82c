"""What agent and controller say to each other on the channel, one JSON object a message.

An agent dials `GET {controller}/api/agent/channel` (WebSocket, bearer token of the node). Bulk goes
by plain HTTP beside it: see `docs/design.md`, "The channel".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from composia.errors import Failure, Told
from composia.model.node import NodeState
from composia.model.service import RepositoryRef
from composia.operations import AnyOperation, AnyReading

#: Grows with every change that an older peer would misunderstand.
PROTOCOL = 5
#: Bytes of one message. A longer one ends the connection, and every one after it in the same way.
LARGEST_MESSAGE = 16 * 1024 * 1024


class Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    def fits(self) -> bool:
        """Whether the other end takes a message of this length."""
        return len(self.model_dump_json().encode()) <= LARGEST_MESSAGE


# Agent to controller.


class Hello(Message):
    """First on a connection; the controller answers Welcome or closes with a reason."""

    type: Literal["hello"] = "hello"
    protocol: int
    node: str
    version: str
    state: NodeState
    #: Keys whose outcome the agent still holds or is working on.
    open_keys: tuple[str, ...] = ()
    #: How many times each service has been placed anew, as far as this node was asked about it.
    epochs: Mapping[str, int] = {}


class StateChanged(Message):
    """The node as it is now; sent within a second of any change."""

    type: Literal["state"] = "state"
    state: NodeState


class Progress(Message):
    type: Literal["progress"] = "progress"
    key: str
    bytes_done: int
    bytes_total: int | None = None


class Noted(Message):
    """The operation wrote a note in its journal: a moment of interest."""

    type: Literal["noted"] = "noted"
    key: str
    name: str


class LogLine(Message):
    type: Literal["log"] = "log"
    key: str
    line: str


class Outcome(Message):
    """How a question ended: exactly one of result and error. Repeated until acknowledged."""

    type: Literal["outcome"] = "outcome"
    key: str
    result: dict[str, Any] | None = None
    error: Told | None = None

    def fitting(self) -> Outcome:
        """The same; where it is too long to be told, that it is."""
        if self.fits():
            return self
        error = Failure(
            f"what came of it is too long to be told: more than {LARGEST_MESSAGE >> 20} MiB",
            hint="Let the task do less at once. What it did on the node is done.",
        )
        return Outcome(key=self.key, error=error.as_told())


class ReadingFailed(Message):
    """A reading could not be begun or ended before its end."""

    type: Literal["reading_failed"] = "reading_failed"
    stream: str
    error: Told


class ServingFailed(Message):
    """A call for the repository is not answered, or not to its end."""

    type: Literal["serving_failed"] = "serving_failed"
    relay: str


# Controller to agent.


class Welcome(Message):
    type: Literal["welcome"] = "welcome"
    protocol: int
    version: str


class Ask(Message):
    """A question. Asked again under the same key, the first outcome is the answer."""

    type: Literal["ask"] = "ask"
    key: str
    #: The task and the step's name, for logs and failure points.
    task: str
    step: str
    operation: AnyOperation


class Cancel(Message):
    """Stop as soon as it is safe; the outcome is Cancelled, or what it was by then."""

    type: Literal["cancel"] = "cancel"
    key: str


class Revoke(Message):
    """End it if it runs; store a tombstone if it never came. The agent answers with its outcome."""

    type: Literal["revoke"] = "revoke"
    key: str


class Read(Message):
    """Send what the reading reads to `POST /api/agent/streams/{stream}`. Not kept, not repeated."""

    type: Literal["read"] = "read"
    stream: str
    reading: AnyReading


class StopReading(Message):
    """Nobody listens any more."""

    type: Literal["stop_reading"] = "stop_reading"
    stream: str


#: Of a listing that tells sizes, in restic's REST protocol.
RESTIC_V2 = "application/vnd.x.restic.rest.v2"


class ObjectCall(Message):
    """One request for the repository, in restic's REST protocol."""

    method: str
    #: `config`, `data/` or `data/<64 hex>`, without a slash before it.
    path: str
    #: The header Range.
    range: str | None = None
    #: Whether a listing tells sizes too: version 2 of the protocol.
    wants_sizes: bool = False


class WayCall(Message):
    """How rustic is run for this repository elsewhere: answered by `Way` as JSON."""

    way: Literal["way"] = "way"


class ForgetCall(Message):
    """Take snapshots out that this node has made for this task, and no others."""

    node: str
    task: str
    ids: tuple[str, ...]


class Serve(Message):
    """Answer a call of a node without the repository.

    Its body is at `GET /api/agent/relays/{relay}`, the answer goes to `POST` there. Not kept, not
    repeated.
    """

    type: Literal["serve"] = "serve"
    relay: str
    repository: RepositoryRef
    call: ObjectCall | ForgetCall | WayCall


class StopServing(Message):
    """Nobody waits for the answer any more."""

    type: Literal["stop_serving"] = "stop_serving"
    relay: str


class Acknowledge(Message):
    """The controller has stored the outcome."""

    type: Literal["acknowledge"] = "acknowledge"
    key: str


FromAgent = Annotated[
    Hello | StateChanged | Progress | Noted | LogLine | Outcome | ReadingFailed | ServingFailed,
    Field(discriminator="type"),
]
FromController = Annotated[
    Welcome | Ask | Cancel | Revoke | Read | StopReading | Serve | StopServing | Acknowledge,
    Field(discriminator="type"),
]
