"""Numbers as people read them: thousands separators, few digits, a dash where there is nothing to say.

The terminal and the HTML report both print through these, so a figure reads the same in both.
"""

from __future__ import annotations

from typing import Final

from marketmakerl.core.clock import NS_PER_DAY, iso_utc

NOTHING: Final = "-"


def money(value: float | None) -> str:
    """Format an amount to the cent; a smaller one to two significant digits, so that it does not read as zero."""
    if value is None:
        return NOTHING
    return f"{value:.2g}" if 0 < abs(value) < 0.005 else f"{value:z,.2f}"


def round_money(value: float | None) -> str:
    """Format an amount for a headline: as `money`, but without cents from 100,000 on."""
    return money(value) if value is None or abs(value) < 1e5 else f"{value:,.0f}"


def percent(fraction: float | None, digits: int = 2) -> str:
    """Format a fraction as a percentage without its sign: 0.0123 is "1.23"."""
    return NOTHING if fraction is None else f"{100 * fraction:z,.{digits}f}"


def with_percent_sign(fraction: float | None, digits: int = 2) -> str:
    """Format a fraction as a percentage: 0.0123 is "1.23 %"."""
    return NOTHING if fraction is None else f"{percent(fraction, digits)} %"


def ratio(value: float | None) -> str:
    """Format a ratio such as Sharpe's to two digits."""
    return NOTHING if value is None else f"{value:z,.2f}"


def count(value: int | None) -> str:
    """Format a count."""
    return NOTHING if value is None else f"{value:,d}"


def quantity(value: float | None) -> str:
    """Format a quantity of the traded asset to six significant digits."""
    return NOTHING if value is None else f"{value:z,.6g}"


def day(ts_ns: int) -> str:
    """Format nanoseconds UTC as a date."""
    return iso_utc(ts_ns)[:10]


def window(first_ns: int, last_ns: int) -> tuple[str, str]:
    """Format a stretch of time by its two ends: as dates, or to the second if it is shorter than a day."""
    if last_ns - first_ns >= NS_PER_DAY:
        return day(first_ns), day(last_ns)
    first, last = iso_utc(first_ns), iso_utc(last_ns)
    return f"{first[:10]} {first[11:19]}", last[11:19] if first[:10] == last[:10] else f"{last[:10]} {last[11:19]}"


def minute(iso: str) -> str:
    """Shorten an ISO time stamp to the minute: "2024-08-08 23:54 UTC"; anything else is returned as it is."""
    date, mark, time = iso.partition("T")
    return f"{date} {time[:5]} UTC" if mark and time.endswith("Z") else iso
