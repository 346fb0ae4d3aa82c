"""`python3 -m tests.lab`: what bin/lab and bin/setup run."""

from __future__ import annotations

from tests.lab.cli import main

main()
