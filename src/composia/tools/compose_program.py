"""Which program `docker compose` is: the plugin, without the way over `docker`.

On that way it is started twice, the first time only to say what it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from composia.errors import CommandFailed
from composia.tools.shell import Command, Shell

#: Nobody listens there: asked for its plugins, `docker` need not wait for an engine.
NO_ENGINE = {"DOCKER_HOST": "unix:///dev/null"}


@dataclass(frozen=True, slots=True)
class ComposeProgram:
    """How compose is called. Without a plugin's path: by way of `docker`."""

    plugin: Path | None = None

    @property
    def words(self) -> tuple[str, ...]:
        """What comes before compose's own arguments."""
        if self.plugin and self.plugin.is_file():
            return (str(self.plugin),)
        return ("docker", "compose")


class _Plugin(BaseModel):
    name: str = Field(alias="Name")
    path: Path = Field(alias="Path")


_plugins: TypeAdapter[list[_Plugin]] = TypeAdapter(list[_Plugin])


async def find_compose(shell: Shell) -> ComposeProgram:
    """The plugin that `docker` would start; without one it is left to `docker` to say so."""
    words = ("docker", "info", "--format", "{{json .ClientInfo.Plugins}}")
    try:
        finished = await shell.run(Command(words, env=NO_ENGINE), check=False)
        found = _plugins.validate_json(finished.stdout)
    except (CommandFailed, ValidationError):
        found = []
    return ComposeProgram(next((one.path for one in found if one.name == "compose"), None))
