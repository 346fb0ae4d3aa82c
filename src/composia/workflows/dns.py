"""Pointing a service's names to where it runs."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from composia.model.catalog import Service
from composia.model.dns import DnsTarget, DnsUpdated, normal, normals
from composia.model.meta import HOSTNAME, DnsRecord, RecordType
from composia.tools.wording import names
from composia.workflows.known import Known
from composia.workflows.objections import Objections, Place
from composia.workflows.plan import Hold, OnNodes, Run, placement
from composia.workflows.service import ServiceRequest

#: Seconds that Cloudflare takes; 1 leaves it to Cloudflare.
_CLOUDFLARE_TTL = (60, 86400)
_HOSTNAME = re.compile(HOSTNAME)


class DnsUpdatePlan(OnNodes):
    """Records of names, as they should be."""

    plan: Literal["dns-update"] = "dns-update"
    records: tuple[DnsTarget, ...]
    #: The addresses of all nodes: what points there is ours.
    ours: tuple[str, ...]

    @property
    def holds(self) -> tuple[Hold, ...]:
        """Whoever moves the service points its names himself."""
        return (Hold(name=placement(self.service.name)),)

    def __str__(self) -> str:
        hostnames = tuple(dict.fromkeys(record.hostname for record in self.records))
        return f"Point {names(hostnames)} to {self.service} on {names(self.on)}"

    async def carry_out(self, run: Run) -> dict[str, Any]:
        """The step of docs/design.md, "DNS"."""
        updated = await update_dns(run, "update_dns", self.records, self.ours)
        return as_result(updated)


def as_result(updated: DnsUpdated) -> dict[str, Any]:
    """The records, and until when somebody may go to where they pointed before."""
    return {
        **updated.model_dump(mode="json"),
        "longest_ttl_before": updated.longest_ttl_before,
        "forgotten_at": updated.forgotten_at and updated.forgotten_at.isoformat(),
    }


async def update_dns(
    run: Run, step: str, records: Sequence[DnsTarget], ours: Sequence[str]
) -> DnsUpdated:
    """The step that brings records to what they should be."""
    targets = [record.model_dump(mode="json") for record in records]
    found = await run.control(step, "update_dns", records=targets, ours=list(ours))
    updated = DnsUpdated.model_validate(found)
    for record in updated.records:
        before, after = ", ".join(record.before) or "nothing", ", ".join(record.after) or "nothing"
        told = f"{before} -> {after}" if record.changed else f"{after}, as it was"
        run.log(f"{record.hostname} {record.record_type}: {told}")
    return updated


def plan_dns_update(known: Known, service: str, request: ServiceRequest) -> DnsUpdatePlan:
    """Raises ComposiaError, with all that stands in the way."""
    found, wrong = known.service(service), Objections()
    on = known.nodes_meant_for(found, request.nodes, wrong)
    known.object_to_a_disabled(found, wrong)
    if not found.meta.network.dns:
        wrong.conflict(
            (), f"{service} has no DNS records", "Add `network.dns` to its composia-meta.yaml."
        )
    known.object_to_what_has_left(found, on, wrong)
    object_to_dns(known, found, on, wrong)
    wrong.settle()
    return DnsUpdatePlan(
        service=found.ref,
        on=on,
        records=dns_targets(known, found, on),
        ours=known.dns.addresses,
    )


def object_to_dns(known: Known, service: Service, nodes: Sequence[str], wrong: Objections) -> None:
    """All that keeps the service's names from pointing to these nodes."""
    for position, record in enumerate(service.meta.network.dns):
        place: Place = ("network", "dns", position)
        if record.provider not in known.dns.zones:
            wrong.conflict(
                (*place, "provider"),
                f"controller.dns does not set up the provider {record.provider}",
                f"Add `{record.provider}` under controller.dns in config.yaml, "
                "or name another provider in the service's composia-meta.yaml.",
            )
            continue
        _object_to_the_name(known, record, place, wrong)
        _object_to_the_value(known, record, nodes, place, wrong)
        _object_to_the_options(record, place, wrong)
    _object_to_contradictions(service, wrong)


def dns_targets(known: Known, service: Service, nodes: Sequence[str]) -> tuple[DnsTarget, ...]:
    """The service's records when it runs on these nodes."""
    found: dict[tuple[str, RecordType], DnsTarget] = {}
    for record in service.meta.network.dns:
        for target in _targets(known, record, nodes):
            key = (target.hostname, target.record_type)
            before = found.get(key)
            values = normals((*(before.values if before else ()), *target.values))
            found[key] = (before or target).model_copy(update={"values": values})
    return tuple(found.values())


