"""Composia: a control plane for Docker Compose services that keeps their data safe."""

from __future__ import annotations

__version__ = "0.1.0"
