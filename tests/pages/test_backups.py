"""Backups in a real browser: found, looked into, brought back, deleted."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from tests.pages.safeguards import NEWEST
from tests.pages.serving import Serving

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_all_of_a_service_is_restored_but_for_what_is_unticked(
    admin: Page, serving: Serving
) -> None:
    await admin.goto("/services/my-app")
    await admin.get_by_role("link", name="Restore", exact=True).click()
    dialog = admin.get_by_role("dialog")
    await expect(dialog).to_contain_text("All databases of postgres")

    await dialog.get_by_role("checkbox", name="database").press("Space")
    await expect(dialog).not_to_contain_text("All databases of postgres")
    await expect(dialog.get_by_role("checkbox", name="database")).to_be_focused()
    await dialog.get_by_role("button", name="Restore").click()

    heading = admin.get_by_role("heading", level=1)
    await expect(heading).to_have_text("Restore uploads of my-app on main")


async def test_one_file_comes_back_by_the_paths_of_the_guide(admin: Page, serving: Serving) -> None:
    await admin.get_by_role("navigation", name="Main").get_by_role("link", name="Backups").click()
    await admin.wait_for_url("**/backups")
    await admin.get_by_label("Data item").select_option("uploads")
    await admin.wait_for_url("**data_item=uploads**")
    await admin.get_by_role("row").nth(1).get_by_role("link", name="uploads").click()
    await admin.get_by_role("link", name="Files", exact=True).click()
    for folder in ("files", "data", "uploads"):
        await admin.get_by_role("table").get_by_role("link", name=folder, exact=True).click()
    await admin.get_by_role("link", name="Restore a.txt").click()
    dialog = admin.get_by_role("dialog")
    await expect(dialog).to_contain_text("The path ./data/uploads/a.txt")
    await dialog.get_by_label("To a scratch folder").check()
    await expect(dialog).to_contain_text("Nothing live is replaced")
    await dialog.get_by_label("Node").select_option("edge")
    await expect(dialog).to_contain_text("a new folder on edge")
    await dialog.get_by_role("button", name="Restore").click()

    await expect(admin.get_by_role("heading", level=1)).to_have_text(
        "Restore files/data/uploads/a.txt in uploads of my-app on edge to a scratch folder"
    )
    await admin.go_back()
    await expect(admin.get_by_role("table")).to_contain_text("a.txt")


async def test_filters_are_in_the_address_and_back_takes_them_off(admin: Page) -> None:
    await admin.goto("/backups")
    rows = admin.locator("#backups tbody tr")
    await expect(rows).to_have_count(50)
    await admin.get_by_label("Status").select_option("Failed")
    await expect(rows).to_have_count(1)
    await admin.wait_for_url("**status=failed**")

    await admin.go_back()

    await expect(rows).to_have_count(50)
    await expect(admin.get_by_label("Status")).to_have_value("")


async def test_a_file_is_downloaded_under_its_name(admin: Page) -> None:
    await admin.goto(f"/backups/{NEWEST}/files?path=files/data/uploads")
    async with admin.expect_download() as coming:
        await admin.get_by_role("link", name='Download quote".txt').click()

    download = await coming.value
    assert (await download.path()).read_bytes() == b"odd"


async def test_a_folder_of_ten_thousand_is_searched_at_once(admin: Page) -> None:
    await admin.goto(f"/backups/{NEWEST}/files?path=files/data/uploads/thumbs")
    await expect(admin.get_by_text("10000 of 10000 entries")).to_be_visible()
    await admin.get_by_role("link", name="Next").click()
    await expect(admin.get_by_text("301 to 600 of 10000")).to_be_visible()
    await admin.get_by_label("Search this folder").fill("0987")
    await admin.get_by_label("Search this folder").press("Enter")

    await expect(admin.get_by_text("11 of 10000 entries")).to_be_visible()
    await expect(admin.get_by_role("table")).to_contain_text("09876.jpg")


async def test_a_node_that_is_away_is_told_where_its_files_would_be(
    admin: Page, serving: Serving
) -> None:
    serving.office.nodes.offline = {"main", "edge"}

    await admin.goto(f"/backups/{NEWEST}/files")

    await expect(admin.locator("#entries")).to_contain_text("no node that holds the repository")


async def test_a_backup_is_deleted_by_keyboard_and_by_its_name(admin: Page) -> None:
    await admin.goto("/backups/01B000000/delete")
    await expect(admin.get_by_role("dialog")).to_be_visible()
    await admin.get_by_label("to confirm").press_sequentially("wrong")
    await admin.keyboard.press("Enter")
    await expect(admin.get_by_role("alert")).to_contain_text("what you typed is not")
    await admin.get_by_label("to confirm").fill("")
    await admin.keyboard.type("uploads")
    await admin.keyboard.press("Enter")

    await admin.wait_for_url("**/tasks/*")
    await expect(admin.get_by_role("heading", level=1)).to_contain_text("Forget backup 01B000000")


async def test_what_goes_is_seen_again_when_the_choice_changes(admin: Page) -> None:
    await admin.goto("/repository")
    await admin.get_by_role("link", name="Forget").click()
    dialog = admin.get_by_role("dialog")
    await expect(dialog).to_contain_text("30 go, 21 stay.")
    await dialog.get_by_label("Drop records").check()
    await expect(dialog).to_contain_text("31 go, 20 stay.")
    await dialog.get_by_role("button", name="Forget").click()

    await expect(admin.get_by_role("heading", level=1)).to_have_text("Forget 31 of 51 backups")


async def test_a_notification_is_settled_and_a_test_is_answered(admin: Page) -> None:
    await admin.goto("/notifications")
    await admin.get_by_role("button", name="Send a test").click()
    await expect(admin.locator("#toasts")).to_contain_text("A test message went to urls[0] (json)")
    await admin.get_by_role("button", name="Acknowledge").click()

    await expect(admin.get_by_role("button", name="Acknowledge")).to_have_count(0)
    await expect(admin.get_by_text("acknowledged by admin just now")).to_be_visible()


async def test_signing_out_everywhere_ends_here_too(admin: Page, serving: Serving) -> None:
    admin.on("dialog", lambda dialog: dialog.accept())
    await admin.goto("/settings")
    await admin.get_by_role("button", name="Sign out everywhere").click()

    await admin.wait_for_url("**/login")
    assert not serving.office.store.sessions
