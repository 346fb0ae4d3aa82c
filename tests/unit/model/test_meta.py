from __future__ import annotations

import pytest

from composia.errors import Invalid, Problem
from composia.model.meta import Meta, RecordType
from composia.strategies.files_tar_after_stop import FilesTarAfterStop
from composia.strategies.pgdumpall import PgDumpAll
from composia.tools.parsing import parse
from composia.tools.yaml import load
from tests.unit.shared_formats import META


def read(text: str) -> Meta:
    return parse(load(text, "my-app/composia-meta.yaml"), Meta)


def problems(text: str) -> list[Problem]:
    with pytest.raises(Invalid) as told:
        read(text)
    return list(told.value.problems)


def said(text: str) -> list[tuple[int | None, int | None, str]]:
    return [(problem.line, problem.column, problem.msg) for problem in problems(text)]


def test_the_example_of_the_guide_loads_as_it_stands() -> None:
    meta = read(META)
    assert (meta.name, meta.project, meta.nodes) == ("my-app", "my-app", ("main",))
    assert [item.name for item in meta.data_protect.data] == ["uploads", "database"]
    assert meta.item("database")
    assert isinstance(meta.data_protect.data[1].backup, PgDumpAll)
    assert [entry.schedule for entry in meta.backup.data] == ["0 2 * * *", None]
    assert meta.infra.rustic
    assert meta.infra.rustic.profile == "default"


def test_only_a_name_is_needed() -> None:
    meta = read("name: x\n")
    assert (meta.project, meta.nodes, meta.enabled) == ("x", (), True)


def test_an_unknown_key_names_its_place_and_the_closest_known_one() -> None:
    text = META.replace("include: [./data/uploads]", "inclde: [./data/uploads]", 1)
    (problem,) = problems(text)
    assert str(problem) == (
        "my-app/composia-meta.yaml:22:9: data_protect.data.0.backup.inclde: "
        "unknown key `inclde`; did you mean `include`?"
    )


def test_everything_wrong_is_named_at_once_in_the_order_of_the_file() -> None:
    text = """\
name: 5
enabled: yes
nodes: main
zzz: 1
network: {dns: [{provider: x, hostnam: y}]}
"""
    assert said(text) == [
        (1, 7, "must be text: put it in quotes"),
        (2, 10, "must be true or false"),
        (3, 8, "must be a list"),
        (4, 1, "unknown key `zzz`; known here: backup, compose_files, data_protect, enabled, "
         "infra, migrate, name, network, nodes, project_name"),
        (5, 31, "unknown key `hostnam`; did you mean `hostname`?"),
    ]  # fmt: skip


def test_a_strategy_that_only_restores_is_no_backup() -> None:
    text = META.replace("database.pgdumpall", "database.pgimport")
    ((line, column, msg),) = said(text)
    assert (line, column) == (28, 26)
    assert msg.startswith("`database.pgimport` cannot be used here; known: files.copy")


def test_both_names_of_the_cold_strategy_are_known() -> None:
    for name in ("files.tar_after_stop", "files.copy_after_stop"):
        item = f"{{name: d, backup: {{strategy: {name}, include: [v]}}}}"
        meta = read(f"name: x\ndata_protect: {{data: [{item}]}}\n")
        assert isinstance(meta.data_protect.data[0].backup, FilesTarAfterStop)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[./data/uploads]", "[/data]", "not an absolute one"),
        ("[./data/uploads]", "[../data]", "`..` is refused"),
        ("[./restore/]", "[./restore, ./restore/x]", "overlap"),
        ("[./restore/]", "[]", "must not be empty"),
        ("[./restore/]", "[.]", "is the whole folder; name what is inside it"),
        ("- name: database", "- name: uploads", "there twice"),
        (
            "{name: database, provider",
            "{name: databse, provider",
            "there is no data item `databse` in data_protect.data. Did you mean `database`?",
        ),
        ("{name: database, provider", "{name: uploads, provider", "there twice"),
        ("nodes: [main]", "nodes: [main, main]", "there twice"),
        ("provider: rustic,", "provider: restic,", "must be 'rustic'"),
        ('"0 2 * * *"', "daily", "is no schedule"),
        ("{last: 3, daily: 7, weekly: 4, monthly: 12, yearly: -1}", "{}", "keeps nothing"),
        ("last: 3", "last: -2", "greater than or equal to -1"),
        ("source: ./Caddyfile", "source: /etc/Caddyfile", "not an absolute one"),
        ("[docker-compose.yaml]", "[../docker-compose.yaml]", "`..` is refused"),
        ('value: "" ', 'value: "2001:db8::1" ', "no value of an A record"),
        ("hostname: app.example.com", "hostname: app_", "must match"),
        ("reason: rebuilt on start", 'reason: ""', "must not be empty"),
        ("ttl: 120", "ttl: soon", "must be a"),
        ("  - name: uploads\n\ninfra", "  - name: uploadz\n\ninfra", "there is no data item"),
    ],
)
def test_what_does_not_hold_together_is_refused(old: str, new: str, words: str) -> None:
    assert old in META
    assert words in "; ".join(msg for *_, msg in said(META.replace(old, new, 1)))


@pytest.mark.parametrize(
    "name",
    ["; rm -rf", "--help", "ö", "x" * 300, "", "A", "-a", "a b", "../a", "a/b", "a.b", "a\\nb"],
)
def test_a_hostile_name_is_refused(name: str) -> None:
    assert problems(f'name: "{name}"\n')[0].loc == ("name",)


def test_an_item_that_can_do_nothing_is_refused() -> None:
    text = "name: x\ndata_protect:\n  data:\n    - name: d\n"
    assert said(text) == [(4, 7, "data item `d` has neither `backup` nor `restore`")]


def test_what_lies_in_an_exclude_of_its_item_cannot_be_included() -> None:
    text = META.replace(
        "include: [./data/uploads]", "include: [./data/uploads, data/uploads//temp/kept]", 1
    )
    (problem,) = problems(text)
    assert (problem.file, problem.line) == ("my-app/composia-meta.yaml", 22)
    assert ".".join(map(str, problem.loc)) == "data_protect.data.0.backup.include.1"
    assert problem.msg.startswith(
        "`./data/uploads/temp/kept` is inside `./data/uploads/temp`, which `exclude` leaves out"
    )


@pytest.mark.parametrize("path", ["./data/uploads/temp", "./data/uploads/temporary", "temp"])
def test_what_only_looks_like_an_exclude_of_its_item_may_be_included(path: str) -> None:
    read(META.replace("include: [./data/uploads]", f"include: [./data/uploads, {path}]", 1))


def test_an_item_without_a_backup_is_not_backed_up() -> None:
    text = META.replace("      backup: {strategy: database.pgdumpall, service: postgres}\n", "")
    assert "data item `database` has no `backup`" in said(text)[0][2]


def test_dns_is_one_record_or_a_list_of_them() -> None:
    one = "{provider: ddns, hostname: a.example.org}"
    for text in (one, f"[{one}, {one}]"):
        assert read(f"name: x\nnetwork: {{dns: {text}}}\n").network.dns[0].provider == "ddns"


def test_a_records_type_comes_from_its_value() -> None:
    record = read("name: x\nnetwork: {dns: {provider: ddns, hostname: a.b.org}}\n").network.dns[0]
    types = [record.type_of(value) for value in ("192.0.2.1", "2001:db8::1", "c.example.org")]
    assert types == [RecordType.A, RecordType.AAAA, RecordType.CNAME]
