"""What a node without the repository must know to run rustic on it: read on one that holds it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any

import tomli_w
from pydantic import BaseModel, ConfigDict, SecretStr, field_serializer

from composia.errors import Invalid
from composia.tools.rustic_profile import section
from composia.tools.rustic_service import Prepared

#: How often rustic tries again: after 1, 2, 4, 8, 16, 32 and 60 seconds.
RETRIES = "8"
SUBSTITUTE = "RUSTIC_PROFILE_SUBSTITUTE_ENV"
_NAME = re.compile(r"\$\{(\w+)\}")


class Way(BaseModel):
    """How rustic is run elsewhere. The password is shown only where the value is sent."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: str
    #: None: the image's own.
    entrypoint: tuple[str, ...] | None
    #: The words before rustic's own arguments.
    program: tuple[str, ...]
    #: The user's settings for backups as TOML: nothing of the repository, no secret.
    profile: str
    globs: tuple[str, ...]
    password: SecretStr

    @field_serializer("password", when_used="json")
    def _sent(self, password: SecretStr) -> str:
        return password.get_secret_value()


async def way_to(ready: Prepared) -> Way:
    """The way, from a service and its profile. Raises Invalid where another node cannot go it."""
    return Way(
        image=ready.image,
        entrypoint=ready.service.entrypoint,
        program=ready.program,
        profile=_settings(ready),
        globs=ready.profile.globs,
        password=SecretStr(await _password(ready)),
    )


def _settings(ready: Prepared) -> str:
    backup: dict[str, Any] = {}
    for part in reversed(ready.profile.parts):
        backup |= section(part, "backup")
    options = {"retry": RETRIES}
    return tomli_w.dumps({"repository": {"options": options}, "backup": backup})


async def _password(ready: Prepared) -> str:
    """As rustic would find it. Raises Invalid where only the container itself can."""
    for known in (_profile(ready), _environment(ready)):
        if known.get("password"):
            return _substituted(known["password"], ready)
        if file := known.get("password-file"):
            return await _from_file(_substituted(file, ready), ready)
    raise Invalid(
        f"the rustic profile {ready.profile.file} names no password that a node without the "
        "repository could use",
        hint="Set `password` or `password-file` under `[repository]`, or back up on one of "
        "controller.rustic.main_nodes.",
    )


def _profile(ready: Prepared) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for part in reversed(ready.profile.parts):
        found |= {key: str(value) for key, value in section(part, "repository").items()}
    return found


def _environment(ready: Prepared) -> Mapping[str, str]:
    names = {"password": "RUSTIC_PASSWORD", "password-file": "RUSTIC_PASSWORD_FILE"}
    given = ready.service.environment
    return {key: given[name] or "" for key, name in names.items() if name in given}


def _substituted(value: str, ready: Prepared) -> str:
    given = ready.service.environment
    if SUBSTITUTE not in given:
        return value
    return _NAME.sub(lambda found: given.get(found[1]) or "", value)


async def _from_file(file: str, ready: Prepared) -> str:
    place = await ready.mounts.host_path(file)
    try:
        text = await asyncio.to_thread(place.read_text) if place else ""
    except OSError as error:
        raise _unreadable(file, ready) from error
    if not text:
        raise _unreadable(file, ready)
    return text.split("\n", 1)[0].rstrip("\r")


def _unreadable(file: str, ready: Prepared) -> Invalid:
    return Invalid(
        f"the password file {file} of the rustic profile {ready.profile.file} cannot be read",
        hint="Mount it into the compose service from a folder of the node.",
    )
