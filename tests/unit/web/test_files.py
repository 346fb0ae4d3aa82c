"""A service's files: shown, checked, compared, committed."""

from __future__ import annotations

import pytest

from composia.controller.auth import Gate
from composia.model.config import AccessToken
from composia.web.comparison import Kind, compared
from tests.twins.office import REVISION, TOKENS, MemoryOffice
from tests.unit.web.conftest import Visitor

HERE = "/services/my-app/files"
META = "composia-meta.yaml"
COMPOSE = "docker-compose.yaml"


async def test_a_folder_is_listed_and_its_meta_file_open(admin: Visitor) -> None:
    page = (await admin.get(HERE)).text

    assert "?path=docker-compose.yaml" in page
    assert "Bad/" not in page
    assert "name: my-app\nnodes: [main]" in page
    assert f'name="revision" value="{REVISION}"' in page


async def test_a_file_with_markup_is_text(admin: Visitor, office: MemoryOffice) -> None:
    office.catalog.content["my-app/x.html"] = b"</textarea><script>alert(1)</script>"

    page = (await admin.get(f"{HERE}?path=x.html")).text

    assert "<script>alert" not in page
    assert "&lt;/textarea&gt;&lt;script&gt;" in page


async def test_what_is_no_text_is_not_edited(admin: Visitor) -> None:
    assert "No text that can be edited here" in (await admin.get(f"{HERE}?path=logo.png")).text


async def test_a_name_that_is_no_text_is_spelled_out(admin: Visitor, office: MemoryOffice) -> None:
    office.catalog.content |= {"my-app/caf\udce9": b"x", "my-app/a\u202eb": b"x"}

    page = (await admin.get(HERE)).text

    assert "caf\\u{DCE9}</span>: its name is no UTF-8" in page
    assert "a\\u{202E}b" in page


@pytest.mark.parametrize("path", ["../Bad/composia-meta.yaml", "/etc/passwd", "a/../../Bad/x"])
async def test_no_path_leaves_the_folder(admin: Visitor, path: str) -> None:
    assert (await admin.get(HERE, params={"path": path})).status_code == 422


async def test_a_wrong_key_is_found_where_it_stands(admin: Visitor) -> None:
    found = await admin.press(f"{HERE}/check", path=META, content="name: my-app\nnods: [main]\n")

    assert found.json() == [{"line": 2, "column": 1, "text": _any(found.json(), "`nodes`")}]


async def test_a_node_that_is_not_there_is_found(admin: Visitor) -> None:
    found = await admin.press(f"{HERE}/check", path=META, content="name: my-app\nnodes: [mian]\n")

    assert [(one["line"], one["column"]) for one in found.json()] == [(2, 9)]
    assert "there is no node `mian`" in found.json()[0]["text"]


async def test_a_name_that_another_service_has_is_found(admin: Visitor) -> None:
    found = await admin.press(f"{HERE}/check", path=META, content="name: guestbook\n")

    assert any("the name `guestbook` is also in folder" in one["text"] for one in found.json())


async def test_a_compose_file_is_checked_as_far_as_it_can_be(admin: Visitor) -> None:
    text = "services:\n  web:\n    imge: a\n    x-own: 1\n    someday: 1\n  db: !reset null\n"

    found = await admin.press(f"{HERE}/check", path=COMPOSE, content=text)

    assert [(one["line"], one["column"]) for one in found.json()] == [(3, 5), (6, 7)]
    assert "did you mean `image`?" in found.json()[0]["text"]


async def test_what_is_no_yaml_says_where(admin: Visitor) -> None:
    found = await admin.press(f"{HERE}/check", path=COMPOSE, content="services:\n  web: [\n")

    assert "not YAML" in found.json()[0]["text"]


async def test_a_dialog_shows_what_would_change(admin: Visitor, office: MemoryOffice) -> None:
    text = office.catalog.content[f"my-app/{COMPOSE}"].decode().replace("busybox:lab", "<b>:2")

    dialog = await admin.press(f"{HERE}/compare", path=COMPOSE, content=text, revision=REVISION)

    assert '<span class="removed">-    image: busybox:lab' in dialog.text
    assert '<span class="added">+    image: &lt;b&gt;:2' in dialog.text
    assert "Somebody else" not in dialog.text


