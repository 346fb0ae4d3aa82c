"""Which controller, and with which token."""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from composia.client import Client

Answer = TypeVar("Answer")

DEFAULT_URL = "http://127.0.0.1:7001"


def settings_file() -> Path:
    """Where `composia login` keeps address and token."""
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "composia" / "client.yaml"


def call(asked: Callable[[Client], Awaitable[Answer]]) -> Answer:
    """Ask the controller of this command something."""
    import asyncio

    from composia.client import Client

    url, token = access()
    # Only tests have one.
    transport = click.get_current_context().find_root().obj.get("transport")

    async def ask() -> Answer:
        async with Client(url, token, transport=transport) as client:
            return await asked(client)

    try:
        return asyncio.run(ask())
    except KeyboardInterrupt:
        raise click.Abort from None


def access() -> tuple[str, str]:
    """Address and token: from options, the environment, or `composia login`."""
    given: dict[str, Any] = click.get_current_context().find_root().obj or {}
    kept, url = _kept(), address()
    token = given.get("token") or _token_of(given.get("token_file"))
    token = token or os.environ.get("COMPOSIA_TOKEN")
    # A token is kept for one address: it is not shown to another.
    if token is None and url == kept.get("url", DEFAULT_URL):
        token = kept.get("token")
    if not token:
        raise click.UsageError(
            "no access token: set COMPOSIA_TOKEN, or run `composia login`. "
            "The tokens are in config.yaml, under controller.access_tokens."
        )
    return url, token


def address() -> str:
    """The controller's address: from the option, the environment, or `composia login`."""
    given: dict[str, Any] = click.get_current_context().find_root().obj or {}
    asked: str | None = given.get("url") or os.environ.get("COMPOSIA_URL")
    return checked(asked or _kept().get("url") or DEFAULT_URL)


def checked(url: str) -> str:
    """An address as it was given. Raises UsageError where it is none."""
    if not re.match(r"https?://[^\s/]", url):
        raise click.UsageError(f"{url} is no address: write it as in {DEFAULT_URL}")
    return url


def _token_of(file: str | None) -> str | None:
    if file is None:
        return None
    try:
        token = Path(file).read_text().strip()
    except OSError as error:
        raise click.UsageError(f"{file} cannot be read: {error.strerror}") from None
    # Never another token instead, without a word.
    if not token:
        raise click.UsageError(f"{file} is empty: it must hold an access token")
    return token


def _kept() -> dict[str, str]:
    if not settings_file().exists():
        return {}
    import yaml

    found = yaml.safe_load(settings_file().read_text())
    return found if isinstance(found, dict) else {}


def keep(url: str, token: str) -> Path:
    """Write them down, for this user only."""
    import yaml

    path = settings_file()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(yaml.safe_dump({"url": url, "token": token}))
    return path
