"""What is drawn is drawn the same each time, and takes as long as a busy machine needs."""

from __future__ import annotations

from hypothesis import settings

# A profile of Hypothesis' own: no deadline, no random seed, no examples of earlier runs.
settings.load_profile("ci")
