"""What can be told of a compose file without compose: keys that look like others."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from composia.errors import Problem
from composia.model.names import closest
from composia.tools.yaml import Document, Loc

#: Of the Compose Specification.
TOP = frozenset(
    (
        "configs",
        "include",
        "models",
        "name",
        "networks",
        "secrets",
        "services",
        "version",
        "volumes",
    )
)
_OF_A_SERVICE = """
    annotations attach blkio_config build cap_add cap_drop cgroup cgroup_parent command configs
    container_name cpu_count cpu_percent cpu_period cpu_quota cpu_rt_period cpu_rt_runtime
    cpu_shares cpus cpuset credential_spec depends_on deploy develop device_cgroup_rules devices
    dns dns_opt dns_search domainname driver_opts entrypoint env_file environment expose extends
    external_links extra_hosts gpus group_add healthcheck hostname image init ipc isolation
    label_file labels links logging mac_address mem_limit mem_reservation mem_swappiness
    memswap_limit models network_mode networks oom_kill_disable oom_score_adj pid pids_limit
    platform ports post_start pre_stop privileged profiles provider pull_policy read_only restart
    runtime scale secrets security_opt shm_size stdin_open stop_grace_period stop_signal
    storage_opt sysctls tmpfs tty ulimits use_api_socket user userns_mode uts volumes volumes_from
    working_dir
"""
SERVICE = frozenset(_OF_A_SERVICE.split())


def faults(document: Document) -> tuple[Problem, ...]:
    """Places that are wrong, or very likely so. Compose itself has the last word."""
    data = document.data
    if not isinstance(data, dict):
        return (document.problem((), "must be a mapping of keys to values"),)
    found = list(_likely(document, (), data, TOP))
    services = data.get("services")
    if services is not None and not isinstance(services, dict):
        return (*found, document.problem(("services",), "must be a mapping of keys to values"))
    for name, service in (services or {}).items():
        if isinstance(service, dict):
            found += _likely(document, ("services", name), service, SERVICE)
        else:
            msg = "must be a mapping of keys to values"
            found.append(document.problem(("services", name), msg))
    return tuple(found)


def _likely(
    document: Document, loc: Loc, keys: Collection[str], known: Collection[str]
) -> Iterator[Problem]:
    # Compose learns new keys: one that looks like no other is left to it.
    for key in keys:
        meant = None if key in known or key.startswith("x-") or key == "<<" else closest(key, known)
        if meant:
            place = (*loc, key)
            yield document.problem(
                place, f"unknown key `{key}`; did you mean `{meant}`?", at_key=True
            )
