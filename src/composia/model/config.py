"""config.yaml: what starts the two kinds of process."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    SecretStr,
    Tag,
    model_validator,
)

from composia.errors import Invalid, joined
from composia.model.dns import DnsSetup
from composia.model.meta import Keep
from composia.model.names import Misfit, Name, Noun, did_you_mean, refuse, repeated
from composia.model.notification import USUAL, EventName
from composia.model.values import Folder, Listen, Seconds, Secret, Timezone, address, url
from composia.tools.cron import Schedule
from composia.tools.digests import DIGEST_PATTERN
from composia.tools.parsing import parse
from composia.tools.secrets import resolved
from composia.tools.yaml import load


class Scope(StrEnum):
    """What an access token may do: each may do what the ones before it may."""

    READ = "read"
    OPERATE = "operate"
    ADMIN = "admin"


def _all_or_some(services: Any) -> str | None:
    if isinstance(services, list | tuple):
        return "some"
    return "all" if services == "all" else None


class AccessToken(Noun):
    """A token for people and programs that call the API."""

    name: Name = Field(description="Shown as the creator of tasks.", examples=["admin"])
    token: Secret | None = Field(None, description="The token itself.")
    token_sha256: str | None = Field(
        None,
        pattern=DIGEST_PATTERN,
        description="Its SHA-256 instead of the token: `printf %s TOKEN | sha256sum`.",
    )
    enabled: bool = Field(True, description="False refuses it.")
    scope: Scope = Field(
        Scope.ADMIN,
        description="`read` sees, `operate` also deploys, backs up and restores, `admin` does all.",
    )
    services: Annotated[
        Annotated[Literal["all"], Tag("all")] | Annotated[tuple[Name, ...], Tag("some")],
        Discriminator(
            _all_or_some,
            custom_error_type="all_or_some",
            custom_error_message="must be `all` or a list of services",
        ),
    ] = Field("all", description="The services it may work with.", examples=["all", ["my-app"]])

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if (self.token is None) == (self.token_sha256 is None):
            refuse([((), "needs one of `token`, `token_file` and `token_sha256`, and only one")])
        return self


class NodeConfig(Noun):
    """A machine with a Docker engine and an agent."""

    id: Name = Field(description="Named in `nodes` of a service.", examples=["main"])
    display_name: str | None = Field(None, description="For people. Default: the id.")
    token: Secret = Field(description="What its agent shows.")
    public_ipv4: Annotated[str, address(4)] | None = Field(
        None, description="For DNS records of type A.", examples=["203.0.113.10"]
    )
    public_ipv6: Annotated[str, address(6)] | None = Field(
        None, description="For DNS records of type AAAA.", examples=["2001:db8::10"]
    )

    @property
    def label(self) -> str:
        """Its name for people."""
        return self.display_name or self.id


class Maintenance(Noun):
    """When the repository is tidied and checked."""

    forget_schedule: Schedule | None = Field(None, examples=["0 1 * * *"], description="Retention.")
    prune_schedule: Schedule | None = Field(
        None, examples=["0 3 * * Sun"], description="Space of forgotten backups is freed."
    )
    check_schedule: Schedule | None = Field(
        None, examples=["0 4 * * Sun"], description="The repository is checked."
    )
    read_all_within: int = Field(
        30,
        ge=1,
        le=3650,
        examples=[30],
        description="Days in which the checks together read all of its data, a part each.",
    )


class RusticConfig(Noun):
    """Where the repository is."""

    main_nodes: tuple[Name, ...] = Field(
        (), description="The nodes that hold it; the others reach it through these."
    )
    maintenance: Maintenance = Field(default_factory=Maintenance, description="When it is tidied.")


class BackupConfig(Noun):
    """What holds for services that say nothing of their own."""

    default_schedule: Schedule | None = Field(
        None, examples=["0 2 * * *"], description="When data items are backed up."
    )
    timezone: Timezone = Field("UTC", description="Of all schedules.", examples=["Europe/Berlin"])
    keep: Keep | None = Field(None, description="How many backups are kept. Absent: all.")
    verify_schedule: Schedule | None = Field(
        None, examples=["0 5 * * Sun"], description="When backups are restored to be proven."
    )


class Offsite(Noun):
    """A second repository that backups are copied to."""

    name: Name = Field(examples=["s3"], description="For people and the API.")
    profile: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        examples=["offsite-s3"],
        description="The rustic profile that names it.",
    )
    schedule: Schedule | None = Field(None, examples=["0 6 * * *"], description="When.")


class GitAuth(Noun):
    """How the controller shows itself to the catalog's remote."""

    username: str = Field("git", description="For a remote over HTTPS.")
    token: Secret = Field(description="The password or token.")


def _remote(url: str) -> str:
    if urlsplit(url).password is not None:
        raise ValueError("must not contain a password; put it under git.auth")
    if url.startswith("-") or "::" in url or re.search(r"[\x00-\x20\x7f]", url):
        raise ValueError("is no address of a Git repository")
    return url


