"""Reaching a PostgreSQL from inside its own container."""

from __future__ import annotations

# Run inside the container, so that the password never leaves it. Constant: nothing is put in.
CONNECT = """
value() {
  eval "file=\\${$1_FILE:-} given=\\${$1:-}"
  if [ -z "$given" ] && [ -n "$file" ]; then given=$(cat "$file" 2>/dev/null) || :; fi
  printf %s "$given"
}
mine=${PGUSER:-}
PGUSER=$(value POSTGRES_USER)
PGUSER=${PGUSER:-${mine:-postgres}}
export PGUSER
if [ -z "${PGPASSWORD:-}" ]; then
  PGPASSWORD=$(value POSTGRES_PASSWORD)
  if [ -n "$PGPASSWORD" ]; then export PGPASSWORD; else unset PGPASSWORD; fi
fi
unset PGDATABASE
answers() { psql -XAtwq -d "$1" -c 'select 1' </dev/null >/dev/null; }
connects() { answers postgres || answers template1; }
connect() {
  connects && return
  PGHOST=127.0.0.1
  export PGHOST
  connects
}
"""
