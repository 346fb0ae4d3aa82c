"""Docker engines: each with its own containerd, data folder and socket."""

from __future__ import annotations

import os
import re
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.lab import images, paths
from tests.lab.processes import Processes, end_pids, wait_until
from tests.lab.shell import LabError, remove, run, succeeds

CONTAINERD = """version = 2
root = "{root}"
state = "{state}"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "{socket}"
[debug]
address = "{socket}.debug"
"""
# Engines never change a file in these folders, only add and remove some, so nodes may share them.
SHARED = ("docker/overlay2", "containerd/io.containerd.content.v1.content/blobs",
          "containerd/io.containerd.snapshotter.v1.overlayfs/snapshots")  # fmt: skip
# Short, because the path of a socket has at most 107 characters, and gone after a reboot.
RUN = Path("/run/composia-lab")
CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Engine:
    """The engine of one node; `number` tells it from the others of its lab."""

    name: str
    folder: Path
    number: int
    processes: Processes
    netns: str | None = None
    dns: str | None = None

    @property
    def socket(self) -> Path:
        """The engine's Unix socket."""
        return self.folder / "docker.sock"

    @property
    def host(self) -> str:
        """The value of DOCKER_HOST."""
        return f"unix://{self.socket}"

    @property
    def root(self) -> Path:
        """The engine's data folder."""
        return self.folder / "docker"

    @property
    def cgroup(self) -> str:
        """The control group above all the engine's containers."""
        return f"composia-{paths.key(self.folder)}"

    def start(self) -> None:
        """Start containerd and the engine, and wait until it answers."""
        self.start_containerd()
        self.start_dockerd()

    def start_containerd(self) -> None:
        """Start containerd where it does not run."""
        if self.processes.pid(f"containerd:{self.name}"):
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "containerd.toml"
        fields = {"root": self.folder / "containerd", "state": self._run / "containerd"}
        config.write_text(CONTAINERD.format(socket=self._containerd, **fields))
        self._start("containerd", ["containerd", "--config", config])
        wait_until("containerd", self._containerd.exists)

    def start_dockerd(self) -> None:
        """Start the engine where it does not run, and wait until it answers."""
        if not self.processes.pid(f"docker:{self.name}"):
            (self.folder / "docker.pid").unlink(missing_ok=True)
            self._start("docker", self._dockerd())
        wait_until(f"engine of {self.name}", self.answers)

    def answers(self) -> bool:
        """Whether the engine can be asked."""
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(2)
                connection.connect(str(self.socket))
                connection.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
                return b" 200 OK" in connection.recv(64)
        except OSError:
            return False

    def docker(self, *words: str, check: bool = True) -> str:
        """Run the docker client on this engine and give its stdout."""
        return run(client(), *words, env=docker_env(self.host), check=check)

    def empty(self) -> None:
        """Remove every container, network and volume; images stay."""
        wait_until(f"no container of {self.name}", self._has_no_container)
        self.docker("network", "prune", "-f")
        if names := self.docker("volume", "ls", "-q").split():
            self.docker("volume", "rm", "-f", *names)

    def _has_no_container(self) -> bool:
        """Remove them; one that is going by itself just then is refused, and looked for again."""
        if ids := self.docker("ps", "-aq", "--no-trunc").split():
            self.docker("rm", "-f", "-v", *ids, check=False)
        return not ids

    def power_off(self) -> None:
        """Kill engine, containerd, shims and containers at once, and drop what no reboot keeps."""
        for kind in ("docker", "containerd"):
            self.processes.end_family(f"{kind}:{self.name}")
        end_pids(self._in_containers)
        self._remove_shim_sockets()
        for folder in (self._run, self.folder):
            unmount(folder)
        for path in (self._run, self.socket, self.folder / "docker.pid"):
            remove(path)
        self._remove_cgroups()

    @property
    def _run(self) -> Path:
        return RUN / paths.key(self.folder)

    @property
    def _containerd(self) -> Path:
        return self._run / "containerd.sock"

    def _start(self, kind: str, argv: list[str | Path]) -> None:
        self._run.mkdir(parents=True, exist_ok=True)
        self.processes.start(f"{kind}:{self.name}", argv, netns=self.netns)

    def _dockerd(self) -> list[str | Path]:
        """The engine's command: every folder, address and control group is its own."""
        words: list[str | Path] = ["dockerd", "--config-file", self._config()]
        words += ["--data-root", self.root, "--exec-root", self._run / "docker"]
        words += ["--pidfile", self.folder / "docker.pid", "-H", self.host]
        words += ["--containerd", self._containerd, "--cgroup-parent", f"/{self.cgroup}"]
        words += ["--exec-opt", "native.cgroupdriver=cgroupfs"]
        if self.netns is None:
            return [*words, "--bridge=none", "--iptables=false", "--ip-forward=false"]
        pool = f"base=198.19.{128 + 4 * self.number}.0/22,size=28"
        words += ["--bip", f"198.19.{self.number}.1/24", "--default-address-pool", pool]
        return [*words, *(["--dns", self.dns] if self.dns else [])]

    def _config(self) -> Path:
        """An empty configuration, so that the machine's own daemon.json has no say."""
        path = self.folder / "daemon.json"
        path.write_text("{}\n")
        return path

    def _in_containers(self) -> list[int]:
        """The processes in the engine's own control groups, by the kernel's word for each."""
        procs = [path for group in self._cgroups() for path in group.rglob("cgroup.procs")]
        pids = {int(pid) for path in procs for pid in _lines(path)}
        return sorted(pid for pid in pids if in_cgroup(pid, self.cgroup))

    def _remove_shim_sockets(self) -> None:
        """Killed shims leave sockets in a folder that all containerds of the machine share."""
        for name in ("address", "bootstrap.json"):
            for path in (self._run / "containerd").rglob(name):
                for socket_path in re.findall(r"unix://([^\s\"]+)", path.read_text()):
                    Path(socket_path).unlink(missing_ok=True)

    def _cgroups(self) -> list[Path]:
        """The engine's control group in each hierarchy (one, or one per controller)."""
        groups = [top / self.cgroup for top in (CGROUPS, *CGROUPS.glob("*"))]
        return [group for group in groups if group.is_dir()]

    def _remove_cgroups(self) -> None:
        for group in self._cgroups():
            for folder, _, _ in os.walk(group, topdown=False):
                _rmdir(Path(folder))


