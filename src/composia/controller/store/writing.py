"""What has to be written is written again, until the disk takes it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from sqlalchemy.exc import OperationalError
from structlog import get_logger

Written = TypeVar("Written")

#: Seconds until it is tried once more.
AGAIN = 1.0

_log = get_logger("composia.store")


async def until_written(write: Callable[[], Awaitable[Written]], what: str) -> Written:
    """Do what may be done twice, and wait out a disk that is full or away; told once."""
    said = False
    while True:
        try:
            return await write()
        except OperationalError as error:
            if not said:
                _log.error("the database cannot be written", what=what, reason=str(error.orig))
            said = True
            await asyncio.sleep(AGAIN)
