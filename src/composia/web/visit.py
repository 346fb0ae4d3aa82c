"""What a page has at hand: the controller, who has signed in, and how an answer is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import quote, urlsplit

from fastapi import Depends, Request, Response
from fastapi.responses import HTMLResponse

from composia.controller.api.desk import Desk
from composia.controller.api.office import Office
from composia.controller.auth import Caller
from composia.errors import Denied, Unauthenticated
from composia.model.config import Scope
from composia.model.task import Task
from composia.web.sessions import caller_of, form_token, is_form_token
from composia.web.templating import render
from composia.workflows.plan import Plan

COOKIE = "composia_session"
FORM_TOKEN = "X-Composia-Form"  # noqa: S105  # a header's name
SAFE = ("GET", "HEAD")


class SignedOut(Unauthenticated):
    """Nobody is signed in: to be answered with the way to the door."""


class Visit(Desk):
    """One call of a page by somebody who has signed in."""

    def __init__(self, request: Request, office: Office, caller: Caller, session: str) -> None:
        self.request = request
        self.office = office
        self.caller = caller
        self.session = session
        #: What has been told before the page was made: it may not show what comes after.
        self.mark = office.events.mark
        request.state.caller = caller.name

    async def is_still_allowed(self) -> bool:
        """Whether the session goes on, with the same token."""
        return await caller_of(self.office, self.session) == self.caller

    @property
    def form_token(self) -> str:
        """See `sessions.form_token`."""
        return form_token(self.session)

    def may(self, scope: str, service: str | None = None) -> bool:
        """Whether to show what needs this scope: `read`, `operate` or `admin`."""
        return self.caller.may(Scope(scope), service)

    def sees(self, service: str | None) -> bool:
        """Whether the token is for this service; None: for what belongs to all of them."""
        return self.caller.may_see(service)

    def page(self, template: str, **shown: Any) -> Response:
        """A whole page."""
        return HTMLResponse(render(template, visit=self, request=self.request, **shown))

    def dialog(self, template: str, *, back: str, **shown: Any) -> Response:
        """A dialog over the page that asks for it; by its own address, over a page of its own."""
        if is_htmx(self.request):
            return self.page(template, **shown)
        return self.page("dialog_page.html", dialog=template, back=back, **shown)

    async def submit(self, plan: Plan) -> Response:
        """Have the plan carried out, and lead to its task. Raises Conflict."""
        task = await self.office.admit.submit(plan, created_by=self.caller.created_by, source="web")
        return to_task(task)


async def visitor(request: Request) -> Visit | None:
    """Who calls; None for somebody who is not signed in."""
    office: Office = request.app.state.controller
    session = request.cookies.get(COOKIE)
    caller = await caller_of(office, session)
    return Visit(request, office, caller, session) if caller and session else None


async def visit(request: Request) -> Visit:
    """Who calls, and from a page of ours. Raises SignedOut, Denied."""
    found = await visitor(request)
    if found is None:
        raise SignedOut("you are signed out", hint="Sign in again.")
    if request.method not in SAFE:
        must_be_from_here(request)
        if not is_form_token(found.session, request.headers.get(FORM_TOKEN, "")):
            raise Denied("this did not come from a page of yours", hint="Load the page again.")
    return found


AtVisit = Annotated[Visit, Depends(visit)]


def must_be_from_here(request: Request) -> None:
    """Raises Denied for what another site has made the browser send."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        here = site == "same-origin"
    else:
        # Browsers say the first only on encrypted connections; the second always with a POST.
        here = bool(origin) and urlsplit(origin or "").netloc == request.headers.get("host")
    if not here:
        raise Denied("another site has sent this", hint="Open the page here, and try again.")


def is_htmx(request: Request) -> bool:
    """Whether a script of ours asks, and not the browser itself."""
    return request.headers.get("hx-request") == "true"


def to(path: str, headers: Mapping[str, str] | None = None) -> Response:
    """Lead a form's sender to another page."""
    return Response(status_code=204, headers={"HX-Redirect": path, **(headers or {})})


def to_task(task: Task) -> Response:
    """Lead to the task's page."""
    return to(f"/tasks/{task.id}")


def door_for(path: str) -> str:
    """Where to sign in, and land on `path` afterwards."""
    return f"/login?next={quote(path, safe='')}" if path != "/" else "/login"


def landing(wanted: str | None) -> str:
    """A place of ours, whatever was asked for."""
    path = wanted or "/"
    # Browsers take a backslash for a slash, and drop what cannot be printed.
    plain = path.isprintable() and "\\" not in path
    ours = path.startswith("/") and not path.startswith(("//", "/login"))
    return path if plain and ours else "/"
