"""Binance captures read the obvious way: `json`, `Decimal`, dictionaries. Imports nothing of the package.

Written from the exchange's documentation and the rules in the docstrings of the readers; slow and plain.
"""

from __future__ import annotations

import json
import math
import re
import statistics
from decimal import Decimal

HOUR_NS = 3600 * 10**9
LOW_NS, HIGH_NS = 1_230_768_000 * 10**9, 4_102_444_800 * 10**9
DECIMAL = re.compile(r"[0-9]{1,40}(\.[0-9]{1,40})?")


class BadLineError(Exception):
    pass


def at_ns(value):
    if type(value) is not int:
        raise BadLineError
    unit = {13: 10**6, 16: 10**3, 19: 1}.get(len(str(value)), 0)
    if not LOW_NS <= value * unit <= HIGH_NS:
        raise BadLineError
    return value * unit


def in_bounds(digits):
    """A number beyond what a double holds is no JSON that programs can exchange."""
    if len(digits) > 300:
        raise BadLineError
    return int(digits)


def finite(text):
    if math.isinf(float(text)):
        raise BadLineError
    return float(text)


def refuse(_):
    raise BadLineError


def steps(text, step, *, up=False):
    if type(text) is not str or not DECIMAL.fullmatch(text):
        raise BadLineError
    count = Decimal(text) / Decimal(step)
    whole = int(count.to_integral_value("ROUND_CEILING"))
    if whole != count and not up:
        raise BadLineError
    return whole


def number(value):
    if type(value) is not int or not 0 <= value <= 2**62:
        raise BadLineError
    return value


def pair(price, qty, tick, lot, *, zero, up=True):
    ticks, lots = steps(price, tick), steps(qty, lot, up=up)
    if not 0 < ticks < 2**40 or not (0 if zero else 1) <= lots < 2**46:
        raise BadLineError
    return ticks, lots


def sides(data, bids, asks, tick, lot):
    found = []
    for side, name in ((1, bids), (-1, asks)):
        if type(data.get(name)) is not list:
            raise BadLineError
        for level in data[name]:
            if type(level) is not list or len(level) != 2:
                raise BadLineError
            found.append((side, *pair(*level, tick, lot, zero=True)))
    return found


def sent(data):
    return next((at_ns(data[name]) for name in ("T", "E") if data.get(name) is not None), None)


def read_line(text, symbol, tick, lot):
    """Return (kind, time sent, time of receipt, id, first id, previous id, rows), or None for what is no news."""
    if not text.strip():
        return None
    head, _, body = text.partition(b" ")
    if not re.fullmatch(rb"[0-9]{1,19}", head):
        raise BadLineError
    try:
        message = json.loads(body.decode(), parse_int=in_bounds, parse_float=finite, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise BadLineError from error
    local = at_ns(int(head))
    stream, message = unwrapped(message)
    if message is None or re.search(r"@depth[0-9]", stream):
        return None
    kind = message.get("e", "")
    if type(kind) is not str:
        raise BadLineError
    if not kind and ("bids" in message or "asks" in message):
        found = sides(message, "bids", "asks", tick, lot)
        if not found:
            raise BadLineError
        return "snapshot", sent(message), local, number(message.get("lastUpdateId")), -1, -1, found
    if kind not in {"depthUpdate", "trade", "aggTrade", "bookTicker", ""} or is_reply(kind, message):
        return None
    if type(message.get("s")) is not str:
        raise BadLineError
    return ours(kind or "bookTicker", message, local, tick, lot) if message["s"] == symbol else None


def unwrapped(message):
    if type(message) is not dict:
        raise BadLineError
    if "stream" not in message and "data" not in message:
        return "", message
    stream, payload = message.get("stream"), message.get("data")
    if type(stream) is not str or type(payload) not in {dict, list}:
        raise BadLineError
    return stream, payload if type(payload) is dict else None


def is_reply(kind, message):
    if kind or {"u", "s"} <= message.keys():
        return False
    if any(keys <= message.keys() for keys in ({"result", "id"}, {"error", "id"}, {"code", "msg"}, {"error"})):
        return True
    raise BadLineError


def ours(kind, message, local, tick, lot):
    if kind == "depthUpdate":
        first, last = number(message.get("U")), number(message.get("u"))
        before = -1 if message.get("pu") is None else number(message["pu"])
        when = sent(message)
        if first > last or when is None:
            raise BadLineError
        return kind, when, local, last, first, before, sides(message, "b", "a", tick, lot)
    if kind == "bookTicker":
        best = [(side, *pair(message.get(p), message.get(q), tick, lot, zero=False)) for side, p, q in ((1, "b", "B"), (-1, "a", "A"))]  # fmt: skip  # noqa: E501
        return kind, sent(message), local, number(message.get("u")), -1, -1, best
    if message.get("X", "MARKET") != "MARKET":
        return None
    if type(message.get("m")) is not bool:
        raise BadLineError
    row = (-1 if message["m"] else 1, *pair(message.get("p"), message.get("q"), tick, lot, zero=False, up=False))
    return kind, at_ns(message.get("T")), local, number(message.get("t" if kind == "trade" else "a")), -1, -1, [row]


def read(lines, symbol, tick, lot):
    """Return (usable messages in file order, refused lines, ignored lines)."""
    found, refused, ignored = [], 0, 0
    for text in lines:
        try:
            message = read_line(text, symbol, tick, lot)
        except BadLineError:
            refused += 1
            continue
        if message is None:
            ignored += 1
        else:
            found.append(message)
    delays = [message[2] - message[1] for message in found if message[1] is not None]
    middle = int(statistics.median(delays)) if delays else 0
    near = [m for m in found if m[1] is not None and abs(m[2] - m[1] - middle) <= HOUR_NS]
    if near:
        low, high = min(m[2] for m in near) - HOUR_NS, max(m[2] for m in near) + HOUR_NS
        near = [m for m in found if (m in near if m[1] is not None else low <= m[2] <= high)]
        refused += len(found) - len(near)
        found = near
    seen, once = set(), []
    for message in found:
        key = message[0], message[3]
        if key in seen and message[0] != "bookTicker":
            refused += 1
            continue
        seen.add(key)
        once.append(message)
    return once, refused, ignored


def books(messages):
    """Yield the book (side, ticks) -> lots after every message that counts; None for a gap."""
    updates = [m for m in messages if m[0] in {"depthUpdate", "snapshot"}]
    updates.sort(key=lambda m: (m[3], m[0] == "snapshot"))
    book, last, was_snapshot = {}, None, False
    known = not any(m[0] == "snapshot" for m in updates)
    for kind, _, _, seq, first, before, rows in updates:
        if kind == "snapshot":
            book = {(side, ticks): lots for side, ticks, lots in rows if lots}
            known = True
        else:
            if last is not None and known and not follows(last, was_snapshot, first, before):
                known, book = False, {}
                yield None
            for side, ticks, lots in rows if known else ():
                book.pop((side, ticks), None)
                if lots:
                    book[side, ticks] = lots
        last, was_snapshot = seq, kind == "snapshot"
        if known:
            yield dict(book)


def follows(last, was_snapshot, first, before):
    if before >= 0:
        return before <= last if was_snapshot else before == last
    return first <= last + 1 if was_snapshot else first == last + 1
