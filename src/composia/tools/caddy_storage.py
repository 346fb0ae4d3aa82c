"""Certificates in Caddy's storage: `certificates/<issuer>/<host>/<host>.{crt,key,json}`."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from composia.errors import Failure, Invalid
from composia.tools.caddy_config import HOST
from composia.tools.delta_tree import Tree
from composia.tools.exchange import Place, planned
from composia.tools.mounts import try_to_remove

CERTIFICATES = "certificates"
AUTHORITIES = "pki/authorities"
#: Beside them: what is on its way in, and what forwards trust.
OURS = "composia"
#: Caddy's own authority; its certificates are trusted by nobody who has not been told to.
LOCAL = "local"
#: Issuers whose certificates every system trusts.
PUBLIC = re.compile(
    r"(acme-v02\.api\.letsencrypt\.org|acme\.zerossl\.com|dv\.acme-v02\.api\.pki\.goog"
    r"|api\.buypass\.com|acme\.ssl\.com)-|zerossl$"
)
_ISSUER = re.compile(r"[a-z0-9][a-z0-9_.-]{0,199}")
_WILDCARD = "wildcard_"
#: Of one of the three files.
_LARGEST = 128 * 1024


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate with its key: a secret, which is why printing it shows neither."""

    issuer: str
    host: str
    crt: bytes
    key: bytes
    json: bytes

    def __repr__(self) -> str:
        return f"<certificate of {self.host} by {self.issuer}>"

    @property
    def leaf(self) -> x509.Certificate:
        """The certificate itself."""
        return self.chain[0]

    @property
    def chain(self) -> Sequence[x509.Certificate]:
        """It and those that it was signed by. Raises Invalid."""
        try:
            return x509.load_pem_x509_certificates(self.crt)
        except ValueError as error:
            raise Invalid(f"the certificate of {self.host} cannot be read") from error

    @property
    def until(self) -> datetime:
        """When it expires."""
        return self.leaf.not_valid_after_utc

    @property
    def is_public(self) -> bool:
        """Whether every system trusts its issuer."""
        return PUBLIC.match(self.issuer) is not None

    def signers(self) -> tuple[str, ...]:
        """PEM of what to trust so that it verifies: who signed it, or else itself."""
        signed_by = self.chain[1:] or self.chain
        return tuple(one.public_bytes(Encoding.PEM).decode() for one in signed_by)

    def file(self, kind: str) -> str:
        """`crt`, `key` or `json` of it, below the storage."""
        name = folder_name(self.host)
        return f"{CERTIFICATES}/{self.issuer}/{name}/{name}.{kind}"

    def as_frame(self) -> bytes:
        """For the way to another node."""
        kinds = {kind: getattr(self, kind) for kind in ("crt", "key", "json")}
        encoded = {kind: base64.b64encode(content).decode() for kind, content in kinds.items()}
        return json.dumps({"issuer": self.issuer, "host": self.host, **encoded}).encode()


def from_frame(frame: bytes) -> Certificate:
    """What `as_frame` wrote, by somebody who may be hostile. Raises Invalid."""
    try:
        read = json.loads(frame)
        files = {kind: base64.b64decode(read[kind]) for kind in ("crt", "key", "json")}
        found = Certificate(issuer=str(read["issuer"]), host=str(read["host"]), **files)
    except (ValueError, KeyError, TypeError) as error:
        raise Invalid("a certificate came in a form that is not understood") from error
    _refuse_odd(found)
    return found


def newest(storage: Path, host: str) -> Certificate | None:
    """The certificate of a host that lasts longest; None where there is none."""
    name = folder_name(host)
    found = []
    for issuer in _names_in(storage, CERTIFICATES):
        files = {
            kind: _read(storage, f"{CERTIFICATES}/{issuer}/{name}/{name}.{kind}")
            for kind in ("crt", "key", "json")
        }
        read = {kind: content for kind, content in files.items() if content is not None}
        if len(read) == len(files):
            found.append(Certificate(issuer=issuer, host=host, **read))
    return max(found, key=lambda one: one.until, default=None)


def authorities(storage: Path) -> tuple[str, ...]:
    """PEM of the roots of this Caddy's own authorities."""
    names = _names_in(storage, AUTHORITIES)
    roots = [_read(storage, f"{AUTHORITIES}/{name}/root.crt") for name in names]
    return tuple(pem for root in roots if root is not None for pem in _certificates(root))


def _certificates(content: bytes) -> tuple[str, ...]:
    """PEM of the certificates in a file, and nothing else that it says."""
    try:
        found = x509.load_pem_x509_certificates(content)
    except ValueError:
        return ()
    return tuple(one.public_bytes(Encoding.PEM).decode() for one in found)


def _names_in(storage: Path, folder: str) -> list[str]:
    """What lies in a folder of the storage, sorted; nothing where a link is in the way."""
    try:
        with Tree(storage) as tree:
            return sorted(os.listdir(tree.folder(os.fsencode(folder))))
    except OSError:
        return []


