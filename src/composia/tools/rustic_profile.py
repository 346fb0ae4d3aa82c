"""Finding the rustic profile of a compose service, and what in it concerns us."""

from __future__ import annotations

import tomllib
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any

from composia.errors import Invalid
from composia.tools.compose import ComposeConfig, ComposeService
from composia.tools.docker import Docker

#: Where profiles are looked for inside the container, before `.config/rustic` at home.
FOLDERS = ("/config", "/etc/rustic")
OPTIONS = ("-P", "-c", "--use-profile")
#: Settings of `[backup]` and others under which our calls would not do what they say.
REFUSED = (
    ("global", "dry-run", "nothing would ever be saved"),
    ("snapshot-filter", None, "backups would be hidden from Composia"),
    ("backup", "skip-if-unchanged", "an unchanged data item would get no snapshot"),
    ("backup", "one-file-system", "data items are mounts, and would be saved empty"),
    ("backup", "as-path", "backups could not be restored from where Composia looks for them"),
    ("backup", "time", "backups would get a wrong time"),
    ("backup", "init", "a repository would be made wherever there is none"),
)
#: Settings of `[backup]` that leave something out.
FILTERS = (
    "globs", "iglobs", "glob-files", "iglob-files", "git-ignore", "custom-ignorefiles",
    "exclude-if-present", "exclude-larger-than",
)  # fmt: skip
#: Variables that stay, whatever the profile says.
KEPT = ("RUSTIC_PROFILE_SUBSTITUTE_ENV", "RUSTIC_CACHE_DIR", "RUSTIC_NO_CACHE")
#: Variables that stay where the profile has none of these keys in `[repository]`.
INSTEAD = {
    "RUSTIC_REPOSITORY": ("repository",),
    "RUSTIC_REPO_HOT": ("repo-hot",),
    "RUSTIC_KEY": ("key",),
    "RUSTIC_PASSWORD": ("password",),
}


