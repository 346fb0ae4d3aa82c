"""What is known when a plan is made."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from composia.errors import Conflict, Invalid
from composia.model.catalog import CatalogView, Service
from composia.model.config import Offsite
from composia.model.dns import DnsSetup
from composia.model.meta import Keep
from composia.model.node import Container, NodeState
from composia.model.offsite import CopyState, ReadPart
from composia.model.service import CaddyRef, RepositoryRef, ServiceRef
from composia.model.task import OpenMove
from composia.tools.wording import names
from composia.workflows.objections import Objections, Place, not_found

NO_HOLDER = "no node holds the repository"
NO_HOLDER_HINT = "Name some in controller.rustic.main_nodes of config.yaml."


@dataclass(frozen=True, slots=True)
class Known:
    """The catalog, the nodes as they were last seen (None: never), and the repository."""

    catalog: CatalogView
    nodes: Mapping[str, NodeState | None]
    #: The nodes that hold the repository; empty: those of the service with `infra.rustic`.
    main_nodes: Sequence[str] = field(default=())
    repository_id: str | None = None
    #: The nodes that can be asked now; None: not known.
    online: Collection[str] | None = None
    #: Zones and addresses, as config.yaml has them.
    dns: DnsSetup = field(default_factory=DnsSetup)
    #: How many backups are kept of services that say nothing of their own; None: all.
    keep: Keep | None = None
    #: The copies off site that config.yaml names, and what is known of each by its name.
    offsite: Sequence[Offsite] = ()
    copies: Mapping[str, CopyState] = field(default_factory=dict)
    #: The part of the repository's data that was read last.
    read_part: ReadPart | None = None
    #: In which days, weeks and months begin.
    timezone: str = "UTC"
    #: The moves that are open, by their services.
    moves: Mapping[str, OpenMove] = field(default_factory=dict)

    def service(self, name: str) -> Service:
        """Raises NotFound, or Invalid with its problems for one that is broken."""
        return self.catalog.service(name)

    def node(self, name: str) -> NodeState | None:
        """Raises NotFound for a node that config.yaml does not name."""
        if name not in self.nodes:
            raise not_found("node", name, self.nodes)
        return self.nodes[name]

    def repository(self) -> RepositoryRef:
        """Raises Conflict while no service of the catalog has `infra.rustic`."""
        holder = self.catalog.infra_rustic
        rustic = holder.meta.infra.rustic if holder else None
        if holder is None or rustic is None:
            raise Conflict(
                "no service of the catalog holds the repository",
                hint="Give one a section `infra: {rustic: {compose_service: rustic}}`.",
            )
        return RepositoryRef(
            service=holder.ref,
            compose_service=rustic.compose_service,
            profile=rustic.profile,
            repository_id=self.repository_id,
            main_nodes=() if self.catalog.remote_repository else self.holders(),
        )

    def copy_off_site(self, name: str) -> RepositoryRef:
        """A copy as a repository, which whoever holds the repository reaches by itself.

        Raises NotFound for one that config.yaml does not name.
        """
        found = [one for one in self.offsite if one.name == name]
        if not found:
            raise not_found("copy off site", name, [one.name for one in self.offsite])
        known = self.copies.get(name, CopyState())
        changes = {
            "profile": found[0].profile,
            "repository_id": known.repository_id,
            "main_nodes": (),
            "copy_name": name,
        }
        return self.repository().model_copy(update=changes)

    def holders(self) -> tuple[str, ...]:
        """The nodes that hold the repository, those that answer first."""
        return tuple(sorted(self.repository_nodes(), key=lambda node: not self.answers(node)))

    def answers(self, node: str) -> bool:
        """Whether it can be asked now, as far as that is known."""
        return self.online is None or node in self.online

    def repository_nodes(self) -> tuple[str, ...]:
        """The same nodes, as they are written down. Raises Invalid where nobody can tell."""
        if self.main_nodes:
            return tuple(self.main_nodes)
        holder = self.catalog.infra_rustic
        return holder.meta.nodes if holder else ()

    def caddy(self, service: Service, on: Collection[str] | None = None) -> Mapping[str, CaddyRef]:
        """The nodes with a Caddy, and what it is to have of the service there.

        It is served on its own nodes, or on those of `on`.

        Raises Invalid where the service with `infra.caddy` is broken, and Conflict for a fragment
        that no Caddy is there for.
        """
        holder, fragment = self.catalog.infra_caddy, service.meta.network.caddy
        wanted = fragment.source if fragment and fragment.enabled else None
        caddy = holder.meta.infra.caddy if holder else None
        if holder is None or caddy is None:
            if wanted is None:
                return {}
            raise Conflict(
                "no service of the catalog has `infra.caddy`",
                hint="Give one a section `infra: {caddy: {compose_service: caddy}}`.",
            )
        return {
            node: CaddyRef(
                service=holder.ref,
                compose_service=caddy.compose_service,
                config_dir=caddy.config_dir,
                source=wanted if node in (service.meta.nodes if on is None else on) else None,
            )
            for node in holder.meta.nodes
        }

    def caddy_if_any(self, service: Service) -> Mapping[str, CaddyRef]:
        """The same for what goes on without: a broken Caddy stops no service."""
        try:
            return self.caddy(service)
        except (Conflict, Invalid):
            return {}

    def nodes_meant_for(
        self, service: Service, wanted: Sequence[str] | None, wrong: Objections
    ) -> tuple[str, ...]:
        """The nodes to start on: only such as the service is meant for."""
        on = self._existing(service, wanted, wrong)
        for place, node in enumerate(on):
            if node in self.nodes and node not in service.meta.nodes:
                wrong.conflict(
                    ("nodes", place),
                    f"{service.name} is not meant for node {node}",
                    f"Add {node} to `nodes` in its composia-meta.yaml.",
                )
        return on

    def nodes_with_instances(
        self, service: Service, wanted: Sequence[str] | None, wrong: Objections
    ) -> tuple[str, ...]:
        """The nodes to work on: such as the service is meant for, or was checked out on."""
        on = self._existing(service, wanted, wrong)
        for place, node in enumerate(on):
            if node in self.nodes and not self._may_have(service, node):
                wrong.conflict(
                    ("nodes", place),
                    f"{service.name} does not run on node {node}",
                    nodes_of(service),
                )
        return on

    def _existing(
        self, service: Service, wanted: Sequence[str] | None, wrong: Objections
    ) -> tuple[str, ...]:
        on = tuple(dict.fromkeys(service.meta.nodes if wanted is None else wanted))
        if not on:
            wrong.conflict(
                (), f"{service.name} has no nodes", "Add some to its composia-meta.yaml."
            )
        for place, node in enumerate(on):
            if node not in self.nodes:
                wrong.unknown(("nodes", place), "node", node, self.nodes)
        return on

    def active(self, service: str, node: str) -> str:
        """The node where an instance is that belongs on this one: an open move has carried it."""
        move = self.moves.get(service)
        return move.target if move and move.source == node else node

    def active_nodes(self, service: Service) -> tuple[str, ...]:
        """The service's nodes, while a move is open with its target instead of its source."""
        return tuple(self.active(service.name, node) for node in service.meta.nodes)

    def elsewhere(self, service: Service, on: Sequence[str]) -> tuple[str, ...]:
        """The nodes that it is not meant for, and is not started `on`: it must not run there.

        None where it runs on all of those already: it only goes on.
        """
        if all(runs(self.nodes.get(node), service.ref) for node in on):
            return ()
        meant = (*self._meant(service), *on)
        return tuple(node for node in self.nodes if node not in meant)

    def _meant(self, service: Service) -> tuple[str, ...]:
        return (*service.meta.nodes, *self.active_nodes(service))

    def may_be_on(self, service: str, node: str) -> bool:
        """Whether it was checked out there, as far as is known."""
        state = self.nodes.get(node)
        return bool(state and any(one.service == service for one in state.instances))

    def object_to_what_has_left(
        self, service: Service, on: Sequence[str], wrong: Objections, hint: str | None = None
    ) -> None:
        """What an open move has left behind is not the service's data any more."""
        move = self.moves.get(service.name)
        if move and move.source in on:
            by_default = f"Name {move.target} instead, or settle it: `composia task show"
            wrong.conflict(
                (),
                f"{service.name} runs on {move.target}: task {move.task} has moved it away from"
                f" {move.source}, and is open",
                hint or f"{by_default} {move.task}`.",
            )

    def _may_have(self, service: Service, node: str) -> bool:
        return node in self.active_nodes(service) or self.may_be_on(service.name, node)

    def object_to_a_disabled(self, service: Service, wrong: Objections) -> None:
        """A disabled service is left alone."""
        if not service.meta.enabled:
            wrong.conflict(
                (), f"{service.name} is disabled", "Set `enabled: true` in its composia-meta.yaml."
            )

    def object_to_foreign_projects(
        self, ref: ServiceRef, on: Sequence[str], wrong: Objections
    ) -> None:
        """A compose project of the same name from a folder that is not ours is not touched."""
        for node in on:
            for folder in sorted(self._foreign_folders(ref, node)):
                wrong.conflict(
                    (),
                    f"a compose project {ref.project} runs on node {node} already, from {folder}",
                    "End it there with `docker compose down` after moving its data to "
                    f"{_our_folder(self.nodes[node], ref)}, or give the service another "
                    "`project_name`.",
                )

    def _foreign_folders(self, ref: ServiceRef, node: str) -> set[str]:
        state = self.nodes.get(node)
        theirs = {one.working_dir for one in containers_of(state, ref)}
        return {folder for folder in theirs if folder and folder != _our_folder(state, ref)}

    def object_to_a_second_project(
        self, ref: ServiceRef, on: Sequence[str], wrong: Objections
    ) -> None:
        """What runs under another `project_name` is not started beside itself."""
        for node in on:
            for there in _as_deployed(self.nodes.get(node), ref):
                if there.project != ref.project and _runs_as(self.nodes.get(node), there):
                    wrong.conflict(
                        ("project_name",),
                        f"{ref.name} still runs on node {node} as compose project"
                        f" {there.project}, and would run twice",
                        f"Stop it there first: `composia stop {ref.name} --node {node}`. Or give"
                        f" it back `project_name: {there.project}`.",
                    )

    def object_to_a_second_place(
        self, service: Service, on: Sequence[str], wrong: Objections
    ) -> None:
        """A service that a node no longer listed runs, or may run, is not started on a new one."""
        for node in self.elsewhere(service, on):
            state = self.nodes[node]
            if runs(state, service.ref):
                wrong.conflict(
                    (),
                    f"{service.name} still runs on node {node}, which is not among its nodes any"
                    " more",
                    f"Migrate it, or stop it there first: `composia stop {service.name} "
                    f"--node {node}`.",
                )
            elif may_run(state, service.ref):
                wrong.conflict(
                    (),
                    f"it is not known whether {service.name} runs on node {node}, which is not"
                    " among its nodes any more: its Docker engine does not answer",
                    f"Start the engine of {node}: containers run on without it.",
                )

    def object_to_a_new_start(self, service: Service, on: Sequence[str], wrong: Objections) -> None:
        """What was stopped where the service is not meant to run any more stays stopped."""
        meant = self._meant(service)
        for place, node in enumerate(on):
            is_left = node not in meant and self.may_be_on(service.name, node)
            state = self.nodes[node]
            if is_left and not runs(state, service.ref):
                is_unknown = may_run(state, service.ref)
                wrong.conflict(
                    ("nodes", place),
                    f"{service.name} is not meant for node {node} any more, and "
                    + (
                        "whether it runs there is not known" if is_unknown else "does not run there"
                    ),
                    f"Add {node} to `nodes` in its composia-meta.yaml.",
                )

    def object_to_an_unreachable_repository(
        self, on: Mapping[Place, str], wrong: Objections
    ) -> None:
        """A node without the repository needs one with it. `on`: by their place in the request."""
        if self.catalog.remote_repository:
            return
        holders = self.holders()
        for place, node in on.items():
            if node not in self.nodes or node in holders:
                continue
            if not holders:
                wrong.conflict(place, NO_HOLDER, NO_HOLDER_HINT)
            elif not self.answers(holders[0]):
                wrong.conflict(
                    place,
                    f"node {node} reaches the repository through {', '.join(holders)}, "
                    "which is not online",
                    "Start its agent with `composia agent`.",
                )


