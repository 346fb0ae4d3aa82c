"""Moving a service, editing its files and following its containers, in a real browser."""

from __future__ import annotations

import pytest
from playwright.async_api import ConsoleMessage, Page, expect

from tests.pages.browser import held, tab_to
from tests.pages.serving import Serving

pytestmark = pytest.mark.asyncio(loop_scope="session")

EDITOR = "/services/my-app/files?path=docker-compose.yaml"


async def test_a_move_by_the_paths_of_the_guide(admin: Page, serving: Serving) -> None:
    await admin.get_by_role("navigation", name="Main").get_by_role("link", name="Services").click()
    await admin.get_by_role("link", name="my-app", exact=True).click()
    await admin.get_by_role("link", name="Instances").click()
    await admin.get_by_role("link", name="Migrate from main").click()
    await admin.get_by_role("radio", name="Loft").check()
    await admin.get_by_role("button", name="Show the plan").click()
    # Nothing is decided for anybody: the volume that no item covers is named.
    await expect(admin.locator("#plan")).to_contain_text("cache of my-app would not move")
    await admin.get_by_role("checkbox", name="cache").check()
    await admin.get_by_role("button", name="Show the plan").click()

    plan = admin.locator("#plan")
    await expect(plan).to_contain_text("about 9.9 s")
    await expect(plan).to_contain_text("left behind, as asked for")
    await admin.get_by_role("button", name="Migrate to loft").click()
    await admin.wait_for_url("**/tasks/*")

    heading = admin.get_by_role("heading", level=1)
    await expect(heading).to_have_text("Migrate my-app from main to loft")
    await expect(admin.get_by_role("list", name="Steps of the move")).to_contain_text("to come")
    await admin.go_back()
    await expect(heading).to_have_text("Migrate my-app")


async def test_a_move_by_keyboard_alone(admin: Page, serving: Serving) -> None:
    await admin.keyboard.press("Control+k")
    await admin.keyboard.type("migrate my-app")
    await expect(admin.get_by_role("option", selected=True)).to_contain_text("Migrate my-app")
    await admin.keyboard.press("Enter")
    await admin.wait_for_url("**/services/my-app/migrate")
    await tab_to(admin, "document.activeElement.name === 'target_node'")
    await admin.keyboard.press("ArrowDown")
    await tab_to(admin, "document.activeElement.name === 'leave_behind'")
    await admin.keyboard.press("Space")
    await tab_to(admin, "document.activeElement.textContent === 'Show the plan'")
    await admin.keyboard.press("Enter")
    await expect(admin.locator("#plan")).to_contain_text("about 9.9 s")
    await tab_to(admin, "document.activeElement.textContent === 'Migrate to loft'")
    await admin.keyboard.press("Enter")

    await admin.wait_for_url("**/tasks/*")


async def test_a_file_is_mended_compared_and_committed(admin: Page, serving: Serving) -> None:
    complaints: list[str] = []
    admin.on("console", lambda said: _listen(said, complaints))
    await _open_editor(admin)
    editor = admin.get_by_role("textbox", name="docker-compose.yaml")
    await editor.click()
    await admin.keyboard.press("Control+End")
    await admin.keyboard.type("    imge: ./x\n")
    await expect(editor).to_contain_text("imge: ./x")
    problems = admin.get_by_role("status", name="Problems")
    await expect(problems).to_contain_text("Line 9")
    await expect(admin.get_by_text("Not committed yet")).to_be_visible()
    await admin.keyboard.press("Control+a")
    await admin.keyboard.type("services:\n  web:\n  imge: x")
    await expect(problems).to_contain_text("did you mean image?")
    await expect(admin.locator(".fault")).to_have_text("imge")
    for _ in "imge: x":
        await admin.keyboard.press("Backspace")
    await admin.keyboard.type("image: x")
    await expect(problems).to_have_text("")

    await admin.get_by_role("button", name="Compare and commit").click()
    changes = admin.get_by_role("group", name="What you change")
    await expect(changes).to_contain_text("image: x")
    await admin.get_by_label("Message").fill("Make it small")
    await admin.get_by_role("button", name="Commit", exact=True).click()

    await expect(admin.get_by_text("Make it small")).to_be_visible()
    await expect(admin.get_by_text("Not committed yet")).to_be_hidden()
    assert b"image: x" in serving.office.catalog.content["my-app/docker-compose.yaml"]
    assert complaints == []


