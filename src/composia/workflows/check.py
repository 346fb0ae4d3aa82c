"""What two nodes look like to a move, and everything about it that stands in its way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import BaseModel, ConfigDict

from composia.errors import Conflict, Problem
from composia.model.service import ServiceRef
from composia.operations.surveying import Size, SourceSeen, TargetSeen
from composia.tools.caddy_config import SiteAddress
from composia.tools.containers import same_image

#: Seconds that were measured on two cores: containers that stop and start, a comparison of so many
#: files, and each way of a dump, by its bytes.
STOP_AND_START = 1.2
PER_FILE = 0.35 / 20_000
DUMP_AND_LOAD = 2.5
PER_DUMPED_BYTE = 1 / 60_000_000
#: Bytes that a disk keeps free beyond what comes.
SPARE = 64 * 1024 * 1024


class Checked(BaseModel):
    """What later steps need of the preparation."""

    model_config = ConfigDict(frozen=True)

    sites: tuple[SiteAddress, ...] = ()
    trust: tuple[str, ...] = ()
    #: Compose services that need not answer at a port.
    quiet: tuple[str, ...] = ()
    #: For people: what does not go along.
    warnings: tuple[str, ...] = ()

    def warning(self, *more: str) -> Checked:
        """The same, with more warnings."""
        return self.model_copy(update={"warnings": (*self.warnings, *more)})


class Downtime(BaseModel):
    """How long nobody will answer, in seconds, and what of it is what."""

    model_config = ConfigDict(frozen=True)

    stop_and_start_seconds: float = STOP_AND_START
    compare_files_seconds: float = 0.0
    dump_and_import_seconds: float = 0.0
    total_seconds: float = STOP_AND_START


def expected(sizes: Mapping[str, Size], dumps: Mapping[str, int | None]) -> Downtime:
    """From what the items hold, and what the last dumps had (None: not known). In bytes."""
    files = PER_FILE * sum(size.files for size in sizes.values())
    dumped = sum(DUMP_AND_LOAD + 2 * (size or 0) * PER_DUMPED_BYTE for size in dumps.values())
    return Downtime(
        compare_files_seconds=round(files, 2),
        dump_and_import_seconds=round(dumped, 2),
        total_seconds=round(STOP_AND_START + files + dumped, 2),
    )


def check(
    service: ServiceRef, source: str, target: str, seen: SourceSeen, found: TargetSeen
) -> None:
    """Raise Conflict with everything that stands in the way."""
    problems = list(problems_of(service, source, target, seen, found))
    if problems:
        raise Conflict(
            "; ".join(problem for problem, _ in problems),
            hint=" ".join(dict.fromkeys(hint for _, hint in problems)),
            problems=tuple(Problem(msg=problem) for problem, _ in problems),
        )


def problems_of(
    service: ServiceRef, source: str, target: str, seen: SourceSeen, found: TargetSeen
) -> Iterator[tuple[str, str]]:
    """Each with what to do."""
    for problem in seen.problems:
        yield problem, "Mend it, then migrate again."
    if not seen.running:
        yield (
            f"{service} does not run on {source}",
            f"Start it there (composia deploy {service}), or put {target} under `nodes` instead.",
        )
    if seen.own_variables and not found.variables:
        yield (
            f"`.env` of {service} on {source} is not in the catalog, and what the compose file"
            f" takes from it would be empty on {target}",
            f"Put it into the catalog (`composia catalog encrypt` keeps it secret), or into the"
            f" folder of {service} on {target}.",
        )
    if found.running:
        yield (
            f"{', '.join(found.running)} of {service} runs on {target} already",
            f"Stop it there first: composia stop {service} --node {target}",
        )
    for port in sorted(set(seen.published) & set(found.taken)):
        yield (
            f"port {port} is taken on {target}",
            f"See who has it: ss -ltnp 'sport = :{port}' on {target}.",
        )
    for name, there in found.images.items():
        if not same_image(there, seen.images.get(name, there)):
            yield (
                f"image {name} on {target} is another one than on {source}",
                f"Update {service} on {source} first, or pull the same image on {target}.",
            )
    yield from _disk(target, seen, found)


def _disk(target: str, seen: SourceSeen, found: TargetSeen) -> Iterator[tuple[str, str]]:
    elsewhere = {folder: seen.bound[folder] for folder in found.free_at if folder in seen.bound}
    needed = sum(size.size for size in seen.sizes.values()) - sum(elsewhere.values())
    yield from _room(target, needed, min(found.free, found.free_for_volumes))
    for folder, size in elsewhere.items():
        yield from _room(f"{folder} on {target}", size, found.free_at[folder])


def _room(place: str, needed: int, free: int) -> Iterator[tuple[str, str]]:
    if free < needed + SPARE:
        yield (
            f"{place} has {free // 1024**2} MiB free, and {(needed + SPARE) // 1024**2} MiB are to"
            " come",
            f"Free some space on {place}.",
        )