def nodes_of(service: Service) -> str | None:
    """A hint where another node of the service should have been named."""
    return f"Its nodes: {names(service.meta.nodes)}." if service.meta.nodes else None


def containers_of(state: NodeState | None, ref: ServiceRef) -> tuple[Container, ...]:
    """The containers of the service's compose project on a node."""
    found = state.containers if state else ()
    return tuple(container for container in found if container.project == ref.project)


def runs(state: NodeState | None, ref: ServiceRef) -> bool:
    """Whether a container of ours runs there, as far as is known; under an older name too."""
    return any(_runs_as(state, one) for one in (ref, *_as_deployed(state, ref)))


def _as_deployed(state: NodeState | None, ref: ServiceRef) -> Iterator[ServiceRef]:
    """How the service was called when it was deployed there."""
    for one in state.instances if state else ():
        if one.service == ref.name:
            yield ref.model_copy(update={"project": one.project, "folder": one.folder})


def _runs_as(state: NodeState | None, ref: ServiceRef) -> bool:
    return any(
        container.at_work and container.working_dir in (None, _our_folder(state, ref))
        for container in containers_of(state, ref)
    )


def may_run(state: NodeState | None, ref: ServiceRef) -> bool:
    """Whether it may run there behind an engine that does not answer: nobody has stopped it."""
    if state is None or state.docker:
        return False
    there = [one for one in state.instances if one.service == ref.name]
    return any(not one.held and not one.left for one in there)


def _our_folder(state: NodeState | None, ref: ServiceRef) -> str:
    return f"{state.repo_dir.rstrip('/')}/{ref.folder}" if state else ref.folder
