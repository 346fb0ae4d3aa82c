"""The rustic program: the machine's own, the official image's, or built here."""

from __future__ import annotations

import os
import shutil
import urllib.error
import urllib.request
from pathlib import Path

from tests.lab import packages, paths
from tests.lab.shell import LabError, logged, run, say

VERSION = "0.11.4"
OFFICIAL = f"ghcr.io/rustic-rs/rustic:v{VERSION}"
FLAGS = ("--locked", "--no-default-features", "--features", "jq")
# Without these the build takes three times as long on two cores.
BUILD = {
    "CARGO_PROFILE_RELEASE_LTO": "off",
    "CARGO_PROFILE_RELEASE_CODEGEN_UNITS": "16",
    "CARGO_PROFILE_RELEASE_OPT_LEVEL": "2",
}


def program(log: Path) -> Path:
    """The path of rustic, made where it is missing."""
    own = shutil.which("rustic")
    if own and _is_right(Path(own)):
        return Path(own)
    folder = paths.cache() / f"rustic-{paths.key(VERSION, FLAGS, sorted(BUILD.items()))}"
    with paths.made_once(folder) as scratch:
        if scratch:
            _fetch_or_build(scratch, log)
    return folder / "bin" / "rustic"


def _is_right(path: Path) -> bool:
    return run(path, "--version", check=False).split()[-1:] == [VERSION]


def _fetch_or_build(scratch: Path, log: Path) -> None:
    if _can_be_pulled() and _from_image(scratch, log):
        return
    if not shutil.which("cargo"):
        raise LabError(
            f"rustic {VERSION} is not on PATH, its image cannot be pulled, and cargo is missing: "
            "install rustic, or Rust 1.91 or newer, and run bin/setup again"
        )
    say("rustic: building it with cargo (about 5 min on 2 cores)")
    flags = ("--version", VERSION, *FLAGS, "--root", str(scratch))
    # The build's own folder: nothing stays behind, and nobody else's is waited for.
    env = {**os.environ, **BUILD, "CARGO_TARGET_DIR": str(scratch / "target")}
    logged(log, "cargo", "install", "rustic-rs", *flags, env=env)
    shutil.rmtree(scratch / "target", ignore_errors=True)


def _can_be_pulled() -> bool:
    """Whether the official image's registry answers; a client of Docker would try for minutes."""
    try:
        urllib.request.urlopen(f"https://{OFFICIAL.split('/')[0]}/v2/", timeout=5).close()
    except urllib.error.HTTPError as error:
        return error.code == 401
    except OSError:
        return False
    return True


def _from_image(scratch: Path, log: Path) -> bool:
    """Take the program out of the official image; False where that does not work."""
    from tests.lab.engines import building_engine

    if not packages.has_engine():
        packages.install_engine(log)
    say(f"rustic: taking it from {OFFICIAL}")
    try:
        with building_engine(scratch / "engine", log.parent, network=True) as docker:
            docker("pull", OFFICIAL)
            docker("create", "--name", "rustic", OFFICIAL)
            (scratch / "bin").mkdir()
            docker("cp", "rustic:/rustic", str(scratch / "bin" / "rustic"))
    except LabError as error:
        say(f"rustic: {error}")
        return False
    finally:
        shutil.rmtree(scratch / "engine", ignore_errors=True)
    return _is_right(scratch / "bin" / "rustic")