def _read(storage: Path, path: str) -> bytes | None:
    """A file of the storage; None where there is none. Caddy writes there: no link is followed."""
    try:
        with Tree(storage) as tree, open(tree.file(os.fsencode(path), os.O_RDONLY), "rb") as file:
            content = file.read(_LARGEST + 1)
    except OSError:
        return None
    return content if len(content) <= _LARGEST else None


def put(storage: Path, certificate: Certificate) -> bool:
    """Put it into the storage, whole or not at all; False where one that lasts as long is there.

    Owner and modes are those of Caddy. Raises Invalid for a hostile one.
    """
    _refuse_odd(certificate)
    there = newest(storage, certificate.host)
    if there and there.issuer == certificate.issuer and there.until >= certificate.until:
        return False
    staged = storage / OURS / f"{secrets.token_hex(6)}"
    try:
        _write(storage, staged, certificate)
        live = storage / certificate.file("crt")
        place = Place(below=storage.parent, path=live.parent)
        with Tree(storage) as tree:
            _own_folder(tree, live.parent.parent.relative_to(storage))
        planned(place, Place(below=storage.parent, path=staged)).make()
    finally:
        try_to_remove(staged)
    return True


def write_trusted(storage: Path, service: str, certificates: Sequence[str]) -> Path:
    """A file of certificates to trust that Caddy can read.

    Named by its content: Caddy takes a configuration that has not changed for loaded.
    """
    pems = dict.fromkeys(pem for one in certificates for pem in _certificates(one.encode()))
    content = "".join(pems).encode()
    path = storage / OURS / f"{service}.{hashlib.sha256(content).hexdigest()[:16]}.pem"
    scratch = path.with_suffix(".new")
    with Tree(storage) as tree:
        folder = _own_folder(tree, Path(OURS))
        _file(scratch.name, content, folder)
        os.rename(scratch.name, path.name, src_dir_fd=folder, dst_dir_fd=folder)
    return path


def forget_trusted(path: Path, *, kept: Path | None = None) -> None:
    """Remove what `write_trusted` has written for the same service, except one."""
    service = path.name.partition(".")[0]
    with suppress(FileNotFoundError, NotADirectoryError), Tree(path.parent) as tree:
        folder = tree.folder(b"")
        for name in os.listdir(folder):
            if fnmatchcase(name, f"{service}.*.pem") and path.parent / name != kept:
                os.unlink(name, dir_fd=folder)


def folder_name(host: str) -> str:
    """A host's folder."""
    return host.lower().replace("*.", f"{_WILDCARD}.", 1)


def _refuse_odd(certificate: Certificate) -> None:
    host, issuer = certificate.host, certificate.issuer
    if not re.fullmatch(HOST.strip("^$"), host) or ".." in host:
        raise Invalid(f"{host[:100]!r} is no host name: its certificate is not taken")
    if not _ISSUER.fullmatch(issuer) or ".." in issuer:
        raise Invalid(f"{issuer[:100]!r} is no issuer's folder: its certificate is not taken")
    if max(len(certificate.crt), len(certificate.key), len(certificate.json)) > _LARGEST:
        raise Invalid(f"the certificate of {host} is too large to be one")
    _refuse_misfit(certificate)


def _refuse_misfit(certificate: Certificate) -> None:
    try:
        key = load_pem_private_key(certificate.key, password=None)
    except (ValueError, TypeError) as error:
        raise Invalid(f"the key of {certificate.host} cannot be read") from error
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*form) != certificate.leaf.public_key().public_bytes(*form):
        raise Invalid(f"the key of {certificate.host} does not fit its certificate")
    if certificate.host.lower() not in _names(certificate.leaf):
        raise Invalid(f"the certificate that came for {certificate.host} is not of that name")


def _names(leaf: x509.Certificate) -> set[str]:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    addresses = {str(one) for one in names.get_values_for_type(x509.IPAddress)}
    return {one.lower() for one in names.get_values_for_type(x509.DNSName)} | addresses


def _write(storage: Path, folder: Path, certificate: Certificate) -> None:
    name = folder_name(certificate.host)
    with Tree(storage) as tree:
        opened = _own_folder(tree, folder.relative_to(storage))
        for kind in ("crt", "key", "json"):
            _file(f"{name}.{kind}", getattr(certificate, kind), opened)


def _file(name: str, content: bytes, folder: int) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with os.fdopen(os.open(name, flags, 0o600, dir_fd=folder), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
        owner = os.fstat(folder)
        os.fchown(file.fileno(), owner.st_uid, owner.st_gid)


def _own_folder(tree: Tree, folder: Path) -> int:
    """A folder of the storage, opened, and made as Caddy makes it. Raises Failure at a link."""
    try:
        owner = os.fstat(tree.folder(b""))
        for part in reversed([folder, *folder.parents][:-1]):
            name, above = tree.at(os.fsencode(part))
            with suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=above)
                os.chown(name, owner.st_uid, owner.st_gid, dir_fd=above, follow_symlinks=False)
        return tree.folder(os.fsencode(folder))
    except OSError as error:
        raise Failure(
            f"no certificate can be written to {folder} in Caddy's storage: {error.strerror}",
            hint="A symbolic link is not followed there: put a real folder in its place.",
        ) from error
