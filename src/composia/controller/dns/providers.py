"""The providers that config.yaml sets up."""

from __future__ import annotations

from collections.abc import Mapping

from composia.controller.dns.base import Provider
from composia.controller.dns.cloudflare import CloudflareProvider
from composia.controller.dns.ddns import DdnsProvider
from composia.model.config import DnsConfig


def providers(config: DnsConfig) -> Mapping[str, Provider]:
    """By the names that records call them."""
    found: dict[str, Provider] = {}
    if config.cloudflare:
        found["cloudflare"] = CloudflareProvider(config.cloudflare)
    if config.ddns:
        found["ddns"] = DdnsProvider(config.ddns)
    return found
