"""One operation's way to the repository of another node."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from composia.agent.bulk import Bulk
from composia.agent.gateway import Gateway
from composia.tools import durable
from composia.tools.rustic_way import Way


class Passage:
    """As `rustic_gateway.Gateway` wants it. `key`: under which the operation was asked for.

    The way has the password, which stays in the memory of this process.
    """

    def __init__(self, gateway: Gateway, bulk: Bulk, key: str, profiles: Path) -> None:
        self._gateway = gateway
        self._bulk = bulk
        self._key = key
        self._profiles = profiles
        self._way: Way | None = None
        self._asking = asyncio.Lock()

    async def way(self) -> Way:
        """How rustic is run; asked once. Raises Failure."""
        async with self._asking:
            if self._way is None:
                self._way = await self._bulk.way(self._key)
        return self._way

    async def profile(self) -> Path:
        """A file with the user's settings, named after them; nothing in it is secret."""
        text = (await self.way()).profile
        file = self._profiles / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.toml"
        if not file.is_file():
            # In one go: nobody else of this agent writes it meanwhile.
            durable.write(file, text.encode())
        return file

    async def certificates(self) -> Path:
        """A file with a certificate that nobody has the key of: nothing can be signed with it."""
        file = self._profiles / "nobody.pem"
        if not file.is_file():
            durable.write(file, nobodys_certificate())
        return file

    def opened(self) -> AbstractAsyncContextManager[str]:
        """The repository's address, good within the context."""
        return self._gateway.opened(self._key)

    async def forget(self, ids: Sequence[str]) -> None:
        """Have snapshots of this task taken out. Raises Failure."""
        await self._bulk.forget(self._key, ids)


def nobodys_certificate() -> bytes:
    """A new authority as PEM, whose key is thrown away."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Composia: nobody")])
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM)
