"""Who calls, and what they may do."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from composia.errors import Denied, Unauthenticated
from composia.model.config import AccessToken, NodeConfig, Scope

_RANK = {Scope.READ: 0, Scope.OPERATE: 1, Scope.ADMIN: 2}
_HINT = "Send `Authorization: Bearer TOKEN` with one of controller.access_tokens of config.yaml."


class Caller(BaseModel):
    """The access token of a call: never the token itself."""

    model_config = ConfigDict(frozen=True)

    name: str
    scope: Scope
    services: Literal["all"] | tuple[str, ...] = "all"

    @property
    def created_by(self) -> str:
        """As a task names its creator."""
        return f"token:{self.name}"

    def may_see(self, service: str | None) -> bool:
        """Whether the token is for this service; None: for what belongs to no one service."""
        return self.services == "all" or service in self.services

    def may(self, scope: Scope, service: str | None = None) -> bool:
        """Whether `must` would pass."""
        return _RANK[self.scope] >= _RANK[scope] and self.may_see(service)

    def must(self, scope: Scope, service: str | None = None) -> None:
        """Raises Denied for a scope that is too small, or another's service."""
        if _RANK[self.scope] < _RANK[scope]:
            raise Denied(
                f"token {self.name} may only {self.scope}: this needs {scope}",
                hint="Use a token with that scope, or raise it in config.yaml.",
            )
        self.must_see(service)

    def must_see(self, service: str | None) -> None:
        """Raises Denied where the token is not for this service."""
        if not self.may_see(service):
            what = f"service {service}" if service else "what belongs to all services"
            raise Denied(
                f"token {self.name} is not for {what}",
                hint="Its `services` in config.yaml say what it is for.",
            )


class Gate:
    """The access tokens, hashed."""

    def __init__(self, tokens: Sequence[AccessToken]) -> None:
        self._known = [(_digest_of(token), _caller(token)) for token in tokens if token.enabled]

    def caller(self, authorization: str | None) -> Caller:
        """Who shows this header. Raises Unauthenticated."""
        kind, _, shown = (authorization or "").partition(" ")
        if kind.lower() != "bearer" or not shown.strip():
            raise Unauthenticated("no access token was sent", hint=_HINT)
        found = self.holder(hashed(shown.strip()))
        if found is None:
            raise Unauthenticated("the access token is not known", hint=_HINT)
        return found

    def holder(self, digest: str) -> Caller | None:
        """Whose token has this digest, while it may be used."""
        # All are compared, so that the time says nothing about which of them is nearly right.
        found = [caller for known, caller in self._known if hmac.compare_digest(known, digest)]
        return found[0] if found else None


def hashed(token: str) -> str:
    """How a token is kept: it is long and random, so that one round is enough."""
    return hashlib.sha256(token.encode()).hexdigest()


def _digest_of(token: AccessToken) -> str:
    return token.token_sha256 or hashed(token.token.get_secret_value() if token.token else "")


def _caller(token: AccessToken) -> Caller:
    return Caller(name=token.name, scope=token.scope, services=token.services)


class NodeGate:
    """The tokens of the nodes, hashed."""

    def __init__(self, nodes: Sequence[NodeConfig]) -> None:
        self._known = [(hashed(node.token.get_secret_value()), node.id) for node in nodes]

    def node(self, authorization: str | None) -> str:
        """The node that shows this header. Raises Unauthenticated."""
        kind, _, shown = (authorization or "").partition(" ")
        digest = hashed(shown.strip())
        found = [node for known, node in self._known if hmac.compare_digest(known, digest)]
        if kind.lower() != "bearer" or not found:
            raise Unauthenticated(
                "this is no token of a node",
                hint="agent.token must be the token of the node under controller.nodes.",
            )
        return found[0]
