"""The JSON object that tells other programs how to drive a lab."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.lab import dns, images

if TYPE_CHECKING:
    from tests.lab.lab import Lab
    from tests.lab.node import Node


def describe(lab: Lab) -> dict[str, Any]:
    """The object that `bin/lab up` and `bin/lab status` print."""
    address = {"server": lab.dns.address, "port": dns.PORT, "zone": dns.ZONE}
    password = lab.facts.rustic_password
    return {
        "name": lab.name,
        "url": lab.url,
        "token": lab.token,
        "catalog": str(lab.catalog),
        "state": str(lab.state),
        "config": str(lab.config),
        "controller": {"pid": lab.pid("controller")},
        "dns": {**address, "tsig": str(lab.dns.tsig)},
        "nodes": {name: _node(node, lab) for name, node in lab.nodes.items()},
        "images": list(images.NAMES),
        "rustic": {"password": password, "repository": str(lab.repository)},
    }


def _node(node: Node, lab: Lab) -> dict[str, Any]:
    return {
        "docker_host": node.docker_host,
        "address": node.address,
        "netns": node.netns,
        "agent_pid": lab.pid(f"agent:{node.id}"),
        "repo_dir": str(node.repo_dir),
        "state_dir": str(node.state_dir),
        "config": str(node.config),
        "engine_root": str(node.engine.root),
        "caddy": {
            "http": f"{node.address}:80",
            "https": f"{node.address}:443",
            "root_ca": str(node.root_ca),
        },
    }
