"""What this node's Caddy is told about a service: its fragment, or nothing."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import BaseModel

from composia.errors import Failure
from composia.operations import forwarded, fragments
from composia.operations.base import Nothing, Operation
from composia.operations.fragments import Placed
from composia.strategies.base import Site
from composia.tools.caddy import Caddy


class PlaceFragment(Operation[Placed]):
    """Have Caddy serve the service's fragment, or nothing of it where `caddy.source` is None.

    May be repeated. What is refused changes nothing, on the disk or in the running Caddy.
    """

    op: Literal["place_fragment"] = "place_fragment"
    #: The catalog's fragment at the revision, whatever is checked out here; else the file here.
    from_catalog: bool = False
    #: Fail where Caddy neither runs nor comes up soon; else that is a warning, at once.
    must_run: bool = True
    #: Have it validated and touch nothing: placing the same again is quick then.
    rehearse: bool = False

    urgent: ClassVar[bool] = True
    result: ClassVar[type[BaseModel]] = Placed

    async def perform(self, site: Site) -> Placed:
        if site.caddy is None and not self.must_run:
            return Placed(warnings=(fragments.without_caddy(site),))
        caddy = caddy_of(site)
        content = await self._content(site)
        if self.rehearse:
            if self.must_run and not await caddy.comes_up():
                raise fragments.down(site)
            await fragments.checked(site, caddy, content)
            return Placed()
        return await fragments.bring(site, caddy, content, must=self.must_run)

    async def _content(self, site: Site) -> bytes | None:
        path = self.caddy.source if self.caddy else None
        if path is None:
            return None
        if not self.from_catalog:
            assert self.caddy
            return fragments.source(site, self.caddy)
        if (content := await site.read_catalog(path)) is None:
            raise fragments.missing(path, site)
        return content


class RemoveFragment(Operation[Placed]):
    """Take the fragment's file away; the running Caddy keeps it until it is reloaded."""

    op: Literal["remove_fragment"] = "remove_fragment"

    result: ClassVar[type[BaseModel]] = Placed

    async def perform(self, site: Site) -> Placed:
        if site.caddy is None:
            return Placed()
        async with site.caddy.turn:
            if site.caddy.read(fragments.file_name(site.service)) is None:
                return Placed()
            await fragments.put(site, site.caddy, None)
            forwarded.forget(site.state)
        return Placed(changed=True)


class ReloadCaddy(Operation[Nothing]):
    """Have Caddy take what lies there. Open connections stay; what it refuses changes nothing."""

    op: Literal["reload_caddy"] = "reload_caddy"

    urgent: ClassVar[bool] = True

    async def perform(self, site: Site) -> Nothing:
        caddy = caddy_of(site)
        async with caddy.turn:
            if not await caddy.comes_up():
                raise fragments.down(site)
            await fragments.load(site, caddy)
        return Nothing()


def caddy_of(site: Site) -> Caddy:
    """The node's Caddy. Raises Failure where it has none."""
    if site.caddy is None:
        raise Failure(
            fragments.without_caddy(site),
            hint=f"Set agent.caddy.generated_dir in the config.yaml of {site.node}.",
        )
    return site.caddy
