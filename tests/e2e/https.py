"""A client that asks a node for a site by name, whatever DNS says, and checks the certificate."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Seconds that an answer may take.
PATIENCE = 20.0


@dataclass(frozen=True)
class Answer:
    """What came back, and the serial number of the certificate that it came under."""

    status: int
    body: str
    serial: str | None


def get(
    address: str, host: str, root_ca: Path | None, path: str = "/", patience: float = PATIENCE
) -> Answer:
    """Ask over HTTPS. Raises ssl.SSLError where the certificate is not of the host.

    `root_ca`: who must have signed it; None: whoever.
    """
    with connect(address, host, root_ca, patience) as secured:
        certificate: Mapping[str, Any] = secured.getpeercert() or {}
        return _ask(secured, host, path, certificate.get("serialNumber"))


def get_plain(address: str, host: str, path: str = "/") -> Answer:
    """Ask over HTTP."""
    with socket.create_connection((address, 80), timeout=PATIENCE) as plain:
        return _ask(plain, host, path, None)


def connect(
    address: str, host: str, root_ca: Path | None, patience: float = PATIENCE
) -> ssl.SSLSocket:
    """An open connection whose certificate was verified, where `root_ca` is named."""
    context = ssl.create_default_context(cafile=str(root_ca) if root_ca else None)
    if root_ca is None:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    plain = socket.create_connection((address, 443), timeout=patience)
    try:
        return context.wrap_socket(plain, server_hostname=host)
    except BaseException:
        plain.close()
        raise


def _ask(connection: socket.socket, host: str, path: str, serial: str | None) -> Answer:
    request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    connection.sendall(request.encode())
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    return Answer(answer.status, answer.read().decode(), serial)