async def test_whoever_types_before_the_editor_is_there_goes_on_in_it(admin: Page) -> None:
    async with held(admin, "**/editor-*.js") as let_go:
        await admin.goto(EDITOR)
        area = admin.locator("textarea[name=content]")
        await area.press("Control+End")
        await admin.keyboard.type("# be")
        let_go()
        await expect(admin.locator(".editor-host")).to_be_visible()
        await admin.keyboard.type("gun")

    editor = admin.get_by_role("textbox", name="docker-compose.yaml")
    await expect(editor.locator(".cm-line").last).to_have_text("# begun")


async def test_what_was_typed_outlives_the_session(admin: Page, serving: Serving) -> None:
    await _open_editor(admin)
    await admin.get_by_role("textbox", name="docker-compose.yaml").click()
    await admin.keyboard.type("# mine\n")
    serving.office.store.sessions.clear()

    await admin.get_by_role("button", name="Compare and commit").click()
    await admin.wait_for_url("**/login?next=*")
    await admin.get_by_label("Access token").fill("admin-token")
    await admin.get_by_role("button", name="Sign in").click()
    await admin.wait_for_url(f"**{EDITOR}")

    await expect(admin.get_by_text("Your unsaved changes of")).to_be_visible()
    await expect(admin.get_by_role("textbox", name="docker-compose.yaml")).to_contain_text("# mine")
    await admin.get_by_role("button", name="Discard them").click()
    await expect(admin.get_by_text("Your unsaved changes of")).to_be_hidden()


async def test_whoever_commits_later_looks_at_the_earlier_one_first(
    admin: Page, serving: Serving
) -> None:
    await _open_editor(admin)
    await admin.get_by_role("textbox", name="docker-compose.yaml").click()
    await admin.keyboard.type("# mine\n")
    await admin.get_by_role("button", name="Compare and commit").click()
    await expect(admin.get_by_role("group", name="What you change")).to_be_visible()
    catalog = serving.office.catalog
    await catalog.write("my-app/docker-compose.yaml", b"# theirs\n", if_match="*")

    await admin.get_by_role("button", name="Commit", exact=True).click()
    await admin.get_by_role("button", name="Look at theirs").click()

    theirs = admin.get_by_role("group", name="What they changed")
    await expect(theirs).to_contain_text("+# theirs")
    await admin.get_by_role("button", name="Commit", exact=True).click()
    await expect(admin.get_by_role("dialog")).to_have_count(0)
    await expect(admin.get_by_role("textbox", name="docker-compose.yaml")).to_contain_text("# mine")
    assert b"# mine" in catalog.content["my-app/docker-compose.yaml"]


async def test_a_flood_of_a_container_is_filtered_and_followed_again(
    admin: Page, serving: Serving
) -> None:
    serving.office.nodes.said = b"".join(
        b"\x1b[31mline\x1b[0m %d <b>%s</b>\n" % (n, b"x" * 80) for n in range(60_000)
    )
    await admin.goto("/services/my-app/instances")
    log = admin.locator("#log")
    await expect(log).to_contain_text("line 59999 <b>xxx")
    assert "\x1b" not in (await log.text_content() or "")

    await admin.get_by_label("Container", exact=True).select_option("my-app-postgres-1")
    await admin.wait_for_url("**container=my-app-postgres-1*")
    await expect(admin.locator("#log")).to_contain_text("line 59999")
    # All of it was told, and nothing runs any more: the twin's containers say no more.
    await admin.get_by_role("button", name="Follow again").click()
    await expect(admin.get_by_role("button", name="Follow again")).to_be_visible()

    asked = [one.container for one in serving.office.nodes.asked]
    assert asked == [None, "my-app-postgres-1", "my-app-postgres-1"]


async def _open_editor(page: Page) -> None:
    await page.goto(EDITOR)
    await expect(page.locator(".editor-host")).to_be_visible()


def _listen(said: ConsoleMessage, complaints: list[str]) -> None:
    if said.type in ("error", "warning"):
        complaints.append(said.text)