#: Settings of these sections under which rustic reaches for nothing but its repository.
INERT = {
    "global": {"use-profiles", "log-level", "log-file", "no-progress", "progress-interval"},
    "repository": {
        "repository", "password", "password-file", "key", "key-file", "no-cache", "cache-dir",
        "options",
    },
}  # fmt: skip
#: Settings anywhere under which it may reach for something else.
REACHING = {"hooks", "metrics", "metrics-job", "metrics-labels", "stdin-command"}
INERT_VARIABLES = {
    "RUSTIC_REPOSITORY", "RUSTIC_PASSWORD", "RUSTIC_PASSWORD_FILE", "RUSTIC_KEY",
    "RUSTIC_KEY_FILE", *KEPT,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Profile:
    """A profile's file inside the container, and those it includes."""

    file: str
    text: str
    parts: tuple[Mapping[str, Any], ...]

    @property
    def repository(self) -> str | None:
        """The repository as the profile names it."""
        named = (section(part, "repository").get("repository") for part in self.parts)
        return next((str(place) for place in named if place), None)

    @property
    def globs(self) -> tuple[str, ...]:
        """The user's own globs: one on the command line would replace them all."""
        lists = (section(part, "backup").get("globs") or [] for part in self.parts)
        return tuple(
            str(glob) for globs in lists for glob in ([globs] if isinstance(globs, str) else globs)
        )

    @property
    def cache(self) -> str | None:
        """The folder for what rustic keeps to be quicker, where the user names it."""
        named = (section(part, "repository").get("cache-dir") for part in self.parts)
        return next((str(place) for place in named if place), None)

    @property
    def logs(self) -> bool:
        """Whether rustic writes a file of what it does."""
        return any(section(part, "global").get("log-file") for part in self.parts)

    @property
    def filters(self) -> bool:
        """Whether the user leaves anything out of a backup."""
        return any(filters(part) for part in self.parts)

    def stays_here(self, variables: Collection[str]) -> bool:
        """Whether nothing in it makes rustic reach for anything but its repository."""
        asks = {name for name in variables if name.startswith(("RUSTIC_", "OPENDAL"))}
        return not asks - INERT_VARIABLES and all(map(_stays_here, self.parts))

    def neutralised(self, names: Sequence[str]) -> list[str]:
        """Those of a container's variables that would silently win over the profile."""
        return [name for name in names if name.startswith("RUSTIC_") and not self._stays(name)]

    def _stays(self, name: str) -> bool:
        if name in KEPT or f"${{{name}}}" in self.text:
            return True
        for prefix, keys in INSTEAD.items():
            if name.startswith(prefix):
                return not any(self._has(key) for key in keys)
        return False

    def _has(self, start: str) -> bool:
        sections = (section(part, "repository") for part in self.parts)
        return any(key.startswith(start) for section in sections for key in section)


class Mounts:
    """What of a compose service's file tree lies on this machine."""

    def __init__(
        self,
        config: ComposeConfig,
        service: ComposeService,
        mountpoint: Callable[[str], Awaitable[Path | None]],
    ) -> None:
        self._volumes = config.volumes
        self._mounts = service.mounts
        self._mountpoint = mountpoint

    async def host_path(self, inside: str) -> Path | None:
        """Where a path of the container lies on this machine; None where it does not."""
        path = PurePosixPath(inside)
        above = [mount for mount in self._mounts if path.is_relative_to(mount.target)]
        if not above:
            return None
        nearest = max(above, key=lambda mount: len(PurePosixPath(mount.target).parts))
        source = await self._source(nearest.type, nearest.source)
        return source / path.relative_to(nearest.target) if source else None

    async def _source(self, kind: str, source: str | None) -> Path | None:
        if kind == "bind" and source:
            return Path(source)
        if kind == "volume" and source and source in self._volumes:
            return await self._mountpoint(self._volumes[source].name)
        return None


async def find_profile(
    name: str, service: ComposeService, mounts: Mounts, home: str, *, exact: bool = False
) -> Profile:
    """The first file that `formats.md` names and that exists. Raises Invalid where none does.

    With `exact` no other profile stands in that the service's command happens to name.
    """
    looked_for = list(dict.fromkeys(_candidates(name, service.command or (), home)))
    if exact:
        wanted = name.removesuffix(".toml")
        looked_for = [file for file in looked_for if PurePosixPath(file).stem == wanted]
    for file in looked_for:
        place = await mounts.host_path(file)
        if place and place.is_file():
            profile = await _read(file, place, mounts, home)
            _refuse(profile)
            if exact:
                _refuse_variables(profile)
            return profile
    raise Invalid(
        f"compose service {service.name} has no rustic profile {name!r}: "
        f"none of {', '.join(looked_for)} is in a folder that it mounts",
        hint=f"Mount a folder with {name}.toml at /config and deploy the service"
        + ("." if exact else ", or set infra.rustic.profile."),
    )


def mounts_of(config: ComposeConfig, service: ComposeService, docker: Docker) -> Mounts:
    """The mounts of a service, its volumes asked of the engine."""

    async def mountpoint(volume: str) -> Path | None:
        found = await docker.volume(volume)
        return found.data or found.mountpoint if found else None

    return Mounts(config, service, mountpoint)


def _candidates(name: str, command: Sequence[str], home: str) -> Iterator[str]:
    """Paths inside the container, the most wanted first."""
    folders = (*FOLDERS, f"{home.rstrip('/')}/.config/rustic")
    named = [file for word in _named_in(command) for file in _files(word, folders)]
    fitting = [file for file in named if name in ("default", PurePosixPath(file).stem)]
    yield from fitting
    yield from _files(name, folders)
    if name == "default":
        yield from _files("rustic", folders)
    yield from named


def _named_in(command: Sequence[str]) -> Iterator[str]:
    for word, following in pairwise((*command, "")):
        option, equals, value = word.partition("=")
        if option in OPTIONS and (value or following):
            yield value if equals else following


def _files(profile: str, folders: Sequence[str]) -> Iterator[str]:
    file = profile if profile.endswith(".toml") else f"{profile}.toml"
    if file.startswith("/"):
        yield file
    else:
        yield from (f"{folder}/{file}" for folder in folders)


async def _read(file: str, place: Path, mounts: Mounts, home: str) -> Profile:
    """The profile and those it includes, each once."""
    texts: dict[str, str] = {file: place.read_text(errors="replace")}
    parts: list[Mapping[str, Any]] = []
    waiting = [file]
    while waiting:
        parts.append(_parsed(current := waiting.pop(0), texts[current]))
        for included in section(parts[-1], "global").get("use-profiles") or ():
            for candidate in _candidates(str(included), (), home):
                found = await mounts.host_path(candidate)
                if candidate not in texts and found and found.is_file():
                    texts[candidate] = found.read_text(errors="replace")
                    waiting.append(candidate)
                    break
    return Profile(file, "\n".join(texts.values()), tuple(parts))


def _parsed(file: str, text: str) -> Mapping[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        # Without the line itself: it may hold the password.
        raise Invalid(
            f"the rustic profile {file} is not valid TOML: {error}", hint="Mend the file."
        ) from None


def _refuse(profile: Profile) -> None:
    for title, key, why in REFUSED:
        for part in profile.parts:
            found = section(part, title)
            if (found.get(key) if key else found) not in (None, False, {}):
                named = f"[{title}] {key}" if key else f"[{title}]"
                raise Invalid(
                    f"the rustic profile {profile.file} sets {named}: {why}",
                    hint="Move it to a profile of your own, which Composia does not use.",
                )


def _refuse_variables(profile: Profile) -> None:
    """rustic fills them in where a repository is its own, and takes them literally for a copy's.

    Such a copy would be encrypted with the password `${NAME}`.
    """
    for part in profile.parts:
        named = section(part, "repository")
        values = [*named.values(), *section(named, "options").values()]
        if any("${" in str(value) for value in values):
            raise Invalid(
                f"the rustic profile {profile.file} has `${{...}}` in [repository]: rustic does not"
                " fill it in for a copy",
                hint="Write the value itself, or name a `password-file`.",
            )


def _stays_here(part: Mapping[str, Any]) -> bool:
    known = all(section(part, name).keys() <= allowed for name, allowed in INERT.items())
    return known and not _names(part) & REACHING


def _names(value: Any) -> set[str]:
    """Every key in it, at every depth."""
    if isinstance(value, Mapping):
        return set(value).union(*map(_names, value.values()))
    return set().union(*map(_names, value)) if isinstance(value, list) else set()


def filters(part: Mapping[str, Any]) -> bool:
    """Whether a profile leaves anything out of a backup, those that it includes aside."""
    backup = section(part, "backup")
    return any(backup.get(name) for name in FILTERS)


def section(part: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A section of a profile; empty where there is none."""
    found = part.get(name)
    return found if isinstance(found, Mapping) else {}
