"""Which of a service's volumes and binds move along, and which stay behind."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from composia.model.catalog import Service
from composia.model.meta import DataItem
from composia.model.node import Mount
from composia.strategies.files_copy import FilesCopy
from composia.strategies.pgdumpall import PgDumpAll
from composia.workflows.coverage import Covered, same_source
from composia.workflows.known import Known
from composia.workflows.migrate import Kept
from composia.workflows.objections import Objections


@dataclass(frozen=True, slots=True)
class Places:
    """Every place that the service keeps data in on the source, and the items that move."""

    service: Service
    mounts: tuple[Mount, ...]
    items: tuple[DataItem, ...]
    leave_behind: tuple[str, ...]

    def object_to_what_is_open(self, wrong: Objections) -> None:
        """All that would be lost without a word, and words about what is not there."""
        for mount in self.mounts:
            if self._item(mount) is None and self._left(mount) is None:
                wrong.invalid(
                    ("leave_behind",),
                    f"`{mount.source}` of {self.service.name} would not move: no data item covers"
                    " it",
                    "Add an item for it under `migrate.data`, or leave it: `leave_behind`, as in"
                    f" --leave-behind {shlex.quote(mount.source)}.",
                )
        known = [mount.source for mount in self.mounts]
        for place, one in enumerate(self.leave_behind):
            if not any(same_source(one, source) for source in known):
                wrong.unknown(("leave_behind", place), "volume or bind", one, known)

    @property
    def moving(self) -> tuple[Kept, ...]:
        """What moves, and how."""
        found = [(mount, self._item(mount)) for mount in self.mounts]
        return tuple(
            Kept(source=mount.source, how=_how(item), item=item.name)
            for mount, item in found
            if item
        )

    @property
    def staying(self) -> tuple[Kept, ...]:
        """What stays, and why."""
        found = {
            mount.source: self._left(mount) or ""
            for mount in self.mounts
            if self._item(mount) is None
        }
        found |= {
            path: _excluded_from(item)
            for item in self.items
            if isinstance(item.backup, FilesCopy)
            for path in item.backup.exclude
        }
        return tuple(Kept(source=source, how=how) for source, how in found.items())

    def _item(self, mount: Mount) -> DataItem | None:
        covering = (one for one in self.items if Covered([one.backup], ()).covers(mount))
        return next(covering, None)

    def _left(self, mount: Mount) -> str | None:
        """Why its data stays where it is; None where nobody said so."""
        if any(same_source(mount.source, one) for one in self.leave_behind):
            return "left behind, as asked for"
        for one in self.service.meta.data_protect.unprotected:
            if same_source(mount.source, one.source):
                return f"left behind: {one.reason}"
        excluding = (one for one in self.items if Covered([one.backup], ()).excludes(mount))
        return next(map(_excluded_from, excluding), None)


def places(
    known: Known,
    service: Service,
    source: str,
    items: Sequence[DataItem],
    leave_behind: Sequence[str],
) -> Places:
    """As the source was last seen."""
    state = known.nodes.get(source)
    mounts = tuple(
        mount
        for instance in (state.instances if state else ())
        if instance.service == service.name
        for mount in instance.mounts
    )
    return Places(service, mounts, tuple(items), tuple(leave_behind))


def _excluded_from(item: DataItem) -> str:
    return f"left behind: excluded from {item.name}"


def _how(item: DataItem) -> str:
    dumped = isinstance(item.backup, PgDumpAll)
    return f"{item.name}, {'by dump and import' if dumped else 'as files'}"
