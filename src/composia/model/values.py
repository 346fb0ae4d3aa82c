"""Kinds of values in config.yaml, each with what it may be."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any, TypeAlias
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationInfo,
    WithJsonSchema,
)

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"([0-9]{1,6})(ms|s|m|h|d)", re.ASCII)
_LISTEN = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]*):(?P<port>[0-9]{1,5})", re.ASCII)


def _seconds(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if not (found := _DURATION.fullmatch(value)):
        raise ValueError(f"`{value}` is no duration; write a number and ms, s, m, h or d as in 30s")
    return int(found[1]) * _UNITS[found[2]]


def _absolute(path: Path, info: ValidationInfo) -> Path:
    # A relative path is meant from the file it stands in, wherever the process was started.
    base = info.context if isinstance(info.context, Path) else Path.cwd()
    return base / path


def _listens(address: str) -> str:
    found = _LISTEN.fullmatch(address)
    if not found or int(found["port"]) > 65535:
        raise ValueError(
            f"`{address}` is no address to listen on; write `:7001` or `127.0.0.1:7001`"
        )
    return address


def _timezone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, OSError, ValueError) as error:
        raise ValueError(f"`{name}` is no time zone; write one as in Europe/Berlin") from error
    return name


def url(*schemes: str) -> AfterValidator:
    """An address of one of these schemes."""

    def checked(text: str) -> str:
        parts = urlsplit(text)
        if parts.scheme not in schemes or not parts.netloc:
            raise ValueError(f"must be an address that begins with {' or '.join(schemes)}://")
        return text

    return AfterValidator(checked)


def address(version: int) -> AfterValidator:
    """An IP address of that version."""

    def checked(text: str) -> str:
        try:
            found = ipaddress.ip_address(text).version
        except ValueError:
            found = None
        if found != version:
            raise ValueError(f"must be an IPv{version} address")
        return text

    return AfterValidator(checked)


def _printable(secret: SecretStr) -> SecretStr:
    if not secret.get_secret_value().strip():
        raise ValueError("must not be empty")
    return secret


Seconds: TypeAlias = Annotated[
    float,
    BeforeValidator(_seconds),
    Field(gt=0, le=31 * 86400),
    WithJsonSchema({"type": "string", "title": "a duration: 30s, 5m, 2h, 1d"}),
]
Folder: TypeAlias = Annotated[Path, AfterValidator(_absolute)]
#: Inline, `${ENV_NAME}` or, under the key with `_file` added, a file's content.
Secret: TypeAlias = Annotated[SecretStr, AfterValidator(_printable)]
Timezone: TypeAlias = Annotated[str, AfterValidator(_timezone)]
Listen: TypeAlias = Annotated[str, AfterValidator(_listens)]
