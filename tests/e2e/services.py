"""Services that the tests put into the catalog."""

from __future__ import annotations

FILES_COMPOSE = """
services:
  web:
    image: busybox:lab
    pull_policy: never
    init: true
    command: httpd -f -p 8080 -h /srv
    restart: {restart}
    volumes:
      - ./data/uploads:/srv/uploads
      - cache:/cache
volumes:
  cache:
"""

FILES_META = """
name: {name}
nodes: [{nodes}]
data_protect:
  data:
    - name: uploads
      backup: {{strategy: {strategy}, include: [./data/uploads], exclude: [./data/uploads/temp]}}
      restore: {{strategy: files.copy, include: [./data/uploads]}}
    - name: cache
      backup: {{strategy: {strategy}, include: [cache]}}
      restore: {{strategy: files.copy, include: [cache]}}
backup:
  data: [{{name: uploads}}, {{name: cache}}]
"""

DATABASE_COMPOSE = """
services:
  postgres:
    image: postgres:15
    restart: always
    environment:
      POSTGRES_PASSWORD: {password}
      POSTGRES_USER: {user}
    volumes:
      - pgdata:/var/lib/postgresql/data
volumes:
  pgdata:
"""

DATABASE_META = """
name: {name}
nodes: [main]
data_protect:
  data:
    - name: database
      backup: {{strategy: database.pgdumpall, service: postgres}}
      restore: {{strategy: {restore}, {target}}}
backup:
  data: [{{name: database}}]
"""

GUIDE_COMPOSE = """
services:
  web:
    image: busybox:lab
    init: true
    command: httpd -f -p 8080 -h /srv
    volumes:
      - ./data/uploads:/srv/uploads
  postgres:
    image: postgres:15
    environment:
      POSTGRES_PASSWORD: {password}
    volumes:
      - pgdata:/var/lib/postgresql/data
volumes:
  pgdata:
"""


def files_compose(restart: str = "unless-stopped") -> str:
    """A web server with a bind folder and a named volume."""
    return FILES_COMPOSE.format(restart=restart)


def files_meta(name: str, strategy: str = "files.copy", nodes: str = "main") -> str:
    """Both of its places as data items."""
    return FILES_META.format(name=name, strategy=strategy, nodes=nodes)


def database_compose(user: str = "postgres", password: str = "planted-db-secret") -> str:
    """A PostgreSQL."""
    return DATABASE_COMPOSE.format(user=user, password=password)


def database_meta(name: str, as_file: bool = False) -> str:
    """Its databases as one item; brought back by import, or as a file."""
    if as_file:
        return DATABASE_META.format(name=name, restore="files.copy", target="include: [./restore/]")
    return DATABASE_META.format(name=name, restore="database.pgimport", target="service: postgres")


def guide_compose(password: str) -> str:
    """What the user guide's `my-app` needs: a web server with uploads, and a PostgreSQL."""
    return GUIDE_COMPOSE.format(password=password)
