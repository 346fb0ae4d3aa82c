"""A real process of Composia on what `composia init` wrote, at a port of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx2

from tests.lab.configs import program

PATIENCE = 60.0


def laid_out(folder: Path) -> Path:
    """What `composia init` writes, with a free port; its config.yaml."""
    composia("init", str(folder), "--image", "rustic:latest")
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace(":7001", f":{free_port()}"))
    return config


def composia(*words: str, env: Mapping[str, str] | None = None) -> str:
    """Run the command to its end; what it prints."""
    done = subprocess.run(
        [str(program()), *words],
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Served:
    """One running `composia controller` or `composia serve`."""

    def __init__(self, kind: str, config: Path, docker_host: str | None = None) -> None:
        self.config = config
        self._log = config.with_name(f"{kind}.log")
        env = {"DOCKER_HOST": docker_host} if docker_host else {}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(program()), kind, "--config", str(config)],
                env={**os.environ, **env},
                stdout=log,
                stderr=log,
            )

    @property
    def url(self) -> str:
        return f"http://{self._after('listen_addr: ')}"

    @property
    def token(self) -> str:
        return self._after("token: ").rstrip("}")

    def ask(self, path: str, when: Callable[[Any], bool] = bool) -> Any:
        """GET it until it answers with success and as wanted; the JSON."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and self._process.poll() is None:
            try:
                answer = httpx2.get(
                    f"{self.url}{path}", headers={"Authorization": f"Bearer {self.token}"}
                )
                if answer.is_success and when(answer.json()):
                    return answer.json()
            except httpx2.TransportError:
                pass
            time.sleep(0.05)
        raise AssertionError(f"{path} is not answered:\n{self.log}")

    @property
    def log(self) -> str:
        return self._log.read_text()

    def end(self) -> int:
        """SIGTERM, as a service manager does; its exit code."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(PATIENCE)

    def _after(self, key: str) -> str:
        line = next(line for line in self.config.read_text().splitlines() if key in line)
        return line.partition(key)[2].strip().strip('"')
