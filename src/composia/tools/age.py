"""age: encrypted files of the catalog, and the identities that open them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

from pyrage import DecryptError, IdentityError, RecipientError, decrypt, encrypt, x25519

#: What pyrage says when a file was encrypted for others.
_NOT_OURS = "No matching keys found"
#: How an encrypted file begins, binary and armoured (age-encryption.org/v1, and its armor).
_BEGINNINGS = (b"age-encryption.org/v1\n", b"-----BEGIN AGE ENCRYPTED FILE-----")


@dataclass(frozen=True, slots=True)
class Identities:
    """The keys of an identity file. Nothing shows them."""

    _keys: tuple[x25519.Identity, ...] = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Of a file as `age-keygen` writes it: a key a line, and comments. Raises ValueError."""
        lines = [line.strip() for line in text.splitlines()]
        try:
            keys = tuple(
                x25519.Identity.from_str(line)
                for line in lines
                if line and not line.startswith("#")
            )
        except IdentityError:
            keys = ()
        if not keys:
            raise ValueError(
                "holds no age identity, which is a line that begins with AGE-SECRET-KEY-1; make"
                " one: composia catalog new-identity FILE"
            )
        return cls(keys)

    @property
    def recipients(self) -> tuple[str, ...]:
        """Whom to encrypt for; no secret."""
        return tuple(str(key.to_public()) for key in self._keys)

    def decrypted(self, content: bytes) -> bytes:
        """The plain text of a file, binary or armoured. Raises ValueError with the reason."""
        try:
            return decrypt(content, self._keys)
        except DecryptError as error:
            reason = (str(error).splitlines() or [""])[0]
            if reason == _NOT_OURS:
                raise ValueError(
                    "it was encrypted for none of the identities of controller.secrets"
                ) from None
            raise ValueError(f"it is no age file, or not whole ({reason})") from None


def is_encrypted(content: bytes) -> bool:
    """Whether it looks like an age file. Whether it opens, only an identity can tell."""
    return content.lstrip().startswith(_BEGINNINGS)


def encrypted(content: bytes, recipients: Iterable[str]) -> bytes:
    """The content for these recipients, armoured. Raises ValueError for one that is none."""
    keys = []
    for recipient in recipients:
        try:
            keys.append(x25519.Recipient.from_str(recipient))
        except RecipientError:
            raise ValueError("a recipient is written as in age1…") from None
    return encrypt(content, keys, armored=True)


def new_identity() -> tuple[str, str]:
    """A new key for an identity file, and its recipient."""
    key = x25519.Identity.generate()
    return str(key), str(key.to_public())
