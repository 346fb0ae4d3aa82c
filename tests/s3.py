"""A real S3 server in a thread: requests over HTTP, signed, and objects that come and go."""

from __future__ import annotations

import copy
import logging
import secrets
import threading
import urllib.request
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Interface
from typing import Any

from composia.tools.shell import Command, LocalShell
from tests.lab.keys import light_key

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class S3:
    """One bucket, behind an address that engines reach."""

    def __init__(self, host: str) -> None:
        self._inner = _application()
        #: How many objects are still taken; None: any number.
        self.takes: int | None = None
        # Several come at once, each in a thread of its own.
        self._counting = threading.Lock()
        self._server = _server(host, self._answer)
        self.url = f"http://{host}:{self._server.port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        # What is stored is the process's, not the server's: another server would hold it too.
        self._bucket = f"backups-{secrets.token_hex(4)}"
        try:
            self._ask("PUT", self._bucket)
        except BaseException:
            self.end()
            raise

    def profile(self, password: str, root: str) -> str:
        """A rustic profile for a repository there."""
        return f"""[repository]
repository = "opendal:s3"
password = "{password}"

[repository.options]
bucket = "{self._bucket}"
endpoint = "{self.url}"
region = "us-east-1"
access_key_id = "planted-access-key"
secret_access_key = "planted-secret-key"
root = "{root}"
enable_virtual_host_style = "false"
"""

    def objects(self, root: str) -> list[str]:
        """The keys of what it holds there."""
        return [key for key in self._keys() if key.startswith(f"{root.strip('/')}/")]

    def size(self, key: str) -> int:
        """Of an object, in bytes."""
        return len(self._keys()[key].value)

    def lose(self, key: str) -> None:
        """An object that somebody has deleted."""
        del self._keys()[key]

    def clone(self, root: str, to: str) -> None:
        """The same objects at another place too."""
        keys = self._keys()
        for name in self.objects(root):
            made = copy.copy(keys[name])
            made.name = to.strip("/") + name[len(root.strip("/")) :]
            keys[made.name] = made

    def lighten(self, root: str, password: str) -> None:
        """Let the repository there open at once."""
        keys = self._keys()
        for name in self.objects(f"{root}/keys"):
            # The folder is an object too, an empty one.
            if (dear := keys[name].value) and (light := light_key(dear, password)):
                made = keys[name]
                made.name = f"{root.strip('/')}/keys/{light[0]}"
                made.value = light[1]
                keys[made.name] = made
                self.lose(name)

    def _keys(self) -> Any:
        from moto.backends import get_backend

        return get_backend("s3")["123456789012"]["aws"].buckets[self._bucket].keys

    def end(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _ask(self, method: str, path: str) -> None:
        wanted = urllib.request.Request(f"{self.url}/{path}", method=method)
        # With the first call it imports much.
        urllib.request.urlopen(wanted, timeout=120).close()

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] == "PUT" and not self._takes_one_more():
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start("403 Forbidden", [("Content-Type", "application/xml")])
            return [b"<Error><Code>AccessDenied</Code><Message>full</Message></Error>"]
        return self._inner(environ, start)

    def _takes_one_more(self) -> bool:
        with self._counting:
            if self.takes is None:
                return True
            left, self.takes = self.takes, max(self.takes - 1, 0)
            return left > 0


@contextmanager
def served(host: str) -> Iterator[S3]:
    """A server of its own, with an empty bucket."""
    server = S3(host)
    try:
        yield server
    finally:
        server.end()


async def reachable(shell: LocalShell) -> str:
    """An address of this machine that containers in the engine's own network reach."""
    addresses = ("ip", "-4", "-o", "addr", "show")
    inside = ("docker", "run", "--rm", "--network", "host", "busybox:lab", *addresses)
    theirs = {one.network for one in await _addresses(shell, inside)}
    ours = await _addresses(shell, addresses)
    found = next(one for one in ours if one.network in theirs and not one.is_loopback)
    return str(found.ip)


async def _addresses(shell: LocalShell, words: tuple[str, ...]) -> list[IPv4Interface]:
    said = (await shell.run(Command(words))).stdout.decode().split()
    return [IPv4Interface(said[at + 1]) for at, word in enumerate(said) if word == "inet"]


def _application() -> Application:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from moto import server
    made: Application = server.DomainDispatcherApplication(server.create_backend_app)  # type: ignore[attr-defined]  # it is not listed there
    return made


def _server(host: str, application: Application) -> Any:
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    return make_server(host, 0, application, threaded=True)
