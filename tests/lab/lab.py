"""One lab: nodes with real engines, a catalog, BIND, the controller and the agents."""

from __future__ import annotations

import json
import re
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any

from tests.lab import commits, configs, engines, faults, network, paths
from tests.lab.catalog import Catalog
from tests.lab.clock import Clock
from tests.lab.dns import Dns
from tests.lab.facts import DATA, Facts, all_facts
from tests.lab.node import Node
from tests.lab.processes import Processes, wait_until
from tests.lab.setup import setup
from tests.lab.shell import LabError, remove, run, say
from tests.lab.status import describe

NODES = ("main", "edge")
DEFAULT = "default"


class Lab:
    """A running lab; `Lab.up()` makes one or gives the one that is there."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.name = facts.name
        self.state = paths.labs() / facts.name
        self.processes = Processes(self.state)
        prefix = "" if facts.name == DEFAULT else f"{facts.name}-"
        self.network = network.Network(prefix, facts.index, facts.nodes)
        self.dns = self._make_dns()
        self.git = self._make_catalog()
        self.nodes = {node: self._make_node(number) for number, node in enumerate(facts.nodes)}

    @classmethod
    def up(cls, name: str = DEFAULT, nodes: Sequence[str] | None = None) -> Lab:
        """Make the lab, or bring one that exists back to having everything running."""
        _check_names(name, nodes or NODES)
        setup()
        with _locked(name):
            lab = cls._standing(name, nodes)
            if lab is None:
                lab = cls._fresh(name, nodes or NODES)
            lab._start_all()
            (lab.state / "complete").touch()
            return lab

    @classmethod
    def load(cls, name: str = DEFAULT) -> Lab:
        """The lab that is up under this name."""
        facts = Facts.load(paths.labs() / name)
        if facts is None:
            raise LabError(f"no lab {name!r} is up")
        return cls(facts)

    @property
    def url(self) -> str:
        """The controller's address."""
        return f"http://{self.network.address(network.CONTROLLER)}:7001"

    @property
    def token(self) -> str:
        """The access token of the admin."""
        return self.facts.token

    @property
    def catalog(self) -> Path:
        """The bare repository."""
        return self.git.bare

    @property
    def config(self) -> Path:
        """The controller's config.yaml."""
        return self.state / "config.yaml"

    @property
    def failpoints(self) -> Path:
        """The file of armed failure points."""
        return self.state / "failpoints.json"

    @property
    def repository(self) -> Path:
        """The rustic repository's folder on the first node."""
        return self._node(self.facts.nodes[0]).repo_dir / "infra-backup" / "repo"

    def docker(self, node: str, *words: str, check: bool = True) -> str:
        """Run the docker client (`compose` too) on a node's engine and give its stdout."""
        return self._node(node).engine.docker(*words, check=check)

    def inside(self, node: str, *argv: str, check: bool = True) -> str:
        """Run a program in the network of a node and give its stdout."""
        netns = f"--net=/run/netns/{self._node(node).netns}"
        return run("nsenter", netns, "--", *argv, check=check)

    def commit(self, files: Mapping[str, str | None], message: str = "Change services") -> str:
        """Commit files to the catalog as a push would (None removes one); gives the commit."""
        return commits.commit(self.catalog, files, message)

    def commit_service(self, folder: Path) -> str:
        """Commit a folder to the catalog under its own name; gives the commit."""
        return self.commit(commits.read_folder(folder), f"Add {folder.name}")

    def ask(self, path: str) -> Any:
        """GET a path of the controller as the admin, as JSON."""
        headers = {"Authorization": f"Bearer {self.token}"}
        request = urllib.request.Request(f"{self.url}{path}", headers=headers)
        with urllib.request.urlopen(request, timeout=5) as answer:
            return json.load(answer)

    def log(self, process: str) -> Path:
        """The output of `controller`, `agent:NODE`, `docker:NODE`, `dns` or `git`."""
        return self.processes.log(process)

    def pid(self, process: str) -> int | None:
        """The pid of one of the lab's processes, or None where it does not run."""
        return self.processes.pid(process)

    def kill(self, process: str) -> None:
        """SIGKILL `controller`, `agent:NODE` or `docker:NODE` and nothing else."""
        with _locked(self.name):
            self._check_process(process)
            self.processes.end(process)

    def start(self, process: str, clock: Clock | None = None, wait: bool = True) -> None:
        """Start what `kill` ended and wait until it serves; `clock`: what it takes for the time.

        What is about to die again may do so before it serves: that is not waited for.
        """
        with _locked(self.name):
            self._check_process(process)
            self._start(process, wait, clock)

    def reboot(self, node: str, agent_late: bool = False) -> None:
        """A power cut on one node, then its engine and its agent again."""
        with _locked(self.name):
            engine = self._node(node).engine
            self.processes.end_family(f"agent:{node}")
            engine.power_off()
            self.network.forget_containers(node)
            engine.start()
            if agent_late:
                time.sleep(5)
            self._start(f"agent:{node}")

    def cut(self, one: str, other: str | None = None) -> None:
        """Cut the link between two of controller, nodes, `git`, `dns`; or one from everything."""
        self.network.cut(one, other)

    def join(self, one: str, other: str | None = None) -> None:
        """Mend what `cut` cut."""
        self.network.join(one, other)

    def join_all(self) -> None:
        """Mend every link."""
        self.network.join_all()

    def fail(self, where: str, action: str) -> None:
        """Arm a failure point, `STEP:before|middle|after`, for the next task."""
        faults.arm(self.failpoints, where, action)

    def clear_failures(self) -> None:
        """Disarm every failure point."""
        faults.clear(self.failpoints)

    def reset(self) -> None:
        """Back to the first state: catalog, zone, services, volumes, links; the engines stay."""
        with _locked(self.name):
            for process in (*self._own_processes(), "dns"):
                self.processes.end_family(process)
            self.network.join_all()
            _together(self._empty, self.nodes.values())
            self._write_files()
            self._start_all()

    def down(self) -> None:
        """End every process and remove everything."""
        with _locked(self.name):
            self._down()

    @classmethod
    def end(cls, name: str = DEFAULT) -> None:
        """`down` for a lab that may not exist, or only half."""
        if facts := Facts.load(paths.labs() / name):
            cls(facts).down()
        remove(paths.labs() / name)

    def status(self) -> dict[str, Any]:
        """Everything another program needs to drive the lab."""
        return describe(self)

    @classmethod
    def _standing(cls, name: str, nodes: Sequence[str] | None) -> Lab | None:
        """The lab that is there; what an interrupted `up` or a reboot left is removed."""
        facts = Facts.load(paths.labs() / name)
        if facts is None:
            return None
        lab = cls(facts)
        if not (lab.network.exists() and (lab.state / "complete").exists()):
            say("Removing what an earlier run left")
            lab._down()
            return None
        if nodes and tuple(nodes) != facts.nodes:
            raise LabError(f"the lab has the nodes {', '.join(facts.nodes)}: `down` comes first")
        return lab

    @classmethod
    def _fresh(cls, name: str, nodes: Sequence[str]) -> Lab:
        say(f"Starting the lab with {', '.join(nodes)} (about 10 s)")
        with paths.locked(paths.locks() / "subnets"):
            lab = cls(Facts.choose(name, nodes))
            if taken := lab.network.taken():
                raise LabError(f"network namespaces {', '.join(taken)} exist and are not the lab's")
            remove(lab.state)
            lab.facts.save(lab.state)
            lab.network.up()
        _together(lambda node: engines.copy_template(node.engine.folder), lab.nodes.values())
        lab._write_files()
        return lab

    def _write_files(self) -> None:
        """The files that a fresh lab starts from."""
        self.clear_failures()
        self.dns.write()
        self.git.write(self.facts.nodes, self.facts.rustic_password)
        remove(self.state / "controller")
        configs.write_controller(self)
        for node in self.nodes.values():
            configs.write_agent(self, node)

    def _start_all(self) -> None:
        """Start whatever does not run, in the order in which it is needed."""
        self.processes.warm_up()
        _together(lambda node: node.engine.start(), self.nodes.values())
        self.dns.start()
        self.git.start()
        for process in self._own_processes():
            self._start(process, wait=process == network.CONTROLLER)
        for node in self.nodes:
            self._wait(f"agent:{node}")

    def _own_processes(self) -> list[str]:
        return [network.CONTROLLER, *(f"agent:{node}" for node in self.nodes)]

    def _start(self, process: str, wait: bool = True, clock: Clock | None = None) -> None:
        kind, _, node = process.partition(":")
        if kind == "docker":
            self._node(node).engine.start()
        elif not self.processes.pid(process):
            configs.start(self, process, clock)
        if wait:
            self._wait(process)

    def _wait(self, process: str) -> None:
        """Wait until a process serves; its log is shown where it ended instead."""
        kind, _, node = process.partition(":")
        # An agent without its controller cannot be online, and that may be what is tested.
        alone = kind == "agent" and not self._can_be_online(node)

        def serves() -> bool:
            if self.pid(process) is None:
                tail = "\n".join(self.log(process).read_text(errors="replace").splitlines()[-15:])
                raise LabError(f"{process} ended, see {self.log(process)}\n{tail}")
            return kind == "docker" or alone or self._answers(node)

        wait_until(process, serves)

    def _can_be_online(self, node: str) -> bool:
        controller = network.CONTROLLER
        return self.pid(controller) is not None and self.network.is_joined(controller, node)

    def _answers(self, node: str) -> bool:
        """Whether the controller is ready, and says that `node` is online where one is named."""
        try:
            if node:
                return bool(self.ask(f"/api/v1/nodes/{node}")["online"])
            urllib.request.urlopen(f"{self.url}/readyz", timeout=2).close()
            return True
        except (OSError, HTTPException, ValueError, KeyError):
            return False

    def _empty(self, node: Node) -> None:
        node.engine.start()
        node.engine.empty()
        for folder in (node.repo_dir, node.state_dir, node.disk):
            remove(folder)

    def _down(self) -> None:
        for process in self._own_processes():
            self.processes.end_family(process)
        _together(lambda node: node.engine.power_off(), self.nodes.values())
        self.processes.end_all()
        engines.unmount(self.state)
        self.network.down()
        remove(self.state)
        self._remove_data()

    def _remove_data(self) -> None:
        """The last lab takes along the folder that engines made for infra-backup's mount."""
        last = not any(all_facts())
        if self.facts.made_data and last:
            # Another lab may be making or removing it just then, or somebody has put something in.
            with suppress(OSError):
                DATA.rmdir()

    def _node(self, name: str) -> Node:
        if name not in self.nodes:
            raise LabError(f"no node {name!r} in this lab, only {', '.join(self.nodes)}")
        return self.nodes[name]

    def _check_process(self, process: str) -> None:
        known = [*self._own_processes(), *(f"docker:{node}" for node in self.nodes)]
        if process not in known:
            raise LabError(f"no {process!r} in this lab, only {', '.join(known)}")

    def _make_node(self, number: int) -> Node:
        name = self.facts.nodes[number]
        folder, netns = self.state / "nodes" / name, self.network.netns(name)
        engine = engines.Engine(
            name, folder / "engine", number, self.processes, netns, self.dns.address
        )
        address, token = self.network.address(name), self.facts.node_tokens[number]
        return Node(name, address, netns, token, folder, engine)

    def _make_dns(self) -> Dns:
        address, netns = self.network.address(network.DNS), self.network.netns(network.DNS)
        return Dns(self.state / "dns", address, netns, self.facts.tsig, self.processes)

    def _make_catalog(self) -> Catalog:
        address, netns = self.network.address(network.GIT), self.network.netns(network.GIT)
        return Catalog(self.state / "catalog.git", address, netns, self.processes)


def _check_names(lab: str, nodes: Iterable[str]) -> None:
    for name in (lab, *nodes):
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,30}", name):
            raise LabError(f"{name!r} is no name: small letters, digits and hyphens")
    if reserved := {network.CONTROLLER, network.DNS, network.GIT}.intersection(nodes):
        raise LabError(f"a node cannot be called {reserved.pop()!r}")


@contextmanager
def _locked(name: str) -> Iterator[None]:
    with paths.locked(paths.locks() / f"lab-{name}"):
        yield


def _together(do: Callable[[Node], object], nodes: Iterable[Node]) -> None:
    """Do the same for every node side by side; the first error is raised."""
    with ThreadPoolExecutor() as pool:
        list(pool.map(do, nodes))
