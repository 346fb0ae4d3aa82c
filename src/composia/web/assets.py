"""Scripts and styles as Vite built them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

STATIC = Path(__file__).parent / "static" / "built"
MANIFEST = STATIC / "manifest.json"
_ISLANDS = "src/composia/web/islands"


class Built(StaticFiles):
    """The built files; a name holds a digest of the content, so a browser keeps it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(directory=folder, check_dir=False)

    async def check_config(self) -> None:
        """Nothing: where nothing was built, nothing is found."""

    def file_response(
        self, full_path: Any, stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """As Starlette answers, kept for a year."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response


class Assets:
    """Where each island is; read again when somebody has built anew."""

    def __init__(self, manifest: Path = MANIFEST) -> None:
        self._manifest = manifest
        self._read_at: int | None = None
        self._known: dict[str, Any] = {}

    def script(self, island: str) -> str | None:
        """The address of an island; None where nothing is built."""
        found = self._all().get(f"{_ISLANDS}/{island}.ts")
        return f"/static/{found['file']}" if found else None

    def styles(self, island: str) -> list[str]:
        """The addresses of the styles that an island needs."""
        found = self._all().get(f"{_ISLANDS}/{island}.ts") or {}
        return [f"/static/{name}" for name in found.get("css", [])]

    def _all(self) -> dict[str, Any]:
        try:
            changed_at = self._manifest.stat().st_mtime_ns
        except FileNotFoundError:
            return {}
        if changed_at != self._read_at:
            self._known = json.loads(self._manifest.read_text())
            self._read_at = changed_at
        return self._known
