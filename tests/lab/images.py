"""The images of the lab, each a root filesystem made here and imported under a well-known name."""

from __future__ import annotations

import inspect
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.lab import packages, paths, rustic
from tests.lab.shell import LabError, logged, run

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
POSTGRES_PATH = PATH.replace("PATH=", "PATH=/usr/lib/postgresql/15/bin:")
# PostgreSQL 15 is the one of this release, whatever the machine runs.
POSTGRES_SUITE = "bookworm"
POSTGRES_PACKAGES = "postgresql-15,ca-certificates,netbase"
POSTGRES_UID = "999"
WASTE = (
    "usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/locale", "var/lib/apt/lists",
    "var/cache/apt", "usr/lib/postgresql/15/lib/bitcode", "var/lib/postgresql/15",
)  # fmt: skip


@dataclass(frozen=True)
class Image:
    """A root filesystem made here, and the names and settings under which engines import it."""

    slug: str
    make: Callable[[Path, Path], None]
    variants: Mapping[str, tuple[str, ...]]
    recipe: tuple[object, ...] = ()

    @property
    def root(self) -> Path:
        """The root filesystem as a tar file in the cache."""
        name = f"image-{self.slug}-{paths.key(inspect.getsource(self.make), *self.recipe)}"
        return paths.cache() / name / "root.tar"

    def build(self, log: Path) -> None:
        """Make the root filesystem where it is missing."""
        with paths.made_once(self.root.parent) as scratch:
            if scratch:
                tree = scratch / "root"
                tree.mkdir()
                self.make(tree, log)
                run("tar", "--xattrs", "-C", tree, "-cf", scratch / "root.tar", ".")
                shutil.rmtree(tree)

    def load(self, docker: Callable[..., str]) -> None:
        """Import the root filesystem into an engine."""
        for name, settings in self.variants.items():
            changes = [word for setting in settings for word in ("--change", setting)]
            docker("import", *changes, str(self.root), name)


def _busybox(tree: Path, log: Path) -> None:
    """One static program under all its names."""
    binary = shutil.which("busybox")
    if not binary:
        raise LabError("busybox-static is not installed")
    (tree / "bin").mkdir()
    shutil.copy2(binary, tree / "bin" / "busybox")
    for applet in run(binary, "--list-full").split():
        link = tree / applet
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            link.symlink_to("/bin/busybox")
    for name in ("bin", "usr/bin", "sbin", "usr/sbin", "etc", "root", "tmp", "var", "dev", "proc"):
        (tree / name).mkdir(parents=True, exist_ok=True)
    (tree / "tmp").chmod(0o1777)
    users = "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33::/var/www:/bin/false\n"
    (tree / "etc/passwd").write_text(users + "nobody:x:65534:65534::/:/bin/false\n")
    (tree / "etc/group").write_text("root:x:0:\nwww-data:x:33:\nnobody:x:65534:\n")


def _postgres(tree: Path, log: Path) -> None:
    """A small Debian with PostgreSQL and an entry point of our own."""
    include = f"--include={POSTGRES_PACKAGES}"
    source = (POSTGRES_SUITE, str(tree), packages.mirror())
    logged(log, "debootstrap", "--variant=minbase", include, *source)
    for path in WASTE:
        shutil.rmtree(tree / path, ignore_errors=True)
    for library in tree.glob("usr/lib/*/libLLVM*"):
        library.unlink()
    # PostgreSQL does without its compiler when the library is not there.
    (tree / "usr/lib/postgresql/15/lib/llvmjit.so").unlink(missing_ok=True)
    run("chroot", tree, "groupmod", "-g", POSTGRES_UID, "postgres")
    run("chroot", tree, "usermod", "-u", POSTGRES_UID, "postgres")
    for path in ("var/lib/postgresql/data", "run/postgresql", "var/log/postgresql"):
        (tree / path).mkdir(parents=True, exist_ok=True)
    for path in ("var/lib/postgresql", "run/postgresql", "var/log/postgresql"):
        run("chroot", tree, "chown", "-R", "postgres:postgres", f"/{path}")
    # Open to any `user:`, as in the well-known image.
    (tree / "var/lib/postgresql/data").chmod(0o1777)
    (tree / "run/postgresql").chmod(0o3777)
    (tree / "etc/passwd").chmod(0o666)
    sample = tree / "usr/share/postgresql/15/postgresql.conf.sample"
    local, everywhere = "#listen_addresses = 'localhost'", "listen_addresses = '*'"
    sample.write_text(sample.read_text().replace(local, everywhere))
    (tree / "docker-entrypoint-initdb.d").mkdir()
    entry = tree / "usr/local/bin/docker-entrypoint.sh"
    shutil.copy(paths.FILES / "postgres-entrypoint.sh", entry)
    entry.chmod(0o755)


