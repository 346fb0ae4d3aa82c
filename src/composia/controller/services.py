"""The services of a commit: each folder's meta file parsed once, whatever else is broken."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from composia.errors import Invalid, Problem
from composia.model.catalog import (
    COMPOSE_FILES,
    META_FILE,
    Broken,
    CatalogView,
    Service,
    claims_of,
    in_folder,
    misfits_of,
    settled,
)
from composia.model.meta import Meta
from composia.model.names import FOLDER_PATTERN
from composia.model.service import ServiceRef
from composia.tools import rustic_places
from composia.tools.age import Identities
from composia.tools.bundle import deployed_name, is_encrypted
from composia.tools.git import Entry, Git
from composia.tools.parsing import parse
from composia.tools.yaml import MAX_BYTES, Document, Loc, load

_PLAIN = ("100644", "100755")


@dataclass(frozen=True, slots=True)
class _Read:
    """A meta file: parsed, or what is wrong with it; document None where it is not even YAML."""

    document: Document | None = None
    meta: Meta | None = None
    problems: tuple[Problem, ...] = ()


@dataclass(slots=True)
class Reader:
    """Reads services from Git; what has not changed since is not parsed again."""

    #: What opens encrypted files; without them they are deployed as they are.
    identities: Identities | None = None
    _known: dict[tuple[str, str], _Read] = field(default_factory=dict)
    #: What rustic profiles name as the repository, by their contents.
    _places: dict[str, str | None] = field(default_factory=dict)

    async def view(self, git: Git, revision: str, nodes: Iterable[str]) -> CatalogView:
        """The services at a revision; empty: none."""
        entries = await git.tree(revision) if revision else ()
        folders = _by_folder(entries)
        metas = {
            folder: files[META_FILE] for folder, files in folders.items() if META_FILE in files
        }
        read = await self._read(git, metas)
        self._known = {(folder, metas[folder].sha): one for folder, one in read.items()}
        decrypts = self.identities is not None
        found = [
            _service(folder, one, folders[folder], revision, decrypts=decrypts)
            for folder, one in read.items()
        ]
        view = settled(revision, found, nodes, _warnings(entries), _locator(read))
        view = view.model_copy(update={"decrypts": decrypts})
        remote = await self._is_remote(git, view, folders)
        return view.model_copy(update={"remote_repository": remote})

    async def _is_remote(
        self, git: Git, view: CatalogView, folders: Mapping[str, Mapping[str, Entry]]
    ) -> bool:
        holder = next((one for one in view.services.values() if "rustic" in one.infra), None)
        if holder is None or holder.meta.infra.rustic is None:
            return False
        inside = _deployed(folders[holder.ref.folder], decrypts=view.decrypts)
        profiles = {
            inside[path].sha: inside[path]
            for path in rustic_places.profiles(inside, holder.meta.infra.rustic.profile)
            if _is_readable(inside[path])
        }
        contents = await git.blobs(profiles.keys() - self._places.keys())
        new = {
            sha: rustic_places.place(self._text(profiles[sha], content))
            for sha, content in contents.items()
        }
        self._places = {sha: {**self._places, **new}[sha] for sha in profiles}
        return rustic_places.are_remote(self._places.values())

    def _text(self, entry: Entry, content: bytes) -> str:
        if self.identities and is_encrypted(entry):
            # One that cannot be decrypted is told when it is to be deployed.
            with suppress(ValueError):
                content = self.identities.decrypted(content)
        return content.decode(errors="replace")

    async def _read(self, git: Git, metas: Mapping[str, Entry]) -> dict[str, _Read]:
        new = {
            folder: entry
            for folder, entry in metas.items()
            if (folder, entry.sha) not in self._known and _is_readable(entry)
        }
        contents = await git.blobs({entry.sha for entry in new.values()})
        found = {}
        for folder, entry in metas.items():
            if not _is_readable(entry):
                found[folder] = _unreadable(folder)
            elif folder in new:
                found[folder] = _parsed(f"{folder}/{META_FILE}", contents[entry.sha])
            else:
                found[folder] = self._known[folder, entry.sha]
        return found


def faults(
    view: CatalogView, folder: str, others: Iterable[str], content: bytes, nodes: Iterable[str]
) -> tuple[Problem, ...]:
    """What would be wrong with a folder's meta file, were this its content.

    `others` are the paths of the folder's files below it.
    """
    read = _parsed(f"{folder}/{META_FILE}", content)
    files = {name: Entry("100644", "", 0, name) for name in others}
    found = _service(folder, read, files, view.revision, decrypts=view.decrypts)
    if isinstance(found, Broken):
        return found.problems
    locate = _locator({folder: read})
    misfits = misfits_of(found, claims_of(view.services.values()), set(nodes))
    return tuple(locate(folder, loc, msg) for loc, msg in misfits)


def _by_folder(entries: Iterable[Entry]) -> dict[str, dict[str, Entry]]:
    folders: dict[str, dict[str, Entry]] = defaultdict(dict)
    for entry in entries:
        folder, slash, inside = entry.path.partition("/")
        if slash:
            folders[folder][inside] = entry
    return folders


def _is_readable(entry: Entry) -> bool:
    return entry.mode in _PLAIN and entry.size <= MAX_BYTES


def _unreadable(folder: str) -> _Read:
    msg = f"must be a plain file of at most {MAX_BYTES // 1024} KiB"
    return _Read(problems=(in_folder(folder, (), msg),))


def _parsed(file: str, content: bytes) -> _Read:
    document = None
    try:
        document = load(content, file)
        return _Read(document, parse(document, Meta))
    except Invalid as error:
        return _Read(document, problems=error.problems)


def _service(
    folder: str, read: _Read, files: Mapping[str, Entry], revision: str, *, decrypts: bool
) -> Service | Broken:
    deployed = _deployed(files, decrypts=decrypts)
    problems = (*read.problems, *_misfits(folder, read, deployed))
    if read.meta is None or problems:
        return _broken(folder, read, problems)
    ref = ServiceRef(
        name=read.meta.name,
        folder=folder,
        project=read.meta.project,
        compose_files=_compose_files(read.meta, deployed),
        revision=revision,
    )
    encrypted = () if decrypts else (name for name, entry in files.items() if is_encrypted(entry))
    return Service(ref=ref, meta=read.meta, encrypted=tuple(encrypted))


def _deployed(files: Mapping[str, Entry], *, decrypts: bool) -> Mapping[str, Entry]:
    """A folder's files by the names that they have on a node."""
    if not decrypts:
        return files
    return {
        deployed_name(name) if is_encrypted(entry) else name: entry for name, entry in files.items()
    }


