"""The real Engine: rustic, run through the user's own compose service.

Exit code 0 is not success: what counts is the summary, the byte count, the last line, and that
nothing was complained about.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import ClassVar

from composia.errors import Failure, Invalid
from composia.tools import rustic_output as output
from composia.tools.cancelling import to_the_end
from composia.tools.compose import Compose
from composia.tools.docker import Docker
from composia.tools.paths import is_utf8
from composia.tools.rustic import (
    Engine,
    Entry,
    Labels,
    OnProgress,
    Part,
    Pruned,
    SavedTree,
    SnapshotInfo,
    Stream,
)
from composia.tools.rustic_container import Container, Mount, Note, Working, Writes
from composia.tools.rustic_errors import NO_REPOSITORY, NO_SUCH_PATH, failure
from composia.tools.rustic_paths import ROOT, glob, inside, is_special, only, parent
from composia.tools.rustic_service import ServiceContainer
from composia.tools.rustic_stream import OpenStream, saved_by
from composia.tools.shell import Finished, Shell
from composia.tools.wording import few

PROGRESS = ("--json-progress", "--progress-interval", "1s")
#: Half of rustic's own size for packs, and so of the memory that a restore needs.
INIT = ("init", "--set-datapack-size", "8MiB")
RESTORED = "restore done."
#: The names of the owners on this machine: without them rustic complains about every file.
NAMES = (Path("/etc/passwd"), Path("/etc/group"))
#: Ids in one call, so that it stays within what a command line holds.
MANY = 500
CHUNK = 256 * 1024


class ContainerEngine:
    """The repository, through rustic in containers of ours."""

    #: The ids of repositories that were opened, by their fingerprints: to open one takes a second.
    _opened: ClassVar[dict[str, str]] = {}

    def __init__(self, container: Container) -> None:
        self._container = container

    async def repository_id(self, *, far: bool = False) -> str | None:
        """The repository's id; None where its place is listable and empty."""
        fingerprint = await self._container.fingerprint()
        if fingerprint in self._opened:
            return self._opened[fingerprint]
        finished = await self._container.run("cat", "config")
        if finished.code == 0:
            found = output.repository_id(output.text(finished.stdout))
            if fingerprint and fingerprint == await self._container.fingerprint():
                self._opened[fingerprint] = found
            return found
        if NO_REPOSITORY not in finished.stderr.decode(errors="replace"):
            raise failure("opening the repository", finished)
        folder = await self.repository_folder()
        if folder is None and far:
            return None
        if folder is None:
            raise Failure(
                "there is no repository at its place, and Composia cannot see whether it is empty",
                hint="Is it reachable? If it is new, make it yourself: rustic init.",
            )
        await asyncio.to_thread(_refuse_unless_empty, folder)
        return None

    async def init(self) -> str:
        """Make the repository, under a hold, where `repository_id` is None; answers its id."""
        finished = await self._container.run(*INIT, writes=Writes.REPOSITORY)
        _check("making the repository", finished)
        made = await self.repository_id()
        if made is None:
            raise Failure("the repository was made and is not there", hint="Look at its mount.")
        if folder := await self.repository_folder():
            await asyncio.to_thread(_keep_keys_private, folder)
        return made

    async def repository_folder(self) -> Path | None:
        """The repository's folder where it is one of this node."""
        return await self._container.repository_folder()

    async def place(self) -> str:
        """The rustic profile that names it, as rustic is told of it."""
        return await self._container.profile()

    async def save(
        self,
        sources: Mapping[str, Path],
        labels: Labels,
        *,
        exclude: Sequence[str],
        on_progress: OnProgress,
    ) -> SavedTree:
        """Save each source under `/composia/<key>`, the excluded left out."""
        mounts = [Mount(path, f"{ROOT}/{key}", True) for key, path in sources.items()]
        mounts += [Mount(path, str(path), True) for path in NAMES if path.is_file()]
        globs = await self._globs(exclude)
        async with self._saving(labels, (*globs, ROOT), mounts) as working:
            working.stdin.close()
            finished = await working.wait(await _followed(working, on_progress))
            snapshot = saved_by(finished)
        return SavedTree(
            snapshot=snapshot,
            unread=output.unread(output.text(finished.stderr)),
            filtered=await self._container.filters(),
        )

    @asynccontextmanager
    async def save_stream(self, name: str, labels: Labels) -> AsyncIterator[Stream]:
        """Save what is written as the file `/name`. Leaving without `finish` leaves no snapshot."""
        # --force: with a parent rustic would not read the stream and save the last one again.
        options = ("--force", "--no-scan", "--stdin-filename", name, "-")
        async with self._saving(labels, options) as working:
            stream = OpenStream(working)
            try:
                yield stream
            finally:
                await stream.let_go()
            if not stream.finished:
                raise Failure(f"{name} was not saved: its end was never seen")

    async def restore(
        self,
        snapshot_id: str,
        targets: Mapping[str, Path],
        *,
        single: Collection[str] = (),
        on_progress: OnProgress,
    ) -> None:
        """Restore `/composia/<key>` into each target folder, which is new and empty."""
        mounts = [
            Mount(path, f"{ROOT}/{parent(key) if key in single else key}", False)
            for key, path in targets.items()
        ]
        # Without them all else of the snapshot would be written into the container.
        globs = [word for key in targets for path in only(key) for word in ("--glob", path)]
        words = (*PROGRESS, "restore", "--numeric-id", *globs, f"{snapshot_id}:{ROOT}", ROOT)
        async with self._container.start(*words, mounts=mounts, writes=Writes.NOTHING) as working:
            working.stdin.close()
            finished = await working.wait(await _followed(working, on_progress))
        _check("restoring", finished)
        if RESTORED not in output.text(finished.stdout).splitlines():
            raise Failure("restoring: rustic did not say that it is done")
        if left := output.unrestored(output.text(finished.stderr)):
            raise Failure(f"restoring: not everything came back: {few(left)}")

    async def differences(self, snapshot_id: str, targets: Mapping[str, Path]) -> tuple[str, ...]:
        """Paths whose content is not the snapshot's; everything is read."""
        mounts = [Mount(path, f"{ROOT}/{key}", True) for key, path in targets.items()]
        finished = await self._container.run("diff", f"{snapshot_id}:{ROOT}", ROOT, mounts=mounts)
        _check("comparing", finished)
        found = output.differences(output.text(finished.stdout))
        return tuple(path for path in found if not is_special(path, targets))

    async def list_files(
        self, snapshot_id: str, path: str, *, deep: bool = False
    ) -> Sequence[Entry]:
        """What is in a folder of the snapshot, and with `deep` in all below it."""
        folder = path.strip("/")
        # Not `ls --json`: it breaks off at a name that is not UTF-8.
        words = ("ls", "--long", "--numeric-uid-gid", "--recursive") if deep else ("cat", "tree")
        finished = await self._container.run(*words, f"{snapshot_id}:{inside(folder)}")
        if not folder and NO_SUCH_PATH.search(output.text(finished.stderr)):
            # A dump stands at the very root.
            finished = await self._container.run(*words, f"{snapshot_id}:")
        _check(f"listing {path or 'the snapshot'}", finished)
        read = output.long_entries if deep else output.entries
        return read(output.text(finished.stdout), folder)

    @asynccontextmanager
    async def read_file(self, snapshot_id: str, path: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """The content of one file. Raises Failure before the first byte, or instead of the end."""
        wanted = inside(path.strip("/"))
        if not is_utf8(wanted):
            raise Invalid(
                "a name that is not UTF-8 cannot be asked for by itself",
                hint="Download the folder that it is in, or restore to scratch.",
            )
        words = ("dump", "--archive", "content", f"{snapshot_id}:{wanted}")
        async with self._container.start(*words) as working:
            working.stdin.close()
            if not (first := await working.stdout.read(CHUNK)):
                _check(f"reading {path}", await working.wait())
            yield self._chunks(first, working, path)

    async def snapshots(self) -> Sequence[SnapshotInfo]:
        """All of them; Failure where they cannot be listed (never an empty list by mistake)."""
        finished = await self._container.run("snapshots", "--json", "-g", "")
        _check("listing the snapshots", finished)
        return output.snapshots(output.text(finished.stdout))

    async def forget(self, ids: Sequence[str]) -> None:
        """Forget snapshots by their full ids; with one that is not there, none is forgotten."""
        for start in range(0, len(ids), MANY):
            words = ("forget", *ids[start : start + MANY])
            finished = await self._container.run(*words, writes=Writes.REPOSITORY)
            _check("forgetting snapshots", finished)

    async def check(self, *, read_data: bool = False, part: Part | None = None) -> None:
        """Failure where the repository is not sound; only reading data finds flipped bytes."""
        words = ["check", *(["--read-data"] if read_data or part else [])]
        words += ["--read-data-subset", str(part)] if part else []
        _check("checking the repository", await self._container.run(*words))

    async def copy(self, target: Engine, *, make: bool, on_progress: OnProgress) -> None:
        """Copy all snapshots that the target does not have yet; with `make` it is made first."""
        # Made by the copy, it cuts files where this one does: both have the same pieces for ever.
        words = ("copy", *(("--init",) if make else ()), "--target", await target.place())
        called = self._container.start(*PROGRESS, *words, far=True, writes=Writes.REPOSITORY)
        async with called as working:
            working.stdin.close()
            finished = await working.wait(await _followed(working, on_progress))
        if make and (folder := await target.repository_folder()):
            await asyncio.to_thread(_keep_keys_private, folder)
        # It ends with 0 whatever the target said.
        if finished.code != 0 or output.errors(output.text(finished.stderr)):
            raise failure("copying", finished)

    async def prune(self, *, on_progress: OnProgress) -> Pruned:
        """Free what no snapshot needs: marked by one run, removed by one 23 h later."""
        # Its defaults are the safe ones: never --instant-delete, never a shorter --keep-delete.
        called = self._container.start(*PROGRESS, "prune", writes=Writes.REPOSITORY)
        async with called as working:
            working.stdin.close()
            finished = await working.wait(await _followed(working, on_progress))
        _check("pruning", finished)
        if found := output.pruned(output.text(finished.stderr)):
            return found
        raise Failure(
            "pruning: rustic ended without a word of what it did",
            hint="Was its container stopped? Prune again.",
        )

    async def put_right(self, containers: Collection[str]) -> None:
        """End what a crash left: containers of ours by name, and the snapshots they made."""
        for name in containers:
            await self._container.end(name)
        left = [found.id for found in await self.snapshots() if _made_by(found, containers)]
        if left:
            await self.forget(left)

    @asynccontextmanager
    async def _saving(
        self, labels: Labels, words: Sequence[str], mounts: Sequence[Mount] = ()
    ) -> AsyncIterator[Working]:
        """A backup at work; when the block fails, nothing of it stays."""
        name = self._container.new_name()
        of = (f"service={labels.service}", f"item={labels.item}", f"task={labels.task}")
        tags = ",".join((*of, *labels.marks, f"run={name}"))
        named = ("--host", labels.node, "--label", f"{labels.service}/{labels.item}")
        told = (*PROGRESS, "backup", *named, "--tag", tags, *words)
        try:
            async with self._container.start(
                *told, mounts=mounts, name=name, writes=Writes.REPOSITORY
            ) as working:
                yield working
        except BaseException:
            await to_the_end(self._forget_run(name))
            raise

    async def _forget_run(self, name: str) -> None:
        # The reason why it failed is worth more than why this did.
        with suppress(Failure, Invalid):
            await self.put_right([name])

    async def _globs(self, exclude: Sequence[str]) -> list[str]:
        """The excluded as options; the user's own go along, or ours would replace them."""
        if not exclude:
            return []
        wanted = [*await self._container.globs(), *(glob(path) for path in exclude)]
        return [word for glob in wanted for word in ("--glob", glob)]

    async def _chunks(self, chunk: bytes, working: Working, path: str) -> AsyncIterator[bytes]:
        while chunk:
            yield chunk
            chunk = await working.stdout.read(CHUNK)
        if not working.ended:
            _check(f"reading {path}", await working.wait())


class RusticEngine(ContainerEngine):
    """The repository of a node, behind the compose service that `infra.rustic` names.

    `origin` is the task's id, or `reading`: it stands in the names of our containers, which
    `note` writes down before each one starts.
    """

    def __init__(
        self,
        compose: Compose,
        docker: Docker,
        shell: Shell,
        *,
        compose_service: str,
        profile: str,
        origin: str,
        note: Note,
    ) -> None:
        container = ServiceContainer(
            compose, docker, shell, compose_service=compose_service,
            profile=profile, origin=origin, note=note,
        )  # fmt: skip
        super().__init__(container)


async def _followed(working: Working, on_progress: OnProgress) -> bytes:
    """All that it prints, its progress told as it comes."""
    lines = []
    async for line in working.stdout:
        lines.append(line)
        for message in output.messages(line.decode(errors="replace")):
            if message["message_type"] == "status":
                on_progress(message["bytes_done"], message.get("total_bytes"))
    return b"".join(lines)


def _check(what: str, finished: Finished) -> None:
    """Success, or Failure: an `[ERROR]` line counts whatever the exit code says."""
    if finished.code != 0:
        raise failure(what, finished)
    if found := output.errors(output.text(finished.stderr)):
        raise Failure(f"{what}: rustic says: {few(found)}")


def _refuse_unless_empty(folder: Path) -> None:
    try:
        found = sorted(path.name for path in folder.iterdir())
    except OSError as error:
        raise Failure(
            f"the repository's folder {folder} cannot be listed: {error.strerror}",
            hint="Is its disk mounted, and may the agent read it?",
        ) from error
    if found:
        raise Failure(
            f"{folder} holds no repository, and is not empty: {few(found)}",
            hint="Give the repository a folder of its own, or bring back its file `config`.",
        )


def _keep_keys_private(repository: Path) -> None:
    """What a umask of 077 would have done: a scratch image has no shell to set one."""
    keys = repository / "keys"
    for path in (keys, *keys.iterdir()) if keys.is_dir() else ():
        path.chmod(0o700 if path.is_dir() else 0o600)


def _made_by(snapshot: SnapshotInfo, containers: Collection[str]) -> bool:
    return any(f"run={name}" in snapshot.tags for name in containers)
