"""A copy off site, as it is known here."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field


class CopyState(BaseModel):
    """What was found when backups were last copied there."""

    model_config = ConfigDict(frozen=True)

    #: 64 hex digits; None while nothing was ever copied.
    repository_id: str | None = None
    #: Of when the last copy is that has all there was, and when one was last tried.
    complete_at: datetime | None = None
    tried_at: datetime | None = None
    #: How many snapshots it has.
    snapshots: int = Field(default=0, ge=0)
    #: Why the last try is not complete.
    problem: str | None = None


class ReadPart(BaseModel):
    """The part of the repository's data that was read last, and what its round has shown."""

    model_config = ConfigDict(frozen=True)

    number: int = Field(ge=1)
    of: int = Field(ge=1)
    #: Whether every part of its round was read up to this one, and nothing was damaged meanwhile.
    whole: bool = False

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def next(self, parts: int) -> ReadPart:
        """The part to read next: a round that has begun goes on with as many parts as it has."""
        if self.number < self.of:
            return ReadPart(number=self.number + 1, of=self.of)
        return ReadPart(number=1, of=parts)

    def read(self, last: ReadPart | None, *, damaged: bool) -> ReadPart:
        """This one after the last one, with what it has shown; told twice it is the same."""
        follows = last is not None and last.of == self.of and self.number - last.number in (0, 1)
        so_far = self.number == 1 or (last is not None and follows and last.whole)
        return self.model_copy(update={"whole": so_far and not damaged})

    @property
    def ends_whole(self) -> bool:
        """Whether a round has ended with it, in which all data was read and is whole."""
        return self.whole and self.number == self.of
