"""composia-meta.yaml: what a service is, what of it is saved, and where it runs."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from composia.errors import joined
from composia.model.names import Misfit, Name, Noun, did_you_mean, refuse, repeated
from composia.strategies import AnyBackupStrategy, AnyRestoreStrategy
from composia.strategies.files_copy import FilesCopy, FilesCopyBack
from composia.tools.cron import Schedule
from composia.tools.paths import InsidePath, is_inside, overlapping, parse_include

HOSTNAME = r"^(\*\.)?([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z0-9-]{2,63}\.?$"


class RecordType(StrEnum):
    A = "A"
    AAAA = "AAAA"
    CNAME = "CNAME"


class DnsRecord(Noun):
    """A DNS record that follows the service to the node where it runs."""

    provider: str = Field(
        pattern=r"^[a-z0-9][a-z0-9-]{0,31}$",
        description="Who serves the zone: a provider that `controller.dns` sets up.",
        examples=["cloudflare", "ddns"],
    )
    hostname: str = Field(
        pattern=HOSTNAME, max_length=253, description="The full name.", examples=["app.example.com"]
    )
    record_type: RecordType | None = Field(
        None,
        strict=False,
        description="Default: from the value: A for an IPv4 address, AAAA for IPv6, else CNAME.",
    )
    value: str = Field(
        "",
        max_length=253,
        description="What the name points to. Empty: the node's `public_ipv4` or `public_ipv6`.",
    )
    proxied: bool = Field(False, description="Cloudflare only: traffic goes through its proxy.")
    ttl: int = Field(120, ge=1, le=604800, description="Seconds that others may remember it.")

    @model_validator(mode="after")
    def _value_fits_the_type(self) -> Self:
        if self.value and self.type_of(self.value) is not _type_from(self.value):
            refuse([(("value",), f"`{self.value}` is no value of an {self.record_type} record")])
        return self

    def type_of(self, value: str) -> RecordType:
        """The record's type when it points to this value."""
        return self.record_type or _type_from(value)


def _type_from(value: str) -> RecordType:
    try:
        version = ipaddress.ip_address(value).version
    except ValueError:
        return RecordType.CNAME
    return RecordType.A if version == 4 else RecordType.AAAA


class CaddyFragment(Noun):
    """A piece of Caddy's configuration that goes where the service runs."""

    enabled: bool = Field(True, description="Whether Caddy gets the fragment.")
    source: InsidePath = Field(
        "Caddyfile.fragment",
        description="The fragment's file in the service's folder.",
        examples=["./Caddyfile.fragment"],
    )


def _as_list(value: Any) -> Any:
    if isinstance(value, dict):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


class Network(Noun):
    """How the service is reached."""

    caddy: CaddyFragment | None = Field(None, description="Its fragment for Caddy.")
    dns: Annotated[tuple[DnsRecord, ...], BeforeValidator(_as_list)] = Field(
        (), description="One DNS record, or a list of records."
    )


class DataItem(Noun):
    """A named part of the service's data."""

    name: Name = Field(description="Unique in the service.", examples=["uploads"])
    backup: AnyBackupStrategy | None = Field(None, description="How it is saved.")
    restore: AnyRestoreStrategy | None = Field(None, description="How it is brought back.")

    @model_validator(mode="after")
    def _can_be_done(self) -> Self:
        if self.backup is None and self.restore is None:
            refuse([((), f"data item `{self.name}` has neither `backup` nor `restore`")])
        refuse([*_left_out(self), *_overlaps(self)])
        return self


def _left_out(item: DataItem) -> Iterator[Misfit]:
    if not isinstance(item.backup, FilesCopy):
        return
    left_out = [parse_include(text) for text in item.backup.exclude]
    for position, text in enumerate(item.backup.include):
        wanted = parse_include(text)
        if outer := next((one for one in left_out if is_inside(wanted, one)), None):
            where = ("backup", "include", position)
            told = f"`{wanted}` is inside `{outer}`, which `exclude` leaves out"
            yield (
                where,
                f"{told}; give it a data item of its own, or exclude only what is beside it",
            )


def _overlaps(item: DataItem) -> Iterator[Misfit]:
    if not isinstance(item.restore, FilesCopyBack):
        return
    if both := overlapping(parse_include(text) for text in item.restore.include):
        where = ("restore", "include")
        yield where, f"`{both[0]}` and `{both[1]}` overlap; name the outer one only"


class Unprotected(Noun):
    """A volume or bind that needs no backup."""

    source: str = Field(
        min_length=1,
        max_length=1024,
        description="A volume's name in the compose file, a bind (`./cache`), or "
        "`compose service:/target` of an anonymous volume.",
        examples=["cache"],
    )
    reason: str = Field(min_length=1, description="Why.", examples=["rebuilt on start"])


class DataProtect(Noun):
    """What the service's data is."""

    data: tuple[DataItem, ...] = Field((), description="The data items.")
    unprotected: tuple[Unprotected, ...] = Field(
        (), description="Volumes and binds that need no backup, each with its reason."
    )

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        refuse(_twice(("data",), [item.name for item in self.data]))
        return self


