"""Caddy's JSON read as sites, and sites written as a forward."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from composia.tools.caddy_config import MARK, Forwarding, SiteAddress, forward, sites


def server(port: int, *hosts: str, **more: Any) -> dict[str, Any]:
    return {"listen": [f":{port}"], "routes": [{"match": [{"host": list(hosts)}]}], **more}


def adapted(*servers: dict[str, Any]) -> dict[str, Any]:
    return {"apps": {"http": {"servers": {f"srv{n}": one for n, one in enumerate(servers)}}}}


def texts(*servers: dict[str, Any]) -> list[str]:
    return [str(site) for site in sites(adapted(*servers))]


def test_a_configuration_without_sites_has_none() -> None:
    assert sites({"admin": {}}) == ()


def test_a_site_is_secured_unless_it_is_on_the_plain_port() -> None:
    assert texts(server(443, "a.test"), server(80, "b.test")) == ["https://a.test", "http://b.test"]


def test_a_site_on_another_port_is_secured_unless_caddy_is_told_to_skip_it() -> None:
    skipped = server(8080, "a.test", automatic_https={"skip": ["a.test"]})
    assert texts(skipped, server(8443, "b.test")) == ["http://a.test:8080", "https://b.test:8443"]


def test_a_server_without_automatic_https_is_plain_unless_it_has_a_policy() -> None:
    plain = server(8080, "a.test", automatic_https={"disable": True})
    secured = server(
        8443, "b.test", automatic_https={"disable": True}, tls_connection_policies=[{}]
    )
    assert texts(plain, secured) == ["http://a.test:8080", "https://b.test:8443"]


def test_a_host_that_would_mean_something_to_caddy_is_left_out() -> None:
    assert texts(server(443, "{env.HOST}", "a.test\n}", "*.b.test")) == ["https://*.b.test"]


def test_what_listens_on_no_single_port_is_left_out() -> None:
    odd = {**server(0, "a.test"), "listen": ["unix//run/x.sock", ":8000-8010", "tcp/10.0.0.1:443"]}
    assert texts(odd) == ["https://a.test"]


@pytest.mark.parametrize("host", ["a.test {", "", "a b", "*.*.test", "-a.test", "a.test\n"])
def test_a_hostile_host_is_no_site(host: str) -> None:
    with pytest.raises(ValidationError):
        SiteAddress(host=host, port=443, tls=True)


def test_a_forward_checks_the_certificate_of_the_other_node_under_the_sites_name() -> None:
    site = SiteAddress(host="a.test", port=443, tls=True)
    text = forward([Forwarding(site=site, tls=("internal",), trusted="/data/x.pem")], "10.0.0.2")
    assert text.startswith(MARK)
    assert "https://a.test {\n\ttls internal\n" in text
    assert "\treverse_proxy https://10.0.0.2:443 {\n" in text
    assert "tls_server_name a.test\n\t\t\ttls_trusted_ca_certs /data/x.pem" in text
    assert "insecure" not in text


def test_a_plain_site_is_forwarded_in_the_plain_and_an_ipv6_address_in_brackets() -> None:
    site = SiteAddress(host="a.test", port=8080, tls=False)
    text = forward([Forwarding(site=site)], "2001:db8::2")
    assert "http://a.test:8080 {\n" in text
    assert "\treverse_proxy http://[2001:db8::2]:8080 {\n" in text
    assert "transport" not in text
    assert "tls" not in text


def test_what_was_forwarded_to_a_node_already_is_not_forwarded_there_again() -> None:
    text = forward([Forwarding(site=SiteAddress(host="a.test", port=80, tls=False))], "10.0.0.2")
    assert "\t@again header Composia-Forwarded 10.0.0.2\n\trespond @again 508\n" in text
    assert "\t\theader_up +Composia-Forwarded 10.0.0.2\n" in text


def test_a_wildcard_is_asked_for_under_the_name_that_the_client_asked_for() -> None:
    site = SiteAddress(host="*.a.test", port=443, tls=True)
    assert "tls_server_name {http.request.host}" in forward([Forwarding(site=site)], "10.0.0.2")
