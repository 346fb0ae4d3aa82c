"""What kind of volume it is, by its driver and options: who knows where its data lies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

LOCAL = "local"
_BINDS = frozenset({"bind", "rbind"})
#: Where the kernel is told to bind it does not look at the type.
_NO_TYPE = frozenset({"", "none", "bind"})
_OF_A_BIND = frozenset({"type", "o", "device"})


class VolumeKind(BaseModel):
    """Nothing of its options but this: passwords of shares stand in them."""

    model_config = ConfigDict(frozen=True)

    driver: str = LOCAL
    #: What it mounts, where it is local and has options of its own: `nfs`, `tmpfs`, `none`.
    type: str | None = None
    #: The folder that a local one binds, as it is written there.
    device: str | None = None

    @property
    def plain(self) -> bool:
        """Whether it lies in Docker's own folder: local, without options."""
        return self.driver == LOCAL and self.type is None

    def __str__(self) -> str:
        if self.driver != LOCAL:
            return f"driver {self.driver}"
        if self.plain:
            return "driver local"
        named = f"type {self.type}" if self.type else "options of its own"
        return f"driver local with {named}"


#: Without options: Docker keeps it.
PLAIN = VolumeKind()


def kind_of(driver: str | None, options: Mapping[str, Any] | None) -> VolumeKind:
    """The kind of a volume as the engine shows it, or as a compose file declares it."""
    driver = driver or LOCAL
    if driver != LOCAL or not options:
        return VolumeKind(driver=driver)
    written = {name: str(value) for name, value in options.items()}
    kind = written.get("type", "")
    flags = {flag.strip() for flag in written.get("o", "").split(",")}
    binds = kind in _NO_TYPE and not _BINDS.isdisjoint(flags) and written.keys() <= _OF_A_BIND
    return VolumeKind(type=kind, device=written.get("device") or None if binds else None)