def _misfits(folder: str, read: _Read, files: Mapping[str, Entry]) -> Iterator[Problem]:
    if not re.fullmatch(FOLDER_PATTERN, folder):
        yield in_folder(folder, (), "the folder's name may have letters, digits, `.`, `_` and `-`")
    if read.meta is None or read.document is None:
        return
    for place, name in enumerate(read.meta.compose_files):
        if name not in files:
            yield read.document.problem(("compose_files", place), f"there is no file `{name}`")
    if not _compose_files(read.meta, files):
        yield read.document.problem((), f"the folder has no {' and no '.join(COMPOSE_FILES[:2])}")


def _compose_files(meta: Meta, files: Mapping[str, Entry]) -> tuple[str, ...]:
    return meta.compose_files or tuple(name for name in COMPOSE_FILES if name in files)[:1]


def _broken(folder: str, read: _Read, problems: tuple[Problem, ...]) -> Broken:
    data: Any = read.document.data if read.document else None
    known = data if isinstance(data, dict) else {}
    name, infra = known.get("name"), known.get("infra")
    return Broken(
        folder=folder,
        name=name if isinstance(name, str) else None,
        problems=problems,
        infra=None if read.document is None else _kinds(infra),
    )


def _kinds(infra: Any) -> tuple[str, ...]:
    return tuple(kind for kind in ("rustic", "caddy") if isinstance(infra, dict) and kind in infra)


def _warnings(entries: Iterable[Entry]) -> Iterator[str]:
    for entry in entries:
        folder, _, name = entry.path.rpartition("/")
        if name == META_FILE and (not folder or "/" in folder):
            yield f"{entry.path} is not read: a service is a folder at the top of the catalog"
        if name == "composia-meta.yml":
            yield f"{entry.path} is not read: its name must end in .yaml"
        if deployed_name(name) == META_FILE != name:
            yield f"{entry.path} is not read: {META_FILE} must be in plain"


def _locator(read: Mapping[str, _Read]) -> Any:
    def locate(folder: str, loc: Loc, msg: str) -> Problem:
        document = read[folder].document
        return document.problem(loc, msg) if document else in_folder(folder, loc, msg)

    return locate