def _targets(known: Known, record: DnsRecord, nodes: Sequence[str]) -> Iterator[DnsTarget]:
    hostname = normal(record.hostname)
    zone = known.dns.zone_of(record.provider, hostname) or ""
    for record_type, values in _values(known, record, nodes):
        yield DnsTarget(
            provider=record.provider,
            zone=zone,
            hostname=hostname,
            record_type=record_type,
            values=values,
            proxied=record.proxied,
            ttl=record.ttl,
        )


def _values(
    known: Known, record: DnsRecord, nodes: Sequence[str]
) -> Iterator[tuple[RecordType, tuple[str, ...]]]:
    """Without value and type both kinds of address: an old one left behind would lead astray."""
    if record.value:
        yield record.type_of(record.value), (normal(record.value),)
        return
    wanted = (record.record_type,) if record.record_type else (RecordType.A, RecordType.AAAA)
    for record_type in wanted:
        given = known.dns.ipv6 if record_type is RecordType.AAAA else known.dns.ipv4
        yield record_type, normals(given[node] for node in nodes if node in given)


def _object_to_the_name(known: Known, record: DnsRecord, place: Place, wrong: Objections) -> None:
    if known.dns.zone_of(record.provider, record.hostname) is None:
        zones = ", ".join(known.dns.zones[record.provider]) or "none"
        wrong.conflict(
            (*place, "hostname"),
            f"{record.hostname} is in no zone of the provider {record.provider}: {zones}",
            f"Add its zone to controller.dns.{record.provider}.zones in config.yaml.",
        )


def _object_to_the_value(
    known: Known, record: DnsRecord, nodes: Sequence[str], place: Place, wrong: Objections
) -> None:
    if record.value:
        if record.type_of(record.value) is RecordType.CNAME and not _is_name(record.value):
            wrong.conflict((*place, "value"), f"`{record.value}` is no name of a host")
        return
    if record.record_type is RecordType.CNAME:
        wrong.conflict(
            (*place, "value"),
            f"the CNAME {record.hostname} has no value",
            "A CNAME needs a `value`: the name that it points to.",
        )
        return
    for node in nodes:
        if node in known.nodes and not _has_address(known, record, node):
            key = "public_ipv6" if record.record_type is RecordType.AAAA else "public_ipv4"
            wrong.conflict(
                (*place, "value"),
                f"node {node} has no {key} for {record.hostname}",
                f"Add `{key}` to node {node} in config.yaml, or a `value` to the record.",
            )


def _has_address(known: Known, record: DnsRecord, node: str) -> bool:
    by_type = {RecordType.A: known.dns.ipv4, RecordType.AAAA: known.dns.ipv6}
    parts = [by_type[record.record_type]] if record.record_type else list(by_type.values())
    return any(node in part for part in parts)


def _object_to_the_options(record: DnsRecord, place: Place, wrong: Objections) -> None:
    if record.provider != "cloudflare":
        if record.proxied:
            wrong.conflict((*place, "proxied"), "only cloudflare has a proxy for names")
        return
    least, most = _CLOUDFLARE_TTL
    if not record.proxied and record.ttl != 1 and not least <= record.ttl <= most:
        wrong.conflict(
            (*place, "ttl"),
            f"cloudflare takes no ttl of {record.ttl} seconds",
            f"Write {least} to {most}, or 1 to leave it to cloudflare.",
        )


def _object_to_contradictions(service: Service, wrong: Objections) -> None:
    """A CNAME stands alone: it has one value, and no address beside it."""
    kinds: dict[str, list[bool]] = {}
    for record in service.meta.network.dns:
        is_alias = record.record_type is RecordType.CNAME or bool(
            record.value and record.type_of(record.value) is RecordType.CNAME
        )
        kinds.setdefault(normal(record.hostname), []).append(is_alias)
    for hostname, aliases in kinds.items():
        if any(aliases) and len(aliases) > 1:
            wrong.conflict(
                ("network", "dns"),
                f"{hostname} is a CNAME, and there is another record of that name",
            )


def _is_name(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return _HOSTNAME.fullmatch(text) is not None
    return False
