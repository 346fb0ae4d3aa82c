"""Whether the agent reaches its controller, and is known there."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from composia.cli.check import Check, Level, fail, ok, warn
from composia.model.config import AgentConfig, ControllerConfig

if TYPE_CHECKING:
    import httpx2

#: Seconds: tokens of the channel bear more, people reading logs do not.
SKEW = 5.0
#: Seconds for an answer.
PATIENCE = 5.0
#: What a proxy answers for a controller that does not.
NOBODY_BEHIND = (
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)


async def reach(
    agent: AgentConfig,
    controller: ControllerConfig | None,
    transport: httpx2.AsyncBaseTransport | None = None,
) -> Sequence[Check]:
    """Whether it answers, whose token it takes the agent's for, and how far its clock is away.

    `controller`: of the same config.yaml, where that starts one; it may not run yet.
    """
    import httpx2

    client = httpx2.AsyncClient(
        base_url=agent.controller_addr, timeout=PATIENCE, transport=transport
    )
    try:
        async with client:
            answer = await client.get("healthz")
            found = _is_composia(agent, answer, starts_here=controller is not None)
            if found.level is not Level.OK:
                return (found,)
            # Nobody else gets to see the token.
            return (found, *_skew(answer.headers), await _known(agent, client))
    except httpx2.HTTPError as error:
        return (_unanswered(agent, controller, error),)


def _unanswered(agent: AgentConfig, controller: ControllerConfig | None, error: Exception) -> Check:
    import httpx2

    message = f"{agent.controller_addr} does not answer: {type(error).__name__}"
    if controller is None:
        hint = "Start it, or mend agent.controller_addr or the firewall between."
        return fail("controller", message, hint)
    if urlsplit(agent.controller_addr).scheme == "https":
        hint = "The controller itself speaks plain http: is the proxy before it running?"
        return fail("controller", message, hint)
    if differs := _differs(agent, controller):
        hint = "Make agent.controller_addr the address at which controller.listen_addr listens."
        return fail("controller", differs, hint)
    if isinstance(error, httpx2.ConnectError) and not _is_unknown_name(error):
        return ok("controller", "it does not run yet")
    return fail("controller", message, "Mend agent.controller_addr: nothing of ours is there.")


def _differs(agent: AgentConfig, controller: ControllerConfig) -> str | None:
    """How the address that the agent calls is not the one where the controller listens."""
    called = urlsplit(agent.controller_addr)
    host, port = controller.listen
    if (called.port or 80) != port or not _is_heard(called.hostname or "", host):
        return (
            f"agent.controller_addr is {agent.controller_addr}, and the controller of this file"
            f" will listen at {controller.listen_addr}"
        )
    return None


def _is_heard(called: str, host: str) -> bool:
    """Whether who listens at this host is called by that one; a name may be anybody's."""
    try:
        to, at = ipaddress.ip_address(called), ipaddress.ip_address(host)
    except ValueError:
        return True
    if at.is_unspecified:
        return at.version == 6 or to.version == 4
    return to == at


def _is_unknown_name(error: BaseException | None) -> bool:
    if error is None or isinstance(error, socket.gaierror):
        return error is not None
    return _is_unknown_name(error.__cause__ or error.__context__)


def _is_composia(agent: AgentConfig, answer: httpx2.Response, *, starts_here: bool) -> Check:
    if answer.status_code == HTTPStatus.OK and _read(answer).get("status") == "alive":
        return ok("controller", f"{agent.controller_addr} answers")
    if starts_here and answer.status_code in NOBODY_BEHIND:
        message = f"what stands before the controller answers HTTP {answer.status_code}"
        return warn("controller", message, "Start the controller, then look again.")
    return fail(
        "controller",
        f"{agent.controller_addr} is no Composia: /healthz is HTTP {answer.status_code} there",
        "Name the controller itself in agent.controller_addr, with its port; a proxy before it has "
        "to pass all paths on.",
    )


async def _known(agent: AgentConfig, client: httpx2.AsyncClient) -> Check:
    """Whether the controller that runs takes the agent's token for that of its node."""
    shown = {"Authorization": f"Bearer {agent.token.get_secret_value()}"}
    answer = await client.get("api/agent/node", headers=shown)
    if answer.status_code == HTTPStatus.UNAUTHORIZED:
        return fail(
            "agent",
            "the controller does not know agent.token",
            f"Copy the token of node {agent.node_id} from its controller.nodes; what was changed "
            "there counts after `composia config reload`.",
        )
    node = _read(answer).get("node")
    if answer.status_code != HTTPStatus.OK or node is None:
        return fail(
            "agent",
            f"the controller answers HTTP {answer.status_code} when it is shown agent.token",
            "Is it of the same version, and does a proxy before it pass /api/agent on?",
        )
    if node != agent.node_id:
        message = f"agent.token is that of node {node}, and agent.node_id is {agent.node_id}"
        return fail("agent", message, "Correct one of them: each node has a token of its own.")
    return ok("agent", f"the controller knows its token as that of node {node}")


def _read(answer: httpx2.Response) -> dict[str, Any]:
    try:
        found = answer.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _skew(headers: Mapping[str, str]) -> Iterator[Check]:
    if not (date := headers.get("date")):
        return
    apart = abs((parsedate_to_datetime(date) - datetime.now(UTC)).total_seconds())
    if apart > SKEW:
        message = f"the controller's clock is {apart:.0f} s away from this one"
        yield warn("clock", message, "Run an NTP client on both: apt install systemd-timesyncd")
