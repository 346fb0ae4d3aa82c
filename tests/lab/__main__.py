"""`python3 -m tests.lab`: what bin/lab and bin/setup run."""

from __future__ import annotations

import sys

if sys.version_info < (3, 11):
    sys.exit("the lab needs Python 3.11 or newer")

from tests.lab.cli import main

main()