class GitConfig(Noun):
    """The catalog's remote."""

    remote_url: Annotated[str, AfterValidator(_remote)] | None = Field(
        None,
        examples=["https://git.example.com/infra.git"],
        description="Absent: the work tree in repo_dir is the catalog.",
    )
    branch: str = Field(
        "main", pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,200}$", description="The branch."
    )
    pull_interval: Seconds = Field(30.0, examples=["30s"], description="How often it is pulled.")
    author_name: str = Field("Composia", pattern=r"^[^<>\x00-\x1f]+$", description="Of commits.")
    author_email: str = Field(
        "composia@localhost", pattern=r"^[^<>\x00-\x20]+$", description="Of commits."
    )
    auth: GitAuth | None = Field(None, description="Absent: whatever Git is set up to use.")


class Cloudflare(Noun):
    """Zones that Cloudflare serves."""

    api_token: Secret = Field(description="A token that may edit the zones' records.")
    zones: tuple[str, ...] = Field((), examples=[["example.com"]], description="The zones.")


class Ddns(Noun):
    """Zones of a server that takes RFC 2136 updates."""

    nameserver: str = Field(min_length=1, examples=["192.0.2.53"], description="Its address.")
    port: int = Field(53, ge=1, le=65535, description="Its port.")
    keyname: str = Field(min_length=1, examples=["composia"], description="The TSIG key's name.")
    keysecret: Secret = Field(description="The TSIG key's secret, base64.")
    algorithm: str = Field(
        "hmac-sha256", pattern=r"^hmac-[a-z0-9-]+$", description="The TSIG algorithm."
    )
    zones: tuple[str, ...] = Field((), examples=[["example.org"]], description="The zones.")


class DnsConfig(Noun):
    """Who serves the zones of the services' names."""

    cloudflare: Cloudflare | None = Field(None, description="Cloudflare.")
    ddns: Ddns | None = Field(None, description="BIND, Knot, PowerDNS and others.")


def _identities(secret: SecretStr) -> SecretStr:
    from composia.tools.age import Identities

    Identities.parse(secret.get_secret_value())
    return secret


class SecretsConfig(Noun):
    """Files of a service whose name ends in `.age` are deployed decrypted, without it."""

    provider: Literal["age"] = Field("age", description="The format.")
    identity: Annotated[Secret, AfterValidator(_identities)] = Field(
        description="One or more age identities, as `composia catalog new-identity` and "
        "`age-keygen` write them."
    )


def _known_event(name: Any) -> Any:
    events = [event.value for event in EventName]
    if isinstance(name, str) and name not in events:
        raise ValueError(f"there is no event `{name}`. {did_you_mean(name, events)}")
    return name


def _target(url: SecretStr) -> SecretStr:
    if not re.match(r"[A-Za-z][A-Za-z0-9+.-]*://.", url.get_secret_value()):
        raise ValueError("is no address of apprise; write one as in ntfy://ntfy.example.com/topic")
    return url


def _web(url: SecretStr) -> SecretStr:
    parts = urlsplit(url.get_secret_value())
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError("must be an address that begins with http:// or https://")
    return url


Target: TypeAlias = Annotated[Secret, AfterValidator(_target)]
Event: TypeAlias = Annotated[EventName, BeforeValidator(_known_event)]


class ServiceNotifications(Noun):
    """Who hears of one service, and of what."""

    name: Name = Field(description="The service.", examples=["my-app"])
    urls: tuple[Target, ...] = Field((), description="Instead of the general ones, where any.")
    on: tuple[Event, ...] | None = Field(
        None, description="Instead of the general ones; `[]` is silence. Absent: the general ones."
    )


class NotificationsConfig(Noun):
    """Who hears of what."""

    urls: tuple[Target, ...] = Field(
        (), examples=[["ntfy://ntfy.example.com/backups"]], description="Apprise addresses."
    )
    on: tuple[Event, ...] = Field(USUAL, description="The events.")
    services: tuple[ServiceNotifications, ...] = Field(
        (), description="What is different for single services."
    )
    repeat: Seconds = Field(
        6 * 3600.0,
        examples=["6h"],
        description="How often a matter that may lose data is told again until it is acknowledged.",
    )
    ping_url: Annotated[Secret, AfterValidator(_web)] | None = Field(
        None,
        examples=["https://hc-ping.com/your-uuid"],
        description="Asked every `ping_interval` while all is well, and with `/fail` added while "
        "it is not: a dead-man's switch.",
    )
    ping_interval: Seconds = Field(300.0, examples=["5m"], description="How often that is.")

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        refuse(_twice("services", "name", [service.name for service in self.services]))
        return self


#: What is open as long as a controller runs: a reload leaves it as it is.
READ_AT_START = ("listen_addr", "repo_dir", "state_dir", "log_dir", "git")


