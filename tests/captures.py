"""Small captures of Binance streams, shaped like recorded ones: diffs, the answer to a snapshot request, trades."""

from __future__ import annotations

import gzip
import json
import random

T0_MS = 1_723_161_256_000


def line_of(message, *, local_ns):
    return f"{local_ns} {json.dumps(message, separators=(',', ':'))}".encode()


def local_at(ms):
    return (T0_MS + ms + 7) * 1_000_000 + 123


def diff(ms, first, last, before, bids, asks, *, symbol="BTCUSDT", name="depth@0ms"):
    data = {"e": "depthUpdate", "E": T0_MS + ms + 1, "T": T0_MS + ms, "s": symbol, "U": first, "u": last, "pu": before,
            "b": bids, "a": asks}  # fmt: skip
    return line_of({"stream": f"{symbol.lower()}@{name}", "data": data}, local_ns=local_at(ms))


def snapshot(ms, last, bids, asks):
    message = {"lastUpdateId": last, "E": T0_MS + ms, "T": T0_MS + ms, "bids": bids, "asks": asks}
    return line_of(message, local_ns=local_at(ms))


def trade(ms, number, price, qty, *, maker=False, kind="trade", symbol="BTCUSDT", **more):
    data = {"e": kind, "E": T0_MS + ms, "T": T0_MS + ms, "s": symbol, "t" if kind == "trade" else "a": number,
            "p": price, "q": qty, "m": maker, **more}  # fmt: skip
    return line_of({"stream": f"{symbol.lower()}@{kind}", "data": data}, local_ns=local_at(ms))


def ticker(ms, last, bid, ask, *, symbol="BTCUSDT", **more):
    data = {"e": "bookTicker", "u": last, "s": symbol, "b": bid[0], "B": bid[1], "a": ask[0], "A": ask[1],
            "T": T0_MS + ms, "E": T0_MS + ms, **more}  # fmt: skip
    return line_of({"stream": f"{symbol.lower()}@bookTicker", "data": data}, local_ns=local_at(ms))


def levels(rng, side, count):
    """Return levels around 100.0: bids below, asks from there on; every fourth one deletes."""
    ticks = [1000 + (rng.randint(0, 9) if side < 0 else -rng.randint(1, 10)) for _ in range(count)]
    return [[f"{tick / 10:.2f}", f"{rng.choice((0, 1, 2, 3)) * rng.randint(1, 9) / 1000:.3f}"] for tick in ticks]


def capture(messages=12, seed=0):
    """Return the lines of a capture; diffs begin before the snapshot, which stands behind a later diff."""
    rng = random.Random(seed)
    lines, last = [], 500
    for number in range(messages):
        first, before = last + rng.randint(1, 3), last
        last = first + rng.randint(0, 4)
        ms = 40 * number
        lines.append(diff(ms, first, last, before, levels(rng, 1, rng.randint(0, 3)), levels(rng, -1, 2)))
        if number == 1:
            seen = last
        if number == 2:
            deep = [[[f"{(1000 - i) / 10:.1f}", "1.000"] for i in range(1, 12)],
                    [[f"{(1000 + i) / 10:.1f}", "2.000"] for i in range(11)]]  # fmt: skip
            lines.append(snapshot(ms, seen, *deep))
        if number % 2:
            lines.append(trade(ms + 3, 900 + number, "100.0", "0.004", maker=rng.random() < 0.5, X="MARKET"))
            lines.append(ticker(ms + 4, last, ("99.9", "1.000"), ("100.0", "2.000")))
        if number % 5 == 4:
            lines.append(line_of({"result": None, "id": number}, local_ns=local_at(ms)))
    return lines


def put(path, lines, *, pack=True):
    """Write lines to a file, as gzip if so wished."""
    text = b"\n".join(lines)
    path.write_bytes(gzip.compress(text, 1) if pack else text)
    return path
