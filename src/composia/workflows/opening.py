"""Opening the repository, which is the first step of whatever works with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from composia.errors import ComposiaError
from composia.model.service import RepositoryRef
from composia.operations.repository import OpenRepository, RepositoryOpened
from composia.workflows.plan import Run


async def open_repository(
    run: Run, repository: RepositoryRef, on: Sequence[str]
) -> dict[str, RepositoryOpened | ComposiaError]:
    """Open it on each node; its id is remembered when it was never seen before.

    Nodes that show another repository than the one that is known get Failure. A node without it
    comes after the one that it goes through, which may have to make it.
    """
    through = {node: holder for node in on if (holder := repository.through(node))}
    holders = tuple(
        dict.fromkeys((*(node for node in on if node not in through), *through.values()))
    )
    operation = OpenRepository(service=repository.service, repository=repository)
    if repository.repository_id or len(holders) == 1:
        opened = dict(await run.on_each("open_repository", dict.fromkeys(holders, operation)))
    else:
        opened = await _open_for_the_first_time(run, operation, holders)
    await _remember(run, repository, opened)
    opened |= await _open_through(run, operation, through, opened)
    return {node: opened[node] for node in on}


async def _open_through(
    run: Run,
    operation: OpenRepository,
    through: Mapping[str, str],
    opened: Mapping[str, RepositoryOpened | ComposiaError],
) -> Mapping[str, RepositoryOpened | ComposiaError]:
    """Over the whole way, before anything stops for it."""
    asked, failed = {}, {}
    for node, holder in through.items():
        found = opened[holder]
        if isinstance(found, ComposiaError):
            failed[node] = found
        elif operation.repository:
            known = with_id(operation.repository, found)
            asked[node] = operation.model_copy(update={"repository": known})
    return {**(await run.on_each("open_repository", asked) if asked else {}), **failed}


async def _open_for_the_first_time(
    run: Run, operation: OpenRepository, on: Sequence[str]
) -> dict[str, RepositoryOpened | ComposiaError]:
    # One node after another: two that make a repository at once leave one that nobody can open.
    opened: dict[str, RepositoryOpened | ComposiaError] = {}
    for node in on:
        opened |= await run.on_each("open_repository", {node: operation})
        found = opened[node]
        if isinstance(found, RepositoryOpened) and operation.repository:
            operation = operation.model_copy(
                update={"repository": with_id(operation.repository, found)}
            )
    return opened


async def _remember(
    run: Run, repository: RepositoryRef, opened: Mapping[str, RepositoryOpened | ComposiaError]
) -> None:
    ids = {found.repository_id for found in opened.values() if isinstance(found, RepositoryOpened)}
    if repository.repository_id is None and ids:
        await run.control("remember_repository", "remember_repository", repository_id=min(ids))


def with_id(repository: RepositoryRef, opened: RepositoryOpened) -> RepositoryRef:
    """The same repository, as the one that was opened."""
    return repository.model_copy(update={"repository_id": opened.repository_id})
