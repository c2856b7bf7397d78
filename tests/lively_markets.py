"""Random tapes of single rows around the best prices: most change only a quantity, some a price, some fill."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import numpy as np

import marketmakerl as mml
from marketmakerl.data.tape import MORE, Kind

MS = 1_000_000
MIDNIGHT = 1_700_006_400_000_000_000  # 2023-11-15
LINEAR = mml.Instrument("BTC/USDT:USDT", tick_size=0.5, lot_size=0.25, kind="linear")
SPOT = mml.Instrument("BTC/USDT", tick_size=0.5, lot_size=0.25, kind="spot")
CENTRE = 1000  # ticks
SIDES = (Kind.DEPTH_BID, Kind.DEPTH_ASK)
TRADES = (Kind.TRADE_SELL, Kind.TRADE_BUY)


class _Book:
    """Draws rows; at times (never twice in a row) both sides meet, one is empty, or the feed loses its place."""

    def __init__(self, seed: int, *, gaps: bool, ties: bool, drift: float) -> None:
        self.rng, self.gaps, self.ties, self.drift = random.Random(seed), gaps, ties, drift
        self.levels: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self.centre = CENTRE
        self.ts = self.local = MIDNIGHT - 2_000 * MS
        self.rows: list[tuple[int, int, int, int, int]] = []

    def put(self, rows: list[tuple[int, int, int]]) -> None:
        late = self.rng.choice((0, MS, MS, 3 * MS, 40 * MS)) if self.ties else self.rng.randrange(30 * MS)
        self.local = max(self.local, self.ts + late)
        for i, (price, lots, kind) in enumerate(rows):
            self.rows.append((self.ts, self.local, price, lots, int(kind) | (int(MORE) if i + 1 < len(rows) else 0)))

    def set(self, side: int, price: int, lots: int) -> tuple[int, int, int]:
        self.levels[side].pop(price, None)
        if lots:
            self.levels[side][price] = lots
        return price, lots, int(SIDES[side])

    def best(self, side: int) -> int:
        return (max, min)[side](self.levels[side], default=self.centre + side)

    def snapshot(self) -> None:
        rng = self.rng
        for side, levels in enumerate(self.levels):
            levels.clear()
            for k in range(6):
                levels[self.centre - k if side == 0 else self.centre + 1 + k] = rng.randint(1, 9)
        named = [(price, lots, int(SIDES[side])) for side in (0, 1) for price, lots in self.levels[side].items()]
        self.put([(0, 0, int(Kind.SNAPSHOT)), *named])

    def change(self) -> list[tuple[int, int, int]]:
        """Return the rows of one change of the book: mostly one."""
        rng, side = self.rng, self.rng.randrange(2)
        best, away = self.best(side), rng.choice((0, 0, 0, 0, 1, 2, 5))
        sign = -1 if side == 0 else 1
        draw = rng.random()
        if draw < 0.12:
            return [self.set(side, best, 0)]
        if draw < 0.2:  # better than the best, where there is room
            inside = best - sign
            if (side == 0 and inside >= self.best(1)) or (side == 1 and inside <= self.best(0)):
                return [self.set(side, best, rng.randint(1, 9))]
            return [self.set(side, inside, rng.randint(1, 9))]
        return [
            self.set(side, max(1, best + sign * away), rng.choice((0, 1, 2, 3, 5, 9)) if away else rng.randint(1, 9))
        ]

    def message(self) -> None:
        rng, draw = self.rng, self.rng.random()
        if self.gaps and draw < 0.01:
            self.put([(0, 0, int(Kind.GAP))])
        elif draw < 0.02 or min(map(len, self.levels)) < 2:
            self.centre = max(60, self.centre + rng.randint(-2, 2) + round(self.drift))
            self.snapshot()
        elif draw < 0.12:
            side = rng.randrange(2)
            reach = rng.choice((0, 0, 0, 1, 2)) * (-1 if side == 0 else 1)
            self.put([(max(1, self.best(side) + reach), rng.randint(1, 9), int(TRADES[side]))])
        else:
            self.put([row for _ in range(rng.choice((1, 1, 1, 1, 1, 2, 3))) for row in self.change()])

    def draw(self, messages: int) -> list[tuple[int, int, int, int, int]]:
        self.snapshot()
        for _ in range(messages):
            self.ts += self.rng.choice((0, MS, MS, 5 * MS, 30 * MS)) if self.ties else self.rng.randrange(20 * MS)
            self.message()
        return self.rows


def lively(
    seed: int,
    messages: int = 400,
    *,
    instrument: mml.Instrument = LINEAR,
    gaps: bool = False,
    ties: bool = False,
    drift: float = 0.0,
    shift_ns: int = 0,
) -> mml.EventTape:
    """Return a tape of so many messages from two seconds before a UTC midnight on, about 10 ms apart."""
    rows = _Book(seed, gaps=gaps, ties=ties, drift=drift).draw(messages)
    columns: list[Any] = [np.array(column, np.int64) for column in zip(*rows, strict=True)]
    meta = {"clock": "ticks", "tier": "T2", "source": "test"}
    tape = mml.EventTape(instrument, *columns[:4], columns[4].astype(np.int8), meta=meta)
    return replace(tape, ts_ns=tape.ts_ns + shift_ns, local_ts_ns=tape.local_ts_ns + shift_ns)
