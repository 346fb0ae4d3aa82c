"""A session: somebody who has signed in to the pages."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict


class Session(BaseModel):
    """What is kept of it: never its id, never the token, only their digests."""

    model_config = ConfigDict(frozen=True)

    digest: str
    #: Of the access token: when config.yaml does not have it any more, the session is over.
    token: str
    created_at: datetime
    used_at: datetime
