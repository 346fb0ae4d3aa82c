"""Digests as text."""

from __future__ import annotations

#: 64 hex digits: a SHA-256, and what rustic calls a snapshot or a repository.
DIGEST_PATTERN = r"^[0-9a-f]{64}$"
