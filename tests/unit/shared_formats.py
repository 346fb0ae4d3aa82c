"""The examples of the formats' contract, word for word."""

from __future__ import annotations

META = """\
name: my-app                    # required; [a-z0-9][a-z0-9_-]{0,62}; unique in the catalog
project_name: my-app            # compose project; default: name
compose_files: [docker-compose.yaml]   # default: docker-compose.yaml | compose.yaml
enabled: true
nodes: [main]                   # where it is meant to run; each id stands in config.yaml

network:
  caddy: {enabled: true, source: ./Caddyfile.fragment}
  dns:                          # one record, or a list of records
    provider: cloudflare
    hostname: app.example.com
    record_type: A              # A | AAAA | CNAME; default: from the value
    value: ""                   # default: the node's public_ipv4 / public_ipv6
    proxied: false
    ttl: 120

data_protect:
  data:
    - name: uploads
      backup:
        strategy: files.copy
        include: [./data/uploads]
        exclude: [./data/uploads/temp]
      restore:
        strategy: files.copy
        include: [./data/uploads]
    - name: database
      backup: {strategy: database.pgdumpall, service: postgres}
      restore: {strategy: files.copy, include: [./restore/]}

  unprotected:                  # volumes and binds that need no backup, each with its reason
    - {source: cache, reason: rebuilt on start}

backup:
  data:
    - {name: uploads, provider: rustic, schedule: "0 2 * * *"}   # absent = the default of config.yaml, none = never
    - {name: database, provider: rustic}
  keep: {last: 3, daily: 7, weekly: 4, monthly: 12, yearly: -1}  # retention, each item (and node) by itself

migrate:
  data:
    - name: uploads

infra:                          # only on infrastructure services; at most one of each in a catalog
  rustic: {compose_service: rustic, profile: default}
  caddy: {compose_service: caddy, config_dir: /etc/caddy}
"""  # noqa: E501  # word for word

CONFIG = """\
controller:
  listen_addr: ":7001"
  repo_dir: /var/lib/composia/catalog      # Git work tree of the catalog
  state_dir: /var/lib/composia/state       # composia.db lives here
  log_dir: /var/lib/composia/logs
  access_tokens:
    - {name: admin, token: change-me, enabled: true}      # or token_file, or token_sha256; scope: admin, services: all
  nodes:
    - {id: main, display_name: Main, token: main-agent-token, public_ipv4: 203.0.113.10}
    - {id: edge, token_file: /run/secrets/edge, public_ipv4: 203.0.113.20}
  rustic:
    main_nodes: [main]          # nodes that hold the repository; the others reach it through these
    maintenance: {forget_schedule: "0 1 * * *", prune_schedule: "0 3 * * Sun", check_schedule: "0 4 * * Sun"}
  backup: {default_schedule: "0 2 * * *", timezone: Europe/Berlin,
           keep: {daily: 7, monthly: 12, yearly: -1}, verify_schedule: "0 5 * * Sun"}
  offsite: [{name: s3, profile: offsite-s3, schedule: "0 6 * * *"}]   # a second rustic profile to copy to
  git: {remote_url: https://git.example.com/infra.git, branch: main, pull_interval: 30s,
        author_name: Composia, author_email: composia@example.com, auth: {token_file: /run/secrets/git}}
  dns:
    cloudflare: {api_token_file: /run/secrets/cf, zones: [example.com]}
    ddns: {nameserver: 192.0.2.53, keyname: composia, keysecret_file: /run/secrets/tsig, zones: [example.org]}
  secrets: {provider: age, identity_file: /run/secrets/age.key}
  notifications: {urls: ["ntfy://ntfy.example.com/backups"], on: [backup_failed, backup_overdue, migrate_failed]}

agent:
  controller_addr: http://controller:7001
  node_id: main
  token: main-agent-token
  repo_dir: /var/lib/composia/services     # one folder per service; users' data lives here too
  state_dir: /var/lib/composia/agent
  caddy: {generated_dir: /srv/caddy/generated}
"""  # noqa: E501  # word for word
SECRET_FILES = ("edge", "git", "cf", "tsig", "age.key")
