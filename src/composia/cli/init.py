"""`composia init`: a config.yaml with fresh tokens, and a catalog to begin with."""

from __future__ import annotations

import asyncio
import getpass
import os
import secrets
import shlex
from pathlib import Path

import click

from composia.errors import Conflict, Failure
from composia.tools.git import Git, Person
from composia.tools.shell import LocalShell

RUSTIC_IMAGE = "ghcr.io/rustic-rs/rustic:v0.11.4"
NODE = "main"

_CONFIG = """\
# What starts Composia's processes. Every key: docs/reference/config.md
# It holds secrets: keep it readable by its owner only.

controller:
  # ":7001" answers on every address, for agents on other machines.
  listen_addr: "127.0.0.1:7001"
  repo_dir: {folder}/catalog
  state_dir: {folder}/state
  log_dir: {folder}/logs
  access_tokens:
    - {{name: admin, token: {access}}}
  nodes:
    - {{id: {node}, display_name: This machine, token: {agent}}}
  rustic:
    main_nodes: [{node}]

agent:
  controller_addr: http://127.0.0.1:7001
  node_id: {node}
  token: {agent}
  repo_dir: {folder}/services
  state_dir: {folder}/agent
"""
_BACKUP_META = """\
name: infra-backup
nodes: [{node}]

infra:
  rustic: {{compose_service: rustic, profile: default}}
"""
_BACKUP_COMPOSE = """\
# Composia calls this service for each backup and restore; nothing of it runs in between.
services:
  rustic:
    image: {image}
    command: rustic -c /config/rustic.toml
    volumes:
      - ./config:/config:ro
      - ./repo:/repo
"""
_BACKUP_PROFILE = """\
[repository]
repository = "/repo"
password = "{password}"
"""
_HELLO_META = """\
# Every key: docs/reference/meta.md
name: hello
nodes: [{node}]

data_protect:
  data:
    - name: pages
      backup: {{strategy: files.copy, include: [./data]}}
      restore: {{strategy: files.copy, include: [./data]}}

backup:
  data:
    - {{name: pages, provider: rustic, schedule: "0 2 * * *"}}
"""
_HELLO_COMPOSE = """\
services:
  web:
    image: busybox:stable
    init: true
    command: sh -c "date >> /srv/index.html && exec httpd -f -p 8080 -h /srv"
    ports: ["127.0.0.1:8080:8080"]
    volumes:
      - ./data:/srv
    restart: unless-stopped
"""


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), default=".")
@click.option("--image", default=RUSTIC_IMAGE, show_default=True, help="The image with rustic.")
def init(folder: Path, image: str) -> None:
    """Write a config.yaml with fresh tokens, and a catalog with two services, into FOLDER.

    FOLDER must be empty or not there yet; nothing is ever overwritten.

    \b
    Examples:
      composia init /srv/composia
      composia init /srv/composia --image registry.example.com/rustic:0.11.4
    """
    place = folder.resolve()
    password = secrets.token_urlsafe(24)
    asyncio.run(lay_out(place, image=image, password=password))
    for line in told(place, password):
        click.echo(line)


async def lay_out(folder: Path, *, image: str, password: str) -> None:
    """Fill an empty folder. Raises Conflict for one that is not, Failure where it cannot be."""
    refuse_full(folder)
    try:
        catalog = folder / "catalog"
        catalog.mkdir(mode=0o700, parents=True)
        await _commit(catalog, services(image=image, password=password))
        # Last: where it is, everything is.
        _write_private(folder / "config.yaml", config(folder))
    except OSError as error:
        raise Failure(
            f"{folder} cannot be filled: {error.strerror}", hint="Name a folder you may write."
        ) from error


def refuse_full(folder: Path) -> None:
    """Raises Conflict for a folder that holds something already."""
    if not folder.exists():
        return
    if not folder.is_dir() or any(folder.iterdir()):
        raise Conflict(
            f"{folder} is not empty, and nothing is overwritten",
            hint="Name another folder: composia init FOLDER",
        )


def config(folder: Path) -> str:
    """A config.yaml for one machine, with tokens that nobody has seen."""
    access, agent = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    return _CONFIG.format(folder=folder, node=NODE, access=access, agent=agent)


def services(*, image: str, password: str) -> dict[str, str]:
    """The catalog's first files: what holds the backups, and an example."""
    return {
        "infra-backup/composia-meta.yaml": _BACKUP_META.format(node=NODE),
        "infra-backup/docker-compose.yaml": _BACKUP_COMPOSE.format(image=image),
        "infra-backup/config/rustic.toml": _BACKUP_PROFILE.format(password=password),
        "hello/composia-meta.yaml": _HELLO_META.format(node=NODE),
        "hello/docker-compose.yaml": _HELLO_COMPOSE,
    }


def told(folder: Path, password: str) -> list[str]:
    """What a person should know now, with the next command."""
    file = shlex.quote(str(folder / "config.yaml"))
    return [
        f"Wrote {folder}/config.yaml with fresh tokens; only you can read it.",
        f"Made the catalog {folder}/catalog, a Git work tree with infra-backup and hello.",
        "",
        "This is the password of the backups' repository. Without it no backup can be read.",
        "It stands in infra-backup/config/rustic.toml; keep it somewhere else too:",
        "",
        f"    {password}",
        "",
        f"Next: composia doctor --config {file}",
        f"Then: composia serve --config {file}",
        "While it runs, open http://127.0.0.1:7001/ or run: composia login",
        f"The access token that they ask for is in {file}, under controller.access_tokens.",
    ]


async def _commit(catalog: Path, files: dict[str, str]) -> None:
    git = Git(LocalShell(), catalog)
    await git.init("main")
    made = await git.commit_files(
        None,
        {path: text.encode() for path, text in files.items()},
        author=Person("Composia", "composia@localhost"),
        message="Begin the catalog",
    )
    await git.check_out("main", made)
    if not await git.knows_a_person():
        await git.set_person(_whoever())


def _whoever() -> Person:
    """This user, as far as the machine has a name for one."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = f"user-{os.getuid()}"
    return Person(name, f"{name}@localhost")


def _write_private(path: Path, text: str) -> None:
    opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(opened, "w") as file:
        file.write(text)
