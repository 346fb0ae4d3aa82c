"""The catalog at one revision: the services that can be worked with, and those that are broken."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

from pydantic import BaseModel, ConfigDict

from composia.errors import Invalid, NotFound, Problem
from composia.model.meta import Meta
from composia.model.names import Misfit, did_you_mean
from composia.model.service import ServiceRef

META_FILE = "composia-meta.yaml"
#: In the order in which they are looked for.
COMPOSE_FILES = ("docker-compose.yaml", "compose.yaml", "docker-compose.yml", "compose.yml")


class Service(BaseModel):
    """A service as the catalog has it."""

    model_config = ConfigDict(frozen=True)

    ref: ServiceRef
    meta: Meta
    #: Files that are deployed encrypted as they are, for there is no identity.
    encrypted: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.ref.name

    @property
    def infra(self) -> tuple[str, ...]:
        """Which of `rustic` and `caddy` it is for the catalog."""
        infra = self.meta.infra
        return tuple(kind for kind in ("rustic", "caddy") if getattr(infra, kind) is not None)


class Broken(BaseModel):
    """A service's folder that cannot be worked with, and why."""

    model_config = ConfigDict(frozen=True)

    folder: str
    #: As far as it could be read.
    name: str | None
    problems: tuple[Problem, ...]
    #: Which of `rustic` and `caddy` it wants to be; None where not even that could be read.
    infra: tuple[str, ...] | None = ()


class CatalogView(BaseModel):
    """All services at one revision. One broken service never hides another."""

    model_config = ConfigDict(frozen=True)

    #: The commit; empty while the catalog has none.
    revision: str = ""
    services: Mapping[str, Service] = {}
    broken: tuple[Broken, ...] = ()
    #: Remarks that break nothing: a meta file where none is looked for.
    warnings: tuple[str, ...] = ()
    #: Whether the rustic profile in the catalog names a repository that every node reaches itself.
    remote_repository: bool = False
    #: Whether encrypted files are deployed in plain, under their names without `.age`.
    decrypts: bool = False

    def service(self, name: str) -> Service:
        """The service of that name. Raises Invalid where it is broken, NotFound where it is not."""
        if name in self.services:
            return self.services[name]
        if problems := self._problems_of(name):
            raise Invalid(
                f"service {name} cannot be worked with: {problems[0]}",
                hint="Mend it in the catalog; other services are not affected.",
                problems=problems,
            )
        raise NotFound(f"there is no service `{name}`", hint=did_you_mean(name, self._names()))

    @property
    def infra_rustic(self) -> Service | None:
        """The service that holds the repository. Raises Invalid where it is broken."""
        return self._infra("rustic")

    @property
    def infra_caddy(self) -> Service | None:
        """The service that answers for names. Raises Invalid where it is broken."""
        return self._infra("caddy")

    def _infra(self, kind: str) -> Service | None:
        for service in self.services.values():
            if kind in service.infra:
                return service
        for broken in self.broken:
            if broken.infra is None or kind in broken.infra:
                raise Invalid(
                    f"the service with infra.{kind} cannot be found: {broken.folder} is broken: "
                    f"{broken.problems[0]}",
                    hint=f"Mend {broken.folder} in the catalog.",
                    problems=broken.problems,
                )
        return None

    def _problems_of(self, name: str) -> tuple[Problem, ...]:
        return tuple(
            problem
            for broken in self.broken
            if name in (broken.name, broken.folder)
            for problem in broken.problems
        )

    def _names(self) -> list[str]:
        return [*self.services, *(broken.name or broken.folder for broken in self.broken)]


Locate: TypeAlias = Callable[[str, tuple[str | int, ...], str], Problem]


def in_folder(folder: str, loc: tuple[str | int, ...], msg: str) -> Problem:
    """A problem of the folder's meta file, without the line."""
    return Problem(loc=loc, msg=msg, file=f"{folder}/{META_FILE}")


def settled(
    revision: str,
    read: Iterable[Service | Broken],
    nodes: Iterable[str] | None,
    warnings: Iterable[str] = (),
    locate: Locate = in_folder,
) -> CatalogView:
    """The view of what was read, with what must hold across services; nodes None: not checked."""
    every = list(read)
    services = [entry for entry in every if isinstance(entry, Service)]
    broken = [entry for entry in every if isinstance(entry, Broken)]
    known = None if nodes is None else set(nodes)
    claimed = claims_of(services)
    good: dict[str, Service] = {}
    for service in services:
        misfits = misfits_of(service, claimed, known)
        if misfits:
            broken.append(_broken(service, misfits, locate))
        else:
            good[service.name] = service
    return CatalogView(
        revision=revision,
        services=dict(sorted(good.items())),
        broken=tuple(sorted(broken, key=lambda entry: entry.folder)),
        warnings=tuple(warnings),
    )


#: What there can be only one of, by its place in the meta file and its name, and the folders that
#: have it.
Claims: TypeAlias = Mapping[tuple[tuple[str, ...], str], Sequence[str]]


def claims_of(services: Iterable[Service]) -> Claims:
    """All claims of all services."""
    found: dict[tuple[tuple[str, ...], str], list[str]] = defaultdict(list)
    for service in services:
        for claim in _claims(service).items():
            found[claim].append(service.ref.folder)
    return found


def misfits_of(service: Service, claimed: Claims, known: set[str] | None) -> list[Misfit]:
    """What is wrong with a service among the others and the nodes; None: those are not checked."""
    return [*_clashes(service, claimed), *_strangers(service, known)]


def _broken(service: Service, misfits: list[Misfit], locate: Locate) -> Broken:
    folder = service.ref.folder
    problems = tuple(locate(folder, loc, msg) for loc, msg in misfits)
    return Broken(folder=folder, name=service.name, problems=problems, infra=service.infra)


def _clashes(service: Service, claimed: Claims) -> Iterator[Misfit]:
    # Both sides of a clash are broken: nobody can tell which of them was meant.
    for loc, claim in _claims(service).items():
        for folder in claimed.get((loc, claim), ()):
            if folder != service.ref.folder:
                yield loc, f"{claim} is also in folder {folder}; it can be there only once"


def _claims(service: Service) -> dict[tuple[str, ...], str]:
    claims = {("name",): f"the name `{service.name}`"}
    claims[("project_name",)] = f"the compose project `{service.ref.project}`"
    return claims | {("infra", kind): f"`infra.{kind}`" for kind in service.infra}


def _strangers(service: Service, known: set[str] | None) -> Iterator[Misfit]:
    for position, node in enumerate(service.meta.nodes):
        if known is not None and node not in known:
            hint = did_you_mean(node, known) or ""
            yield ("nodes", position), f"there is no node `{node}` in config.yaml. {hint}".strip()
