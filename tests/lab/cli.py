"""The command line of the lab."""

from __future__ import annotations

import argparse
import json
import os
import sys

from tests.lab.lab import DEFAULT, Lab
from tests.lab.setup import setup
from tests.lab.shell import LabError, say


def main() -> None:
    """Carry out one command; an error is one message on stderr and exit code 1."""
    args = _parser().parse_args()
    try:
        _carry_out(args, os.environ.get("LAB") or DEFAULT)
    except LabError as error:
        say(f"lab: {error}")
        sys.exit(1)


def _carry_out(args: argparse.Namespace, name: str) -> None:
    if args.verb == "setup":
        setup(tools_only=args.tools)
    elif args.verb == "up":
        _show(Lab.up(name, args.nodes))
    elif args.verb == "status":
        _show(Lab.load(name))
    elif args.verb == "down":
        Lab.end(name)
    elif args.verb == "reset":
        lab = Lab.load(name)
        lab.reset()
        _show(lab)
    else:
        _fault(args, Lab.load(name))


def _fault(args: argparse.Namespace, lab: Lab) -> None:
    if args.verb == "fail":
        _fail(args, lab)
    elif args.verb == "reboot":
        lab.reboot(args.node, agent_late=args.agent_late)
    elif args.verb in ("cut", "join"):
        getattr(lab, args.verb)(args.one, args.other)
    else:
        getattr(lab, args.verb)(args.process)


def _fail(args: argparse.Namespace, lab: Lab) -> None:
    if args.clear:
        lab.clear_failures()
    elif args.where and args.action:
        lab.fail(args.where, args.action)
    else:
        raise LabError("fail STEP:before|middle|after ACTION, or fail --clear")


def _show(lab: Lab) -> None:
    print(json.dumps(lab.status()))


def _parser() -> argparse.ArgumentParser:
    about = "Real nodes on one machine. LAB=name in the environment names a separate lab."
    parser = argparse.ArgumentParser(prog="bin/lab", description=about)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    preparing = verbs.add_parser("setup", help="install and build what is missing")
    preparing.add_argument("--tools", action="store_true", help="only .venv and pages")
    up = verbs.add_parser("up", help="start the lab and print its JSON object")
    up.add_argument("--nodes", type=lambda text: text.split(","), help="main,edge by default")
    verbs.add_parser("status", help="print the JSON object")
    verbs.add_parser("down", help="end every process and remove everything")
    verbs.add_parser("reset", help="fresh state on the same engines")
    for verb, about in (("kill", "SIGKILL one process"), ("start", "start it again")):
        one = verbs.add_parser(verb, help=about)
        one.add_argument("process", help="controller, agent:NODE or docker:NODE")
    reboot = verbs.add_parser("reboot", help="a power cut on one node")
    reboot.add_argument("node")
    reboot.add_argument("--agent-late", action="store_true", help="the engine alone for 5 s first")
    for verb, about in (("cut", "cut a link"), ("join", "mend it")):
        link = verbs.add_parser(verb, help=f"{about}: between controller, nodes, git, dns")
        link.add_argument("one")
        link.add_argument("other", nargs="?", help="without it: everything")
    fail = verbs.add_parser("fail", help="arm a failure point of the next task")
    fail.add_argument("where", nargs="?", metavar="STEP:MOMENT")
    fail.add_argument("action", nargs="?", help="kill-controller, kill-agent:NODE or error")
    fail.add_argument("--clear", action="store_true", help="disarm all")
    return parser
