"""A lab's network: one namespace holds the bridge, one more each member of the lab."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.lab.processes import wait_until
from tests.lab.shell import LabError, run, succeeds

SUBNETS = range(0, 200)
CONTROLLER, DNS, GIT = "controller", "dns", "git"
#: The tables that links are cut in, without a rule.
NO_DROPS = "*raw\nCOMMIT\n*mangle\nCOMMIT\n"


@dataclass(frozen=True)
class Network:
    """The names and addresses of one lab's network.

    Only the controller's interface is visible outside the namespaces: it runs on the machine
    itself, and the machine's own firewall never sees what nodes say to each other.
    """

    prefix: str
    index: int
    nodes: tuple[str, ...]

    @property
    def hub(self) -> str:
        """The namespace of the bridge."""
        return f"{self.prefix or 'lab-'}net"

    @property
    def outside(self) -> str:
        """The controller's interface on the machine."""
        return f"lab{self.index}"

    @property
    def members(self) -> tuple[str, ...]:
        """Everyone with a link, in the order of their addresses."""
        return (CONTROLLER, *self.nodes, DNS, GIT)

    def netns(self, member: str) -> str:
        """The namespace of a node, of git or of dns."""
        if member in (DNS, GIT):
            return f"{self.prefix or 'lab-'}{member}"
        return f"{self.prefix}{member}"

    def address(self, member: str) -> str:
        """The address of a member."""
        fixed = {CONTROLLER: 1, DNS: 253, GIT: 254}
        number = fixed[member] if member in fixed else 2 + self.nodes.index(member)
        return f"198.18.{self.index}.{number}"

    def port(self, member: str) -> str:
        """The bridge's end of a member's link."""
        return f"p{self.members.index(member)}"

    def up(self) -> None:
        """Make namespaces, bridge and links."""
        _ip(f"netns add {name}" for name in self._spaces())
        _ip(["link add hub type bridge", "link set hub up", "link set lo up"], netns=self.hub)
        outside = f"link add {self.outside} type veth peer name {self.port(CONTROLLER)}"
        _ip([f"{outside} netns {self.hub}"])
        inside = self.members[1:]
        links = [
            f"link add {self.port(member)} type veth peer name eth0 netns {self.netns(member)}"
            for member in inside
        ]
        ports = [f"link set {self.port(member)} master hub up" for member in self.members]
        _ip([*links, *ports], netns=self.hub)
        for member in inside:
            _ip(["link set lo up", *self._address(member, "eth0")], netns=self.netns(member))
        _ip(self._address(CONTROLLER, self.outside))

    def exists(self) -> bool:
        """Whether the bridge's namespace is there."""
        return Path(f"/run/netns/{self.hub}").exists()

    def down(self) -> None:
        """Remove everything; what is gone already is no error."""
        for name in self.taken():
            run("ip", "netns", "del", name, check=False)
        run("ip", "link", "del", self.outside, check=False)

    def taken(self) -> list[str]:
        """The namespaces of this network that exist."""
        return [name for name in self._spaces() if Path(f"/run/netns/{name}").exists()]

    def cut(self, one: str, other: str | None = None) -> None:
        """Break the link between two members, or all of one's; connections just go silent."""
        if other is None:
            _ip([f"link set {self.port(self._known(one))} down"], netns=self.hub)
            return
        for table, words in self._drops(one, other):
            if not succeeds(*self._iptables(table, "-C", words)):
                run(*self._iptables(table, "-I", words))

    def join(self, one: str, other: str | None = None) -> None:
        """Mend what `cut` broke."""
        if other is None:
            self._connect(one)
            return
        for table, words in self._drops(one, other):
            if succeeds(*self._iptables(table, "-C", words)):
                run(*self._iptables(table, "-D", words))

    def join_all(self) -> None:
        """Mend every link."""
        self._connect(*self.members)
        for member in self.members[1:]:
            run(*_enter(self.netns(member)), "iptables-restore", "-w", stdin=NO_DROPS)

    def is_joined(self, one: str, other: str) -> bool:
        """Whether two members can reach each other."""
        ports = [self.port(self._known(member)) for member in (one, other)]
        shown = [run("ip", "-n", self.hub, "-o", "link", "show", port) for port in ports]
        if not all("state UP" in text for text in shown):
            return False
        drops = self._drops(one, other)
        return not any(succeeds(*self._iptables(table, "-C", words)) for table, words in drops)

    def forget_containers(self, node: str) -> None:
        """Take away what an engine left in a node's namespace, as a reboot does."""
        shown = run("ip", "-n", self.netns(node), "-o", "link", "show")
        names = re.findall(r"^\d+: ([^:@]+)", shown, re.MULTILINE)
        for name in names:
            if name not in ("lo", "eth0"):
                run("ip", "-n", self.netns(node), "link", "del", name, check=False)
        self._flush(node, "nat", "filter")

    def _connect(self, *members: str) -> None:
        """Plug members in again and wait until frames pass, as if they had always been there."""
        ports = [self.port(self._known(member)) for member in members]
        _ip([f"link set {port} up" for port in ports], netns=self.hub)
        wait_until(f"links of {', '.join(members)}", lambda: self._forward(ports))
        # An address that could not be found is remembered for seconds.
        _ip([f"neigh flush dev {self.outside}"])
        for other in self.members[1:]:
            _ip(["neigh flush dev eth0"], netns=self.netns(other))

    def _forward(self, ports: Iterable[str]) -> bool:
        shown = run("bridge", "-n", self.hub, "link", "show").splitlines()
        forwarding = {
            re.split("[@:]", line.split()[1])[0] for line in shown if "state forwarding" in line
        }
        return forwarding.issuperset(ports)

    def _spaces(self) -> list[str]:
        return [self.hub, *(self.netns(member) for member in self.members[1:])]

    def _address(self, member: str, link: str) -> list[str]:
        return [f"addr add {self.address(member)}/24 dev {link}", f"link set {link} up"]

    def _drops(self, one: str, other: str) -> list[tuple[str, tuple[str, ...]]]:
        """The rules, in one namespace only: on arrival before anything, on leaving after NAT."""
        there, here = sorted((self._known(one), self._known(other)), key=self.members.index)
        if here == there:
            raise LabError("a link has two different ends")
        far, prefix = self.address(there), self.netns(here)
        return [
            ("raw", (prefix, "PREROUTING", "-s", far, "-j", "DROP")),
            ("mangle", (prefix, "POSTROUTING", "-d", far, "-j", "DROP")),
        ]

    def _iptables(self, table: str, verb: str, words: tuple[str, ...]) -> list[str]:
        netns, chain, *rule = words
        return [*_enter(netns), "iptables", "-w", "-t", table, verb, chain, *rule]

    def _flush(self, member: str, *tables: str) -> None:
        for table in tables:
            for verb in ("-F", "-X"):
                run(*_enter(self.netns(member)), "iptables", "-w", "-t", table, verb, check=False)

    def _known(self, member: str) -> str:
        if member not in self.members:
            raise LabError(f"no {member!r} in this lab, only {', '.join(self.members)}")
        return member


def free_index(used: Iterable[int]) -> int:
    """The first subnet that no lab and no interface of this machine uses."""
    shown = run("ip", "-4", "-o", "addr", "show") + run("ip", "-4", "route", "show")
    taken = {int(number) for number in re.findall(r"\b198\.18\.(\d+)\.", shown)} | set(used)
    for index in SUBNETS:
        if index not in taken:
            return index
    raise LabError("every subnet of the labs is in use")


def _enter(netns: str) -> list[str]:
    return ["nsenter", f"--net=/run/netns/{netns}", "--"]


def _ip(lines: Iterable[str], netns: str | None = None) -> None:
    """Run `ip` commands in one process."""
    inside = ["-n", netns] if netns else []
    run("ip", *inside, "-batch", "-", stdin="\n".join(lines) + "\n")
