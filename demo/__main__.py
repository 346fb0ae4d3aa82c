"""The main job, end to end: deploy, back up, lose everything, have it back; then move."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

from demo import moving
from tests.lab import Lab

HERE = Path(__file__).parent
ROOT = HERE.parent
COMPOSIA = str(Path(sys.executable).with_name("composia"))


def main() -> int:
    """Show it; the exit code says whether everything came back, and nothing was lost."""
    once = "--once" in sys.argv[1:]
    say("Starting two real nodes, a Git remote and a controller")
    lab = Lab.up(os.environ["LAB"], nodes=["main", "edge"])
    try:
        came_back = show(lab) and moving.show(lab, partial(composia, lab), say)
    finally:
        if once:
            lab.down()
    if not once:
        print_the_way_on(lab)
    return 0 if came_back else 1


def show(lab: Lab) -> bool:
    """Deploy, fill, back up, destroy, restore, compare."""
    lab.reset()
    say("Somebody pushes a service to Git: a web server with uploads, and PostgreSQL")
    lab.commit_service(HERE / "my-app")
    print((HERE / "my-app" / "composia-meta.yaml").read_text())
    composia(lab, "deploy", "my-app")

    say("People use it: 200 uploads, 1,000 orders")
    fill(lab)
    before = fingerprint(lab)
    print(before)
    composia(lab, "backup", "my-app")

    say("Then everything is lost: containers, volumes and the service's folder")
    destroy(lab)
    composia(lab, "services")

    say("One call brings the data back, one starts it")
    composia(lab, "restore", "my-app", "--yes")
    composia(lab, "deploy", "my-app")
    after = fingerprint(lab)
    print(after)
    same = after == before
    say("The same files, the same rows" if same else "NOT the same: this is a bug")
    return same


def fill(lab: Lab) -> None:
    """Uploads of several sizes, and a table of orders."""
    uploads = Path(lab.nodes["main"].repo_dir) / "my-app/data/uploads"
    for number in range(200):
        (uploads / f"photo {number}.jpg").write_bytes(os.urandom(1000 * (number + 1)))
    sql(
        lab, "create table orders as select n, md5(n::text) as item from generate_series(1, 1000) n"
    )


def fingerprint(lab: Lab) -> str:
    """What a person would compare: a checksum of all files, and one of all rows."""
    uploads = Path(lab.nodes["main"].repo_dir) / "my-app/data/uploads"
    listing = subprocess.run(
        ["sha256sum", *sorted(path.name for path in uploads.iterdir())],
        cwd=uploads, capture_output=True, check=True,
    ).stdout  # fmt: skip
    files = subprocess.run(["sha256sum"], input=listing, capture_output=True, check=True).stdout
    rows = sql(lab, "select count(*), md5(string_agg(item, ',' order by n)) from orders")
    return f"  uploads  {files.decode()[:16]}\n  orders   {rows.strip()}"


def sql(lab: Lab, statement: str) -> str:
    """One statement in the service's database, when it answers."""
    container = lab.docker("main", "ps", "-qf", "label=com.docker.compose.service=postgres").strip()
    lab.docker(
        "main", "exec", container, "sh", "-c",
        "for n in $(seq 100); do pg_isready -qh 127.0.0.1 && exit 0; sleep 0.1; done; exit 1",
    )  # fmt: skip
    return lab.docker("main", "exec", container, "psql", "-U", "postgres", "-Atc", statement)


def destroy(lab: Lab) -> None:
    """As a bad day does it."""
    for container in lab.docker(
        "main", "ps", "-aqf", "label=com.docker.compose.project=my-app"
    ).split():
        lab.docker("main", "rm", "-f", container)
    lab.docker("main", "volume", "rm", "my-app_pgdata")
    shutil.rmtree(Path(lab.nodes["main"].repo_dir) / "my-app")


def composia(lab: Lab, *arguments: str) -> None:
    """The command line, as a person would type it."""
    print(f"\033[2m$ composia {' '.join(arguments)}\033[0m", flush=True)
    access = {"COMPOSIA_URL": lab.url, "COMPOSIA_TOKEN": lab.token}
    subprocess.run([COMPOSIA, *arguments], env={**os.environ, **access}, check=True)


def say(line: str) -> None:
    print(f"\n\033[1m{line}\033[0m", flush=True)


def print_the_way_on(lab: Lab) -> None:
    print(
        f"\nIt is still running. To look around, open {lab.url}/ and sign in with\n"
        f"  {lab.token}\nor go on here:\n"
        f"  export COMPOSIA_URL={lab.url} COMPOSIA_TOKEN={lab.token}\n"
        f"  {COMPOSIA} services\n"
        f'  curl -H "Authorization: Bearer $COMPOSIA_TOKEN" $COMPOSIA_URL/api/v1/backups\n'
        f"End it with: bin/demo --stop"
    )


if __name__ == "__main__":
    sys.exit(main())