async def test_a_commit_is_made_with_its_message(admin: Visitor, office: MemoryOffice) -> None:
    answer = await admin.press(
        HERE, path=COMPOSE, content="services: {}\n", revision=REVISION, message="Empty it"
    )

    assert answer.headers["hx-redirect"] == f"{HERE}?path={COMPOSE}"
    assert office.catalog.content[f"my-app/{COMPOSE}"] == b"services: {}\n"
    assert (office.catalog.commits[0].subject, office.catalog.commits[0].author.name) == (
        "Empty it",
        "admin",
    )


async def test_what_somebody_else_has_changed_is_not_overwritten(
    admin: Visitor, office: MemoryOffice
) -> None:
    await office.catalog.write(f"my-app/{COMPOSE}", b"services: {theirs: {}}\n", if_match="*")
    mine = {"path": COMPOSE, "content": "services: {mine: {}}\n", "revision": REVISION}

    refused = await admin.press(HERE, **mine)
    dialog = await admin.press(f"{HERE}/compare", **mine)

    assert refused.status_code == 412
    assert "changed by somebody else" in refused.text
    assert "Look at theirs" in refused.text
    assert b"theirs" in office.catalog.content[f"my-app/{COMPOSE}"]
    assert "+services: {theirs: {}}" in dialog.text
    assert "-services: {theirs: {}}" in dialog.text
    assert f'name="revision" value="{office.catalog.known.revision}"' in dialog.text


async def test_a_commit_elsewhere_is_in_nobodys_way(admin: Visitor, office: MemoryOffice) -> None:
    await office.catalog.write("guestbook/x.yaml", b"x: 1\n", if_match="*")

    answer = await admin.press(HERE, path=COMPOSE, content="services: {}\n", revision=REVISION)

    assert answer.status_code == 204


async def test_ends_of_lines_stay_as_they_were(admin: Visitor, office: MemoryOffice) -> None:
    office.catalog.content["my-app/dos.txt"] = b"one\r\ntwo\r\n"

    await admin.press(HERE, path="dos.txt", content="one\nthree\n", revision=REVISION)

    assert office.catalog.content["my-app/dos.txt"] == b"one\r\nthree\r\n"


async def test_a_new_file_is_made_by_its_commit(admin: Visitor, office: MemoryOffice) -> None:
    page = (await admin.get(f"{HERE}?path=conf/app.env")).text
    await admin.press(HERE, path="conf/app.env", content="A=1\n", revision=REVISION)

    assert "A new file" in page
    assert office.catalog.content["my-app/conf/app.env"] == b"A=1\n"


async def test_a_broken_service_is_mended_here(admin: Visitor, office: MemoryOffice) -> None:
    overview = await admin.get("/services/Bad")
    page = (await admin.get("/services/Bad/files")).text
    content = "name: bad\nnodes: [main]\n"
    answer = await admin.press("/services/Bad/files", path=META, content=content, revision=REVISION)

    assert overview.headers["location"] == "/services/Bad/files"
    assert "did you mean <code>name</code>?" in page
    assert answer.status_code == 204
    assert office.catalog.content["Bad/composia-meta.yaml"] == content.encode()


async def test_only_an_admin_commits(stranger: Visitor, office: MemoryOffice) -> None:
    hands = '{"name": "one", "token": "one-token", "scope": "operate", "services": ["my-app"]}'
    office.gate = Gate([*TOKENS, AccessToken.model_validate_json(hands)])
    await stranger.sign_in("one-token")

    page = (await stranger.get(HERE)).text

    assert "readonly" in page
    assert "Compare and commit" not in page
    for path in (HERE, f"{HERE}/compare"):
        answer = await stranger.press(path, path=META, content="x", revision=REVISION)
        assert answer.status_code == 403
    assert (await stranger.get("/services/Bad/files")).status_code == 403


async def test_history_has_the_commits_of_the_folder(admin: Visitor) -> None:
    page = (await admin.get("/services/my-app/history")).text

    assert "Change my-app/docker-compose.yaml" in page
    assert "Add my-app &lt;b&gt;at last&lt;/b&gt;" in page
    assert "Deploy my-app on main" in page


def test_lines_are_compared_with_their_neighbours() -> None:
    lines = compared("a\nb\nc\n", "a\nB\nc\n")

    assert [line.kind for line in lines] == [
        Kind.PLACE,
        Kind.SAME,
        Kind.REMOVED,
        Kind.ADDED,
        Kind.SAME,
    ]
    assert compared("same\n", "same\n") == ()
    assert "ends of lines" in compared("a\r\n", "a\n")[0].text


def _any(found: list[dict[str, object]], word: str) -> str:
    text = str(found[0]["text"]) if found else ""
    assert word in text, found
    return text
