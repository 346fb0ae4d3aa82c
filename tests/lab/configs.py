"""The config.yaml of the controller and of each agent, and how the two are started."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab import catalog, dns, engines, faults, network, paths, warm
from tests.lab.clock import Clock

if TYPE_CHECKING:
    from tests.lab.lab import Lab
    from tests.lab.node import Node

# Another build of the product than the checkout's, for example an installed wheel.
PROGRAM = "COMPOSIA_PROGRAM"

CONTROLLER = """controller:
  listen_addr: "{listen}"
  repo_dir: {folder}/catalog
  state_dir: {folder}/state
  log_dir: {folder}/logs
  access_tokens:
    - {{name: admin, token: "{token}"}}
  nodes:
{nodes}
  rustic:
    main_nodes: [{main}]
  git: {{remote_url: "{remote}", branch: main, pull_interval: {interval}}}
  dns:
    ddns: {{nameserver: {dns}, keyname: {key}, keysecret_file: {secret}, zones: [{zone}]}}
"""
NODE = '    - {{id: {id}, token: "{token}", public_ipv4: {address}}}'
AGENT = """agent:
  controller_addr: {url}
  node_id: {id}
  token: "{token}"
  repo_dir: {node.repo_dir}
  state_dir: {node.state_dir}
  caddy: {{generated_dir: {node.repo_dir}/infra-caddy/{generated}}}
"""


def write_controller(lab: Lab) -> None:
    """Write the controller's config.yaml."""
    nodes = [
        NODE.format(id=node.id, token=node.token, address=node.address)
        for node in lab.nodes.values()
    ]
    text = CONTROLLER.format(
        listen=f"{lab.network.address(network.CONTROLLER)}:7001",
        folder=lab.state / "controller",
        token=lab.token,
        nodes="\n".join(nodes),
        main=lab.facts.nodes[0],
        remote=lab.git.url,
        # A test asks for a pull when it has pushed.
        interval="10s" if os.environ.get(warm.VARIABLE) else "1s",
        dns=lab.dns.address,
        key=dns.KEY_NAME,
        secret=lab.dns.tsig_secret,
        zone=dns.ZONE,
    )
    _write_private(lab.config, text)


def write_agent(lab: Lab, node: Node) -> None:
    """Write an agent's config.yaml and make its folders."""
    for folder in (node.repo_dir, node.state_dir):
        folder.mkdir(parents=True, exist_ok=True)
    generated = catalog.CADDY_GENERATED
    fields = {"url": lab.url, "id": node.id, "token": node.token, "generated": generated}
    _write_private(node.config, AGENT.format(node=node, **fields))


def start(lab: Lab, process: str, clock: Clock | None = None) -> None:
    """Start the controller on the machine, or an agent in its node's network."""
    kind, _, name = process.partition(":")
    more = {faults.VARIABLE: str(lab.failpoints), **(clock.environment if clock else {})}
    # A clock is loaded with a program, and another build is not what was imported.
    as_users_do = bool(clock or os.environ.get(PROGRAM))
    start = lab.processes.start if as_users_do else lab.processes.start_product
    argv: tuple[str | Path, ...]
    if kind == "controller":
        argv = (program(), "controller", "--config", lab.config)
        start(process, argv, env={**os.environ, **more})
        return
    node = lab.nodes[name]
    argv = (program(), "agent", "--config", node.config)
    # All nodes are on one machine: compose files name a folder of the node's own by this.
    more["LAB_DISK"] = str(node.disk)
    start(process, argv, netns=node.netns, env={**engines.docker_env(node.docker_host), **more})


def program() -> Path:
    """The product's program."""
    return Path(os.environ.get(PROGRAM) or paths.ROOT / ".venv" / "bin" / "composia")


def _write_private(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(text)