class Keep(Noun):
    """How many backups are kept, of each item and node by itself; -1 keeps all of a kind."""

    last: int | None = Field(None, ge=-1, description="The newest ones.")
    daily: int | None = Field(None, ge=-1, description="The last of each day.")
    weekly: int | None = Field(None, ge=-1, description="The last of each week.")
    monthly: int | None = Field(None, ge=-1, description="The last of each month.")
    yearly: int | None = Field(None, ge=-1, description="The last of each year.")

    @model_validator(mode="after")
    def _keeps_something(self) -> Self:
        if not any((self.last, self.daily, self.weekly, self.monthly, self.yearly)):
            refuse([((), "keeps nothing at all; name at least one of last, daily, weekly, ...")])
        return self


class BackupEntry(Noun):
    """A data item that is backed up."""

    name: Name = Field(description="A data item with a `backup`.", examples=["uploads"])
    provider: Literal["rustic"] = Field("rustic", description="What keeps it.")
    schedule: Schedule | None = Field(
        None,
        description="Five cron fields, `@daily` and the like, or `none`. "
        "Absent: `controller.backup.default_schedule`.",
        examples=["0 2 * * *"],
    )


class BackupSection(Noun):
    """What is backed up, when, and how long it is kept."""

    data: tuple[BackupEntry, ...] = Field((), description="The data items.")
    keep: Keep | None = Field(None, description="Absent: `controller.backup.keep`.")


class MigrateEntry(Noun):
    """A data item that moves along."""

    name: Name = Field(description="A data item with a `backup`.", examples=["uploads"])


class MigrateSection(Noun):
    """What moves to another node with the service."""

    data: tuple[MigrateEntry, ...] = Field((), description="The data items.")


class InfraRustic(Noun):
    """The compose service that runs rustic."""

    compose_service: str = Field(
        "rustic", min_length=1, description="Its name in the compose file.", examples=["rustic"]
    )
    profile: str = Field(
        "default",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        description="The rustic profile, `NAME.toml` in `/config`, `/etc/rustic` or "
        "`~/.config/rustic` of the container; `default` also stands for `rustic.toml`.",
    )


class InfraCaddy(Noun):
    """The compose service that runs Caddy."""

    compose_service: str = Field("caddy", min_length=1, description="Its name in the compose file.")
    config_dir: str = Field(
        "/etc/caddy", pattern=r"^/", description="Caddy's configuration folder in the container."
    )


class Infra(Noun):
    """What this service does for all others; at most one of each in a catalog."""

    rustic: InfraRustic | None = Field(None, description="It holds the backups.")
    caddy: InfraCaddy | None = Field(None, description="It answers for the services' names.")


class Meta(Noun):
    """A service: a folder in the catalog with a compose file and this file."""

    name: Name = Field(description="Unique in the catalog.", examples=["my-app"])
    project_name: Name | None = Field(
        None, description="The compose project. Default: the name.", examples=["my-app"]
    )
    compose_files: tuple[InsidePath, ...] = Field(
        (),
        description="Default: the first of `docker-compose.yaml`, `compose.yaml`, "
        "`docker-compose.yml` and `compose.yml` that is there.",
        examples=[["docker-compose.yaml"]],
    )
    enabled: bool = Field(True, description="Whether it is meant to run at all.")
    nodes: tuple[Name, ...] = Field(
        (), description="Where it is meant to run: ids from config.yaml.", examples=[["main"]]
    )
    network: Network = Field(default_factory=Network, description="How the service is reached.")
    data_protect: DataProtect = Field(default_factory=DataProtect, description="What its data is.")
    backup: BackupSection = Field(default_factory=BackupSection, description="What is backed up.")
    migrate: MigrateSection = Field(default_factory=MigrateSection, description="What moves along.")
    infra: Infra = Field(default_factory=Infra, description="Only on infrastructure services.")

    @property
    def project(self) -> str:
        """The compose project."""
        return self.project_name or self.name

    def item(self, name: str) -> DataItem | None:
        """The data item of that name."""
        return next((item for item in self.data_protect.data if item.name == name), None)

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        refuse([
            *_twice((), self.nodes, key="nodes"),
            *_twice(("backup", "data"), [entry.name for entry in self.backup.data]),
            *_twice(("migrate", "data"), [entry.name for entry in self.migrate.data]),
            *_unsaved(self, ("backup", "data"), [entry.name for entry in self.backup.data]),
            *_unsaved(self, ("migrate", "data"), [entry.name for entry in self.migrate.data]),
        ])  # fmt: skip
        return self


def _twice(where: tuple[str, ...], names: Any, *, key: str | None = None) -> Iterator[Misfit]:
    for position, name in repeated(names):
        place: tuple[str | int, ...] = (key, position) if key else (*where, position, "name")
        yield place, f"`{name}` is there twice"


def _unsaved(meta: Meta, where: tuple[str, ...], names: list[str]) -> Iterator[Misfit]:
    for position, name in enumerate(names):
        item = meta.item(name)
        if item is None:
            known = [one.name for one in meta.data_protect.data]
            told = f"there is no data item `{name}` in data_protect.data."
            yield (*where, position, "name"), joined(told, did_you_mean(name, known))
        elif item.backup is None:
            yield (*where, position, "name"), f"data item `{name}` has no `backup`"
