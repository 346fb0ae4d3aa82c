#!/bin/bash
# The entry point of the lab's postgres image; it understands the variables of the well-known one.
set -eu

PGDATA="${PGDATA:-/var/lib/postgresql/data}"
POSTGRES_USER="${POSTGRES_USER:-postgres}"
POSTGRES_DB="${POSTGRES_DB:-$POSTGRES_USER}"
export PGDATA POSTGRES_USER POSTGRES_DB

from_file() { # VAR: take it from the file that VAR_FILE names
  local file="$1_FILE"
  if [ -n "${!file:-}" ]; then
    export "$1=$(cat "${!file}")"
    unset "$file"
  fi
}

make_folders() {
  mkdir -p "$PGDATA"
  chmod 00700 "$PGDATA" 2>/dev/null || :
  mkdir -p /var/run/postgresql
  chmod 03775 /var/run/postgresql 2>/dev/null || :
}

need_password() {
  [ -n "${POSTGRES_PASSWORD:-}" ] && return
  [ "${POSTGRES_HOST_AUTH_METHOD:-}" = trust ] && return
  echo >&2 "Error: the database is uninitialized and POSTGRES_PASSWORD is not set." \
    "Set it, or POSTGRES_HOST_AUTH_METHOD=trust."
  exit 1
}

initialise() {
  # initdb needs a name for whatever uid this is; the image lets everybody add one.
  if ! getent passwd "$(id -u)" >/dev/null; then
    echo "postgres-user:x:$(id -u):$(id -g):PostgreSQL:$PGDATA:/bin/false" >>/etc/passwd
  fi
  local method="${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}"
  # shellcheck disable=SC2086
  initdb --username="$POSTGRES_USER" --pwfile=<(printf '%s\n' "${POSTGRES_PASSWORD:-}") \
    --auth-local=trust --auth-host="$method" ${POSTGRES_INITDB_ARGS:-} -D "$PGDATA"
  printf '\nhost all all all %s\n' "$method" >>"$PGDATA/pg_hba.conf"
}

run_sql() { # as the user of the image; further arguments go to psql
  psql -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --no-password --no-psqlrc "$@"
}

make_database() {
  [ "$POSTGRES_DB" = postgres ] && return
  run_sql --dbname postgres --set db="$POSTGRES_DB" <<<'CREATE DATABASE :"db";'
}

run_init_files() {
  local file
  for file in /docker-entrypoint-initdb.d/*; do
    case "$file" in
      *.sh) if [ -x "$file" ]; then "$file"; else . "$file"; fi ;;
      *.sql) run_sql --dbname "$POSTGRES_DB" -f "$file" ;;
      *.sql.gz) gunzip -c "$file" | run_sql --dbname "$POSTGRES_DB" ;;
    esac
  done
}

first_start() {
  need_password
  initialise
  # The socket only: whoever waits for TCP sees the database when it is complete.
  PGUSER="$POSTGRES_USER" pg_ctl -D "$PGDATA" -o "-c listen_addresses='' -p 5432" -w start
  make_database
  run_init_files
  PGUSER="$POSTGRES_USER" pg_ctl -D "$PGDATA" -m fast -w stop
  echo "PostgreSQL init process complete; ready for start up."
}

if [ "${1:0:1}" = - ]; then
  set -- postgres "$@"
fi
if [ "${1:-}" = postgres ]; then
  make_folders
  if [ "$(id -u)" = 0 ]; then
    find "$PGDATA" /var/run/postgresql \! -user postgres -exec chown postgres '{}' +
    exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
  fi
  if [ ! -s "$PGDATA/PG_VERSION" ]; then
    from_file POSTGRES_PASSWORD
    first_start
  fi
fi
exec "$@"
