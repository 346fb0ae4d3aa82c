"""Who hears of what, as config.yaml says."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydantic import SecretStr

from composia.controller.store.notifications import Addressee
from composia.model.config import NotificationsConfig
from composia.model.notification import EventName


@dataclass(frozen=True, slots=True)
class Target:
    """An address of apprise: a secret, so that it has a name of its own."""

    #: Where it stands in config.yaml, and of what kind it is.
    label: str
    url: SecretStr

    @property
    def key(self) -> str:
        """Tells it from others, also after config.yaml was sorted; says nothing of the address."""
        return hashlib.sha256(self.url.get_secret_value().encode()).hexdigest()[:24]

    @property
    def addressee(self) -> Addressee:
        """As the store knows it."""
        return Addressee(key=self.key, label=self.label)


def every_target(config: NotificationsConfig) -> dict[str, Target]:
    """All of them, by key."""
    found = list(_listed(config.urls, "urls"))
    for service in config.services:
        found += _listed(service.urls, f"services.{service.name}.urls")
    by_key: dict[str, Target] = {}
    for target in found:
        by_key.setdefault(target.key, target)
    return by_key


def targets_for(
    config: NotificationsConfig, event: EventName, service: str | None
) -> tuple[Addressee, ...]:
    """Those who hear of such an event of a service; None: of no one service."""
    urls, on, where = config.urls, config.on, "urls"
    own = next((one for one in config.services if one.name == service), None)
    if own and own.urls:
        urls, where = own.urls, f"services.{own.name}.urls"
    if own and own.on is not None:
        on = own.on
    return tuple(one.addressee for one in _listed(urls, where)) if event in on else ()


def _listed(urls: Sequence[SecretStr], where: str) -> Iterator[Target]:
    for place, url in enumerate(urls):
        scheme = url.get_secret_value().partition(":")[0].lower()
        yield Target(label=f"{where}[{place}] ({scheme})", url=url)