def _caddy(tree: Path, log: Path) -> None:
    """Debian's Caddy, the one program of its image."""
    packages.extract("caddy", tree, log)
    for name in ("lib", "usr/share"):
        shutil.rmtree(tree / name, ignore_errors=True)
    _add_libraries(tree, tree / "usr/bin/caddy")
    for name in ("etc/caddy", "data", "config", "srv", "tmp"):
        (tree / name).mkdir(parents=True, exist_ok=True)
    (tree / "tmp").chmod(0o1777)
    (tree / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/false\n")


def _rustic(tree: Path, log: Path) -> None:
    """The rustic program and the libraries it is linked to."""
    target = tree / "usr/local/bin/rustic"
    target.parent.mkdir(parents=True)
    shutil.copy2(rustic.program(log), target)
    target.chmod(0o755)
    _add_libraries(tree, target)
    (tree / "tmp").mkdir()
    (tree / "tmp").chmod(0o1777)


def _add_libraries(tree: Path, program: Path) -> None:
    """Copy what the loader would load; a static program needs nothing."""
    linked = run("ldd", program, check=False)
    for path in re.findall(r"(/\S+) \(0x", linked):
        target = tree / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(os.path.realpath(path), target)


ENTRY = (paths.FILES / "postgres-entrypoint.sh").read_text()
BASE = (
    Image("busybox", _busybox, {"busybox:lab": (f"ENV {PATH}", 'CMD ["sh"]')}),
    Image(
        "postgres",
        _postgres,
        {
            "postgres:15": (
                f"ENV {POSTGRES_PATH} LANG=C.UTF-8 PGDATA=/var/lib/postgresql/data",
                'ENTRYPOINT ["docker-entrypoint.sh"]',
                'CMD ["postgres"]',
                "VOLUME /var/lib/postgresql/data",
                "EXPOSE 5432",
                "STOPSIGNAL SIGINT",
            )
        },
        (ENTRY, POSTGRES_SUITE, POSTGRES_PACKAGES, POSTGRES_UID, WASTE),
    ),
    Image(
        "caddy",
        _caddy,
        {
            "caddy:2": (
                f"ENV {PATH} XDG_DATA_HOME=/data XDG_CONFIG_HOME=/config",
                'CMD ["caddy","run","--config","/etc/caddy/Caddyfile","--adapter","caddyfile"]',
                "WORKDIR /srv",
                "EXPOSE 80 443 2019",
            )
        },
    ),
)
RUSTIC = Image(
    "rustic",
    _rustic,
    {
        "rustic:latest": (f"ENV {PATH}",),
        "rustic:entrypoint": (f"ENV {PATH}", 'ENTRYPOINT ["/usr/local/bin/rustic"]'),
    },
    (rustic.VERSION,),
)
IMAGES = (*BASE, RUSTIC)
NAMES = tuple(name for image in IMAGES for name in image.variants)


def fingerprint() -> str:
    """What changes when any image does."""
    settings = [(image.root.parent.name, sorted(image.variants.items())) for image in IMAGES]
    return paths.key(settings)