def client() -> Path:
    """The docker client that was installed with the engine, else the one on PATH."""
    beside = Path("/usr/bin/docker")
    found = beside if beside.exists() else shutil.which("docker")
    if not found:
        raise LabError("no docker client: run bin/setup")
    return Path(found)


def docker_env(host: str) -> dict[str, str]:
    """An environment in which `docker` is the lab's client and talks to `host` only."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DOCKER_")}
    return {**kept, "DOCKER_HOST": host, "PATH": f"{client().parent}:{os.environ['PATH']}"}


def template() -> Path:
    """The folder of a stopped engine that has all images."""
    return paths.cache() / f"engine-with-images-{paths.key(images.fingerprint())}"


def make_template(logs: Path) -> None:
    """Make the stopped engine with all images, where it is missing."""
    with paths.made_once(template()) as scratch:
        if scratch is None:
            return
        with building_engine(scratch, logs) as docker:
            for image in images.IMAGES:
                image.load(docker)


def copy_template(folder: Path) -> None:
    """Give a new node the images, as hard links where the file system allows."""
    folder.mkdir(parents=True, exist_ok=True)
    sources = (template() / "docker", template() / "containerd")
    if not succeeds("cp", "-al", *sources, folder):
        for source in sources:
            remove(folder / source.name)
        run("cp", "-a", *sources, folder)
        return
    for path in _changing(folder):
        copy = path.with_name(f"{path.name}.copy")
        shutil.copy2(path, copy)
        copy.rename(path)


def _changing(folder: Path) -> Iterator[Path]:
    """The files that an engine writes to."""
    shared = {str(folder / name) for name in SHARED}
    for here, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if os.path.join(here, name) not in shared]
        for path in (Path(here, name) for name in names):
            if path.is_file() and not path.is_symlink():
                yield path


@contextmanager
def building_engine(
    folder: Path, logs: Path, network: bool = False
) -> Iterator[Callable[..., str]]:
    """An engine outside every lab, for making images; gives its `docker`."""
    with tempfile.TemporaryDirectory(prefix="composia-") as scratch:
        engine = Engine("build", folder, 0, Processes(Path(scratch)))
        try:
            engine.start()
            yield engine.docker
            engine.processes.end("docker:build", gently=True)
        finally:
            engine.power_off()


def unmount(folder: Path) -> None:
    """Unmount everything mounted under `folder`, the innermost first."""
    text = Path("/proc/self/mountinfo").read_text()
    points = [line.split()[4].replace("\\040", " ") for line in text.splitlines()]
    for point in reversed([point for point in points if Path(point).is_relative_to(folder)]):
        run("umount", "-l", point, check=False)


def in_cgroup(pid: int, name: str) -> bool:
    """Whether a process is in the control group `name` or below it."""
    lines = Path(f"/proc/{pid}/cgroup")
    return any(line.split(":", 2)[-1].startswith(f"/{name}/") for line in _lines(lines))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


def _rmdir(path: Path) -> None:
    with suppress(OSError):
        path.rmdir()
