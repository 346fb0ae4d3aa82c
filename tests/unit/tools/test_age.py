"""What opens encrypted files, and what is said of those that it does not open."""

from __future__ import annotations

import asyncio

import pyrage
import pytest
from hypothesis import given
from hypothesis import strategies as st

from composia.tools.age import Identities, encrypted, is_encrypted, new_identity

KEY, RECIPIENT = new_identity()
IDENTITIES = Identities.parse(KEY)
PLAIN = b"PASSWORD=planted\n"
BINARY = pyrage.encrypt(PLAIN, [pyrage.x25519.Recipient.from_str(RECIPIENT)])
ARMOURED = encrypted(PLAIN, [RECIPIENT])


def test_a_file_as_age_keygen_writes_it_has_its_identities() -> None:
    other, recipient = new_identity()
    text = f"# created: 2026-11-29\r\n# public key: x\r\n{KEY}\r\n\n  {other}  \n"

    found = Identities.parse(text)

    assert found.recipients == (RECIPIENT, recipient)
    for one in found.recipients:
        assert found.decrypted(encrypted(PLAIN, [one])) == PLAIN


def test_what_is_encrypted_is_known_by_how_it_begins() -> None:
    assert all(map(is_encrypted, (BINARY, ARMOURED, b"\n" + ARMOURED)))
    assert not any(map(is_encrypted, (b"", PLAIN, b"age", PLAIN + ARMOURED)))


def test_an_identity_is_not_shown() -> None:
    assert "AGE-SECRET-KEY" not in f"{IDENTITIES!r}{IDENTITIES}"


@pytest.mark.parametrize(
    "text",
    ["", "# a comment", "AGE-SECRET-KEY-1X", f"{KEY}\nrubbish"],
    ids=["empty", "a comment", "no key", "a key and more"],
)
def test_what_is_no_identity_is_told_and_not_shown(text: str) -> None:
    with pytest.raises(ValueError, match="no age identity") as told:
        Identities.parse(text)
    assert KEY not in str(told.value)


@pytest.mark.parametrize(
    "content",
    [BINARY, ARMOURED, ARMOURED.replace(b"\n", b"\r\n")],
    ids=["binary", "armoured", "with carriage returns"],
)
async def test_binary_and_armoured_files_are_opened_in_any_thread(content: bytes) -> None:
    assert await asyncio.to_thread(IDENTITIES.decrypted, content) == PLAIN


def test_a_large_file_is_opened() -> None:
    content = bytes(range(256)) * 40_960
    assert IDENTITIES.decrypted(encrypted(content, [RECIPIENT])) == content


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (encrypted(PLAIN, [new_identity()[1]]), "none of the identities"),
        (pyrage.passphrase.encrypt(PLAIN, "secret"), "none of the identities"),
        (b"", "no age file, or not whole"),
        (b"PASSWORD=planted", "no age file, or not whole"),
        (BINARY[:-1], "no age file, or not whole"),
        (BINARY + b"x", "no age file, or not whole"),
        (ARMOURED[:-60], "no age file, or not whole"),
    ],
    ids=["others'", "password", "empty", "plain", "cut", "longer", "armoured, cut"],
)
def test_what_cannot_be_opened_is_told_with_its_reason(content: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as told:
        IDENTITIES.decrypted(content)
    assert "planted" not in str(told.value)
    assert "\n" not in str(told.value)


@given(st.sampled_from((BINARY, ARMOURED)), st.integers(0, 200), st.binary(max_size=8))
def test_whatever_is_broken_in_a_file_it_is_opened_whole_or_not_at_all(
    whole: bytes, at: int, written: bytes
) -> None:
    try:
        found = IDENTITIES.decrypted(whole[:at] + written + whole[at + len(written) :])
    except ValueError:
        return
    assert found == PLAIN


def test_a_recipient_that_is_none_is_told() -> None:
    with pytest.raises(ValueError, match="recipient"):
        encrypted(PLAIN, ["age1rubbish"])