class ControllerConfig(Noun):
    """The process that knows all services and nodes."""

    listen_addr: Listen = Field(":7001", description="Where API and agents are answered.")
    public_url: Annotated[str, url("http", "https")] | None = Field(
        None,
        examples=["https://composia.example.com"],
        description="The address that people know it by, for links in messages.",
    )
    repo_dir: Folder = Field(
        Path("/var/lib/composia/catalog"), description="The Git work tree of the catalog."
    )
    state_dir: Folder = Field(
        Path("/var/lib/composia/state"), description="composia.db lives here."
    )
    log_dir: Folder = Field(Path("/var/lib/composia/logs"), description="The logs of tasks.")
    access_tokens: tuple[AccessToken, ...] = Field((), description="Who may call the API.")
    nodes: tuple[NodeConfig, ...] = Field((), description="The machines.")
    rustic: RusticConfig = Field(default_factory=RusticConfig, description="The repository.")
    backup: BackupConfig = Field(default_factory=BackupConfig, description="Defaults of backups.")
    offsite: tuple[Offsite, ...] = Field((), description="Copies of the repository.")
    git: GitConfig = Field(default_factory=GitConfig, description="The catalog's remote.")
    dns: DnsConfig = Field(default_factory=DnsConfig, description="Who serves the zones.")
    secrets: SecretsConfig | None = Field(
        None, description="Opens encrypted files. Absent: they are deployed as they are."
    )
    notifications: NotificationsConfig = Field(
        default_factory=NotificationsConfig, description="Who hears of what."
    )

    def kept_of(self, earlier: ControllerConfig) -> tuple[ControllerConfig, list[str]]:
        """This one with what a running controller cannot change, and what of that it asks for."""
        kept = {name: getattr(earlier, name) for name in READ_AT_START}
        changed = [name for name, value in kept.items() if getattr(self, name) != value]
        return self.model_copy(update=kept), changed

    @property
    def listen(self) -> tuple[str, int]:
        """Host and port to listen on; every address where no host is named."""
        host, _, port = self.listen_addr.rpartition(":")
        return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104  # what `:7001` means

    @property
    def dns_setup(self) -> DnsSetup:
        """What plans need to know of names."""
        providers = {"cloudflare": self.dns.cloudflare, "ddns": self.dns.ddns}
        return DnsSetup(
            zones={name: found.zones for name, found in providers.items() if found},
            ipv4={node.id: node.public_ipv4 for node in self.nodes if node.public_ipv4},
            ipv6={node.id: node.public_ipv6 for node in self.nodes if node.public_ipv6},
        )

    def node(self, node_id: str) -> NodeConfig | None:
        """The node of that id."""
        return next((node for node in self.nodes if node.id == node_id), None)

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        refuse([
            *_twice("access_tokens", "name", [token.name for token in self.access_tokens]),
            *_twice("nodes", "id", [node.id for node in self.nodes]),
            *_twice("offsite", "name", [offsite.name for offsite in self.offsite]),
            *_shared_tokens(self),
            *_unknown_nodes(self),
        ])  # fmt: skip
        return self


def _twice(section: str, key: str, names: list[str]) -> Iterator[Misfit]:
    for position, name in repeated(names):
        yield (section, position, key), f"`{name}` is there twice"


def _shared_tokens(config: ControllerConfig) -> Iterator[Misfit]:
    for position, _ in repeated(node.token.get_secret_value() for node in config.nodes):
        yield ("nodes", position), "has the same token as another node; give each its own"


def _unknown_nodes(config: ControllerConfig) -> Iterator[Misfit]:
    for position, node_id in enumerate(config.rustic.main_nodes):
        if config.node(node_id) is None:
            told = f"there is no node `{node_id}` under nodes."
            hint = did_you_mean(node_id, [node.id for node in config.nodes])
            yield ("rustic", "main_nodes", position), joined(told, hint)


class AgentCaddy(Noun):
    """Caddy on this node."""

    generated_dir: Folder = Field(description="Where fragments are put for Caddy to import.")


class AgentConfig(Noun):
    """The process that works on one node."""

    controller_addr: Annotated[str, url("http", "https")] = Field(
        examples=["http://controller:7001"], description="The controller, as this node reaches it."
    )
    node_id: Name = Field(examples=["main"], description="Its id under `controller.nodes`.")
    token: Secret = Field(description="Its token there.")
    repo_dir: Folder = Field(
        Path("/var/lib/composia/services"),
        description="One folder per service; users' data lives here too.",
    )
    state_dir: Folder = Field(
        Path("/var/lib/composia/agent"), description="What the agent remembers."
    )
    caddy: AgentCaddy | None = Field(None, description="Caddy on this node.")


class Config(Noun):
    """config.yaml: a controller, an agent, or both."""

    controller: ControllerConfig | None = Field(None, description="For `composia controller`.")
    agent: AgentConfig | None = Field(None, description="For `composia agent`.")

    @model_validator(mode="after")
    def _has_a_section(self) -> Self:
        if self.controller is None and self.agent is None:
            refuse([((), "needs a `controller` or an `agent` section")])
        return self


def load_config(path: Path, env: Mapping[str, str] | None = None) -> Config:
    """Read config.yaml with its secrets. Raises Invalid with every place that is wrong."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise Invalid(
            f"{path} cannot be read: {error.strerror}",
            hint="`composia init` writes one; --config names another.",
        ) from error
    document = load(text, str(path))
    whole, problems = resolved(document, Config, os.environ if env is None else env)
    return parse(whole, Config, context=path.resolve().parent, known=problems)
