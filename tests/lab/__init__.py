"""The lab: real Docker engines, Git, BIND, controller and agents on one machine."""

from tests.lab.lab import DEFAULT, Lab
from tests.lab.node import Node
from tests.lab.shell import LabError

__all__ = ["DEFAULT", "Lab", "LabError", "Node"]
