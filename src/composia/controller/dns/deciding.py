"""Whose a record is, and what may be changed."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from composia.controller.dns.base import Change, Present
from composia.errors import Conflict
from composia.model.dns import DnsTarget, normal
from composia.model.meta import RecordType


def decide(target: DnsTarget, present: Sequence[Present], ours: Collection[str]) -> Change:
    """What brings the records to the target. Raises Conflict for those of somebody else.

    `ours`: values that we wrote, and the addresses of our nodes.
    """
    return _Deciding(target, ours).of(present)


class _Deciding:
    def __init__(self, target: DnsTarget, ours: Collection[str]) -> None:
        self.target = target
        self.ours = ours

    def of(self, present: Sequence[Present]) -> Change:
        same = [one for one in present if one.type == self.target.record_type]
        in_the_way = [one for one in present if self._excludes(one)]
        theirs = [one for one in same if not self._is_mine(one) and not self._is_wanted(one)]
        self._refuse_foreign(in_the_way, same, theirs)
        # One name and type has one TTL: where somebody else has records too, it stays theirs.
        ttl = theirs[0].ttl if theirs else self.target.ttl
        right = [one for one in same if self._is_right(one, ttl)]
        wrong = [one for one in same if one not in right and one not in theirs]
        there = {normal(one.value) for one in right}
        add = tuple(self._new(value, ttl) for value in self.target.values if value not in there)
        return Change(remove=(*wrong, *in_the_way), add=add, kept=tuple(theirs))

    def _refuse_foreign(
        self, in_the_way: list[Present], same: list[Present], theirs: list[Present]
    ) -> None:
        if not self.target.values:
            return
        foreign = [one for one in in_the_way if not self._is_mine(one)]
        stands_alone = self.target.record_type is RecordType.CNAME or len(theirs) == len(same)
        if foreign or (theirs and stands_alone):
            raise self._conflict(foreign or theirs)

    def _conflict(self, foreign: list[Present]) -> Conflict:
        name, wanted = self.target.hostname, ", ".join(self.target.values)
        shown = ", ".join(f"{one.type} {one.value}" for one in foreign)
        kind = self.target.record_type
        return Conflict(
            f"{name} is {shown} at {self.target.provider}, which Composia did not write: "
            f"it was left alone, and is not {kind} {wanted}",
            hint=f"Delete that record of {name}, or take {name} out of the service's network.dns; "
            "then ask again.",
        )

    def _excludes(self, one: Present) -> bool:
        """Whether it cannot be beside the target: a CNAME stands alone."""
        if not self.target.values or one.type == self.target.record_type:
            return False
        return RecordType.CNAME in (one.type, self.target.record_type)

    def _is_mine(self, one: Present) -> bool:
        return one.marked or normal(one.value) in self.ours

    def _is_wanted(self, one: Present) -> bool:
        return normal(one.value) in self.target.values

    def _is_right(self, one: Present, ttl: int) -> bool:
        if not self._is_wanted(one):
            return False
        as_wanted = one.proxied == self.target.proxied and (one.proxied or one.ttl == ttl)
        return as_wanted or not self._is_mine(one)

    def _new(self, value: str, ttl: int) -> Present:
        return Present(self.target.record_type, value, ttl, proxied=self.target.proxied)
