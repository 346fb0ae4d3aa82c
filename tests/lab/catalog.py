"""The lab's catalog: a bare Git repository with two infrastructure services, and its server."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.lab.processes import Processes, wait_until
from tests.lab.shell import run

PORT = 9418
BACKUP_META = """name: infra-backup
nodes: [{main}]

infra:
  rustic: {{compose_service: rustic, profile: default}}
"""
BACKUP_COMPOSE = """services:
  rustic:
    image: rustic:latest
    command: rustic -c /config/rustic.toml
    volumes:
      - ./config:/config
      - ./repo:/repo
      - /var/lib/composia:/data:ro
"""
RUSTIC_PROFILE = """[repository]
repository = "/repo"
password = "{password}"

[backup]
exclude-if-present = [".nobackup"]
"""
CADDY_META = """name: infra-caddy
nodes: [{nodes}]

infra:
  caddy: {{compose_service: caddy, config_dir: /etc/caddy}}
"""
CADDY_COMPOSE = """services:
  caddy:
    image: caddy:2
    init: true
    restart: always
    ports: ["80:80", "443:443"]
    extra_hosts: ["host.docker.internal:host-gateway"]
    volumes:
      - ./config:/etc/caddy
      - ./data:/data
"""
# The pki block makes the local authority at the start, before there is any site.
CADDYFILE = """{
\tadmin localhost:2019
\tlocal_certs
\tskip_install_trust
\tpki {
\t\tca local
\t}
}

import generated/*
"""
# Inside the folder of infra-caddy on a node.
CADDY_GENERATED = "config/generated"
CADDY_ROOT_CA = "data/caddy/pki/authorities/local/root.crt"
GIT_ENV = {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
    "GIT_AUTHOR_NAME": "Lab",
    "GIT_AUTHOR_EMAIL": "lab@example.com",
    "GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z",
    "GIT_COMMITTER_NAME": "Lab",
    "GIT_COMMITTER_EMAIL": "lab@example.com",
    "GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z",
}


@dataclass(frozen=True)
class Catalog:
    """The bare repository, served from a namespace of its own so that it can be cut off."""

    bare: Path
    address: str
    netns: str
    processes: Processes

    @property
    def url(self) -> str:
        """What the controller clones."""
        return f"git://{self.address}/{self.bare.name}"

    def write(self, nodes: Sequence[str], password: str) -> None:
        """Make the repository anew; the same services give the same commit."""
        env = {**os.environ, **GIT_ENV}
        shutil.rmtree(self.bare, ignore_errors=True)
        with tempfile.TemporaryDirectory() as scratch:
            for name, text in initial_files(nodes, password).items():
                path = Path(scratch, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            run("git", "init", "-q", "-b", "main", scratch, env=env)
            run("git", "-C", scratch, "add", ".", env=env)
            run("git", "-C", scratch, "commit", "-q", "-m", "Add the infrastructure", env=env)
            run("git", "clone", "-q", "--bare", scratch, self.bare, env=env)
        run("git", "-C", self.bare, "remote", "remove", "origin", env=env)

    def start(self) -> None:
        """Serve the repository where nobody does yet."""
        if self.processes.pid("git"):
            return
        words = ["git", "daemon", "--reuseaddr", f"--listen={self.address}", "--export-all"]
        words += ["--enable=receive-pack", f"--base-path={self.bare.parent}", str(self.bare)]
        self.processes.start("git", words, netns=self.netns)
        wait_until("git daemon", self._accepts)

    def _accepts(self) -> bool:
        try:
            socket.create_connection((self.address, PORT), timeout=0.2).close()
        except OSError:
            return False
        return True


def initial_files(nodes: Sequence[str], password: str) -> dict[str, str]:
    """The files of the first commit."""
    return {
        "infra-backup/composia-meta.yaml": BACKUP_META.format(main=nodes[0]),
        "infra-backup/docker-compose.yaml": BACKUP_COMPOSE,
        "infra-backup/config/rustic.toml": RUSTIC_PROFILE.format(password=password),
        "infra-caddy/composia-meta.yaml": CADDY_META.format(nodes=", ".join(nodes)),
        "infra-caddy/docker-compose.yaml": CADDY_COMPOSE,
        "infra-caddy/config/Caddyfile": CADDYFILE,
    }
