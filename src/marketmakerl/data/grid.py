"""Decimal prices and quantities of recorded data as whole ticks and whole lots, or an error that names the row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from marketmakerl.core.errors import DataFormatError, DataQualityError

if TYPE_CHECKING:
    import numpy.typing as npt

    from marketmakerl.core.instrument import Instrument

# What the engine's integers have room for; an exclusive bound.
MAX_PRICE_TICKS: Final = 2**40
MAX_QTY_LOTS: Final = 2**46
# In steps. A decimal this close to the grid is on it; further off it is another instrument's.
GRID_EPS: Final = 1e-6
# The division of two decimals is off by up to two rounding errors each, and large counts feel it.
REL_EPS: Final = 4 * 2.0**-52


def to_ticks(prices: npt.NDArray[np.float64], instrument: Instrument, what: str) -> npt.NDArray[np.int64]:
    """Return prices (quote currency) as ticks.

    Args:
        prices: any decimals on the instrument's tick.
        instrument: the tick.
        what: names the rows in errors, e.g. "book.parquet: price of book".

    Raises:
        DataQualityError: NaN, infinity, zero or less.
        DataFormatError: more than 1e-6 tick off the grid, or 2**40 ticks and more.
    """
    _refuse(~(np.isfinite(prices) & (prices > 0)), prices, what, "is no price")
    ticks, off = _steps(prices, instrument.tick_size)
    hint = (
        f"is not on the tick {instrument.tick_size:.10g} of {instrument.symbol}; is this its instrument, and its day?"
    )
    _refuse_format(off, prices, what, hint)
    _refuse_format(ticks >= MAX_PRICE_TICKS, prices, what, f"is 2**40 ticks of {instrument.symbol} or more")
    return ticks.astype(np.int64)


def to_lots(
    qtys: npt.NDArray[np.float64], instrument: Instrument, what: str, *, off_lot_share: float = 0.0
) -> tuple[npt.NDArray[np.int64], int]:
    """Return quantities as lots, and how many of them were not whole lots and were rounded up.

    Args:
        qtys: base units or contracts, zero allowed.
        instrument: the lot.
        what: names the rows in errors.
        off_lot_share: so many of all rows may lie off the grid, as a fraction. A venue that made its lot coarser keeps
            the orders of before, so that a few levels of its book hold odd amounts. They are rounded up: a queue is
            never made shorter than it was, and a level never vanishes.

    Raises:
        DataQualityError: NaN, infinity, negative.
        DataFormatError: off the grid by more than 1e-6 lot in more rows than allowed, or 2**46 lots and more.
    """
    _refuse(~(np.isfinite(qtys) & (qtys >= 0)), qtys, what, "is no quantity")
    lots, off = _steps(qtys, instrument.lot_size)
    odd = int(off.sum())
    if odd > off_lot_share * len(qtys):
        lot = f"the lot {instrument.lot_size:.10g} of {instrument.symbol}"
        hint = f"is not a multiple of {lot} ({odd} such rows of {len(qtys)}); is this its instrument, and its day?"
        _refuse_format(off, qtys, what, hint)
    if odd:
        lots = np.where(off, np.ceil(qtys / instrument.lot_size), lots)
    _refuse_format(lots >= MAX_QTY_LOTS, qtys, what, f"is 2**46 lots of {instrument.symbol} or more")
    return lots.astype(np.int64), odd


def _steps(values: npt.NDArray[np.float64], step: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Return the nearest whole numbers of steps, and where they are not the values."""
    exact = values / step
    nearest = np.rint(exact)
    return nearest, np.abs(exact - nearest) > GRID_EPS + REL_EPS * exact


def _first(bad: npt.NDArray[np.bool_], values: npt.NDArray[np.float64], what: str, why: str) -> str:
    row = int(np.argmax(bad))
    return f"{what}, row {row}: {float(values[row])!r} {why}"


def _refuse(bad: npt.NDArray[np.bool_], values: npt.NDArray[np.float64], what: str, why: str) -> None:
    if bad.any():
        raise DataQualityError(_first(bad, values, what, why))


def _refuse_format(bad: npt.NDArray[np.bool_], values: npt.NDArray[np.float64], what: str, why: str) -> None:
    if bad.any():
        raise DataFormatError(_first(bad, values, what, why))
