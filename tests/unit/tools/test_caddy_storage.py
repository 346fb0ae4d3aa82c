"""Certificates that come from another node, honest ones and others."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from composia.errors import Failure, Invalid
from composia.tools.caddy_storage import (
    Certificate,
    authorities,
    forget_trusted,
    from_frame,
    newest,
    put,
    write_trusted,
)

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def certificate(host: str = "a.test", *, days: int = 30, issuer: str = "local") -> Certificate:
    """A certificate that signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Certificate(issuer, host, signed.public_bytes(Encoding.PEM), pem, b"{}")


def test_a_certificate_arrives_as_it_was_sent() -> None:
    sent = certificate()
    assert from_frame(sent.as_frame()) == sent


def test_what_is_put_is_found_again_under_caddys_names(tmp_path: Path) -> None:
    sent = certificate("*.a.test")
    assert put(tmp_path, sent)
    assert newest(tmp_path, "*.a.test") == sent
    folder = tmp_path / "certificates/local/wildcard_.a.test"
    assert {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()} == {
        f"wildcard_.a.test.{kind}": 0o600 for kind in ("crt", "key", "json")
    }
    assert list((tmp_path / "composia").iterdir()) == []


def test_an_older_one_does_not_replace_a_newer_one(tmp_path: Path) -> None:
    own, older = certificate(days=60), certificate(days=30)
    put(tmp_path, own)
    assert not put(tmp_path, older)
    assert newest(tmp_path, "a.test") == own


def test_a_newer_one_replaces_an_older_one_whole(tmp_path: Path) -> None:
    put(tmp_path, certificate(days=30))
    newer = certificate(days=60)
    assert put(tmp_path, newer)
    assert newest(tmp_path, "a.test") == newer


def misnamed() -> Certificate:
    return replace(certificate(), host="b.test")


def with_another_key() -> Certificate:
    return replace(certificate(), key=certificate().key)


HOSTILE: dict[str, Callable[[], Certificate]] = {
    "host leads out": lambda: replace(certificate(), host="../../etc"),
    "host has dots": lambda: replace(certificate(), host="a..test"),
    "issuer leads out": lambda: replace(certificate(), issuer="../x"),
    "issuer is hidden": lambda: replace(certificate(), issuer=".x"),
    "issuer has a slash": lambda: replace(certificate(), issuer="a/b"),
    "of another name": misnamed,
    "another key": with_another_key,
    "no key": lambda: replace(certificate(), key=b"x"),
    "no certificate": lambda: replace(certificate(), crt=b"x"),
    "too large": lambda: replace(certificate(), json=b"x" * 1024 * 1024),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_certificate_is_refused_and_writes_nothing(tmp_path: Path, what: str) -> None:
    hostile = HOSTILE[what]()
    with pytest.raises(Invalid):
        put(tmp_path, hostile)
    with pytest.raises(Invalid):
        from_frame(hostile.as_frame())
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize("frame", [b"", b"[]", b"{}", json.dumps({"issuer": 1}).encode()])
def test_a_frame_that_is_no_certificate_is_refused(frame: bytes) -> None:
    with pytest.raises(Invalid):
        from_frame(frame)


def test_printing_a_certificate_shows_no_key() -> None:
    assert "PRIVATE" not in repr(certificate())
    assert "PRIVATE" not in str(certificate())


@pytest.mark.parametrize(
    ("issuer", "public"),
    [
        ("acme-v02.api.letsencrypt.org-directory", True),
        ("local", False),
        ("ca.example.com-acme-directory", False),
        ("acme-v02.api.letsencrypt.organic", False),
    ],
)
def test_only_well_known_issuers_are_trusted_by_every_system(issuer: str, *, public: bool) -> None:
    assert certificate(issuer=issuer).is_public is public


def test_what_is_trusted_is_named_by_its_content_and_removed_with_the_service(
    tmp_path: Path,
) -> None:
    pem = certificate("one.test").crt.decode()
    one = write_trusted(tmp_path, "app", [pem, "not a certificate", pem + "and more"])
    other = write_trusted(tmp_path, "app", [certificate("other.test").crt.decode()])
    neighbour = write_trusted(tmp_path, "app-b", [pem])
    assert one != other
    assert one.read_text() == pem
    forget_trusted(other, kept=other)
    assert (one.exists(), other.exists()) == (False, True)
    forget_trusted(other)
    assert (other.exists(), neighbour.exists()) == (False, True)


@pytest.mark.parametrize("link", ["composia", "certificates", "certificates/local", ""])
def test_nothing_is_written_through_a_link_in_the_storage(tmp_path: Path, link: str) -> None:
    storage, outside = tmp_path / "storage", tmp_path / "outside"
    outside.mkdir()
    (storage / link).parent.mkdir(parents=True, exist_ok=True)
    (storage / link).symlink_to(outside)

    with pytest.raises(Failure, match="no certificate can be"):
        put(storage, certificate())
    if link in ("composia", ""):
        with pytest.raises(Failure, match="no certificate can be"):
            write_trusted(storage, "app", [certificate().crt.decode()])

    assert list(outside.iterdir()) == []


def test_nothing_is_removed_through_a_link_in_the_storage(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/app.x.pem").touch()
    (tmp_path / "composia").symlink_to(tmp_path / "outside")
    forget_trusted(tmp_path / "composia/app.y.pem")
    assert (tmp_path / "outside/app.x.pem").exists()


def test_no_link_of_caddys_is_read(tmp_path: Path) -> None:
    outside, storage = tmp_path / "outside", tmp_path / "storage"
    for folder in (outside, storage):
        folder.mkdir()
    put(outside, certificate())
    (storage / "certificates").symlink_to(outside / "certificates")
    assert newest(storage, "a.test") is None

    (storage / "certificates").unlink()
    folder = storage / "certificates/local/a.test"
    folder.mkdir(parents=True)
    for name in ("a.test.crt", "a.test.key", "a.test.json"):
        (folder / name).symlink_to(outside / "certificates/local/a.test" / name)
    assert newest(storage, "a.test") is None


def test_authorities_are_certificates_and_nothing_else(tmp_path: Path) -> None:
    pem = certificate().crt
    roots = {"local": pem, "odd": b"root:x:0:0", "talks": b"secret" + b"\n" + pem}
    for name, content in roots.items():
        (tmp_path / "pki/authorities" / name).mkdir(parents=True)
        (tmp_path / "pki/authorities" / name / "root.crt").write_bytes(content)
    (tmp_path / "own.crt").write_bytes(pem)
    (tmp_path / "pki/authorities/linked").mkdir()
    (tmp_path / "pki/authorities/linked/root.crt").symlink_to(tmp_path / "own.crt")
    assert authorities(tmp_path) == (pem.decode(), pem.decode())
