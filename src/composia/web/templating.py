"""Templates, and how numbers and times are written in them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any
from unicodedata import category
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from composia import __version__
from composia.web.assets import Assets

TEMPLATES = Path(__file__).parent / "templates"

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_DAY = 86400
#: Control, format, half a character (a name that is no UTF-8), ends of lines and paragraphs.
_UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
#: Up to so many seconds, a number of so many seconds, called this.
_SPANS = ((60, 1, "second"), (3600, 60, "minute"), (_DAY, 3600, "hour"), (60 * _DAY, _DAY, "day"))


def render(template: str, **shown: Any) -> str:
    """The template's text."""
    return _environment.get_template(template).render(now=datetime.now(UTC), **shown)


def in_bytes(size: float | None) -> str:
    """1.4 GiB"""
    if size is None:
        return "–"
    value, unit = float(size), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return (
        f"{value:.0f} {_UNITS[unit]}"
        if unit == 0 or value >= 100
        else f"{value:.1f} {_UNITS[unit]}"
    )


def in_seconds(seconds: float | None) -> str:
    """1.4 s, 3 min 20 s, 2 h 5 min"""
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def ago(time: datetime, now: datetime) -> str:
    """3 minutes ago, in 2 hours; as islands/times.ts says it later on."""
    seconds = (now - time).total_seconds()
    if abs(seconds) < 45:
        return "just now" if seconds >= 0 else "in a moment"
    for limit, size, unit in _SPANS:
        if abs(seconds) < limit:
            count = max(1, round(abs(seconds) / size))
            what = f"{count} {unit}{'' if count == 1 else 's'}"
            return f"{what} ago" if seconds >= 0 else f"in {what}"
    return time.strftime("%Y-%m-%d")


def exactly(time: datetime) -> str:
    """2026-11-24 04:00:00 UTC"""
    return f"{time.astimezone(UTC).isoformat(' ')[:19]} UTC"


def on_the_clock(time: datetime, zone: str) -> str:
    """Wed 25 Nov, 03:00: as the clocks of that zone show it."""
    return f"{time.astimezone(ZoneInfo(zone)):%a %d %b, %H:%M}"


def took(start: datetime | None, end: datetime | None) -> str:
    """How long it went, in words."""
    return in_seconds((end - start).total_seconds()) if start and end else "–"


def coded(text: object) -> Markup:
    """Safe text, with what stands between backticks as code."""
    parts = str(text).split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    return Markup().join(
        Markup("<code>{}</code>").format(part) if place % 2 else escape(part)
        for place, part in enumerate(parts)
    )


def spelled(name: str, keep: str = "") -> str:
    """A file's name with what cannot be seen spelled out: a mark that turns text round, a tab."""
    return "".join(
        f"\\u{{{ord(one):X}}}" if category(one) in _UNSEEN and one not in keep else one
        for one in name
    )


def drawn_once(macro: Callable[..., str]) -> Callable[..., str]:
    """A macro that says the same with the same words: a list shows the same few all the way."""
    return lru_cache(maxsize=1024)(macro)


def _made() -> Environment:
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "bytes": in_bytes,
        "seconds": in_seconds,
        "ago": ago,
        "exactly": exactly,
        "coded": coded,
        "zip": zip,
        "spelled": spelled,
        "clock": on_the_clock,
    }
    made.globals |= {"assets": Assets(), "version": __version__, "took": took}
    made.globals["drawn_once"] = drawn_once
    return made


_environment = _made()
