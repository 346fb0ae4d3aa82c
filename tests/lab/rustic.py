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
COMPILER = {"gcc": "build-essential", "cmake": "cmake"}
# Without these the build takes three times as long on two cores.
BUILD = {
    "CARGO_PROFILE_RELEASE_LTO": "off",
    "CARGO_PROFILE_RELEASE_CODEGEN_UNITS": "16",
    "CARGO_PROFILE_RELEASE_OPT_LEVEL": "2",
}


def found() -> Path | None:
    """The rustic that is here already."""
    own = shutil.which("rustic")
    if own and _is_right(Path(own)):
        return Path(own)
    return _cached() if _cached().exists() else None


def program(log: Path) -> Path:
    """The path of rustic, made where it is missing."""
    if here := found():
        return here
    with paths.made_once(_cached().parents[1]) as scratch:
        if scratch and not (can_be_pulled() and _from_image(scratch, log)):
            _build(scratch, log)
    return _cached()


def can_be_pulled() -> bool:
    """Whether the official image's registry answers; a client of Docker would try for minutes."""
    registry = OFFICIAL.partition("/")[0]
    try:
        urllib.request.urlopen(f"https://{registry}/v2/", timeout=5).close()
    except urllib.error.HTTPError as error:
        return error.code == 401
    except OSError:
        return False
    return True


def can_be_built() -> bool:
    """Whether a build can start before any package is installed."""
    return bool(shutil.which("cargo")) and not packages.missing(COMPILER)


def _cached() -> Path:
    recipe = paths.key(VERSION, FLAGS, sorted(BUILD.items()))
    return paths.cache() / f"rustic-{recipe}" / "bin" / "rustic"


def _is_right(path: Path) -> bool:
    return run(path, "--version", check=False).split()[-1:] == [VERSION]


def _build(scratch: Path, log: Path) -> None:
    if not shutil.which("cargo"):
        raise LabError(
            f"rustic {VERSION} is not on PATH, its image cannot be pulled, and cargo is missing: "
            "install rustic, or Rust 1.91 or newer, and run bin/setup again"
        )
    if names := packages.missing(COMPILER):
        packages.install(names, log)
    say("rustic: building it with cargo")
    flags = ("--version", VERSION, *FLAGS, "--root", str(scratch))
    # A target folder of its own: nothing is left behind, and no other build is waited for.
    env = {**os.environ, **BUILD, "CARGO_TARGET_DIR": str(scratch / "target")}
    logged(log, "cargo", "install", "rustic-rs", *flags, env=env)
    shutil.rmtree(scratch / "target", ignore_errors=True)


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
