"""The lab's BIND: one zone that takes signed updates."""

from __future__ import annotations

import shutil
import socket
from dataclasses import dataclass
from pathlib import Path

from tests.lab.processes import Processes, wait_until
from tests.lab.shell import run

ZONE = "lab.test"
KEY_NAME = "composia"
PORT = 53

CONFIG = """options {{
  directory "{folder}";
  listen-on {{ {address}; }};
  listen-on-v6 {{ none; }};
  pid-file "{folder}/named.pid";
  session-keyfile "{folder}/session.key";
  managed-keys-directory "{folder}";
  recursion no;
  dnssec-validation no;
}};
controls {{ }};
include "{tsig}";
zone "{zone}" {{
  type primary;
  file "{folder}/zone";
  allow-update {{ key {key}; }};
}};
"""
TSIG = 'key "{key}" {{\n  algorithm hmac-sha256;\n  secret "{secret}";\n}};\n'
RECORDS = """$ORIGIN {zone}.
$TTL 60
@ SOA ns admin 1 3600 600 86400 60
@ NS ns
ns A {address}
"""
# A question for the zone's SOA, as bytes: twelve of header, the name, type and class.
QUESTION = b"\0\1\0\0\0\1\0\0\0\0\0\0\3lab\4test\0\0\6\0\1"


@dataclass(frozen=True)
class Dns:
    """BIND in a namespace of its own."""

    folder: Path
    address: str
    netns: str
    secret: str
    processes: Processes

    @property
    def tsig(self) -> Path:
        """The key for signed updates, as `nsupdate -k` reads it."""
        return self.folder.parent / "tsig.key"

    @property
    def tsig_secret(self) -> Path:
        """The key's secret alone, as config.yaml names it."""
        return self.folder.parent / "tsig.secret"

    def write(self) -> None:
        """Write the configuration and a zone without records of services."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.tsig.write_text(TSIG.format(key=KEY_NAME, secret=self.secret))
        self.tsig_secret.write_text(self.secret + "\n")
        names = {"zone": ZONE, "key": KEY_NAME, "address": self.address}
        config = CONFIG.format(folder=self.folder, tsig=self.tsig, **names)
        (self.folder / "named.conf").write_text(config)
        (self.folder / "zone").write_text(RECORDS.format(**names))
        for path in (self.tsig, self.tsig_secret):
            path.chmod(0o600)

    def addresses(self, name: str) -> set[str]:
        """What the authoritative server answers for a name."""
        said = run("dig", "+short", "+norecurse", f"@{self.address}", name, "A").splitlines()
        # What it has to tell of a server that was slow is no answer.
        return {line for line in said if line and not line.startswith(";")}

    def start(self) -> None:
        """Start BIND where it does not run, and wait until it answers."""
        if not self.processes.pid("dns"):
            config = self.folder / "named.conf"
            self.processes.start("dns", ["named", "-g", "-c", config], netns=self.netns)
            wait_until("BIND", self._answers)

    def read_again(self) -> None:
        """Let it serve what its configuration says now."""
        self.processes.end("dns", gently=True)
        self.start()

    def _answers(self) -> bool:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(0.2)
            try:
                asking.sendto(QUESTION, (self.address, PORT))
                return bool(asking.recv(512))
            except OSError:
                return False
