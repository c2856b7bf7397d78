"""What a model quotes in a world, step by step: tabulated over time and inventory where that says it all, else asked.

A cell is what one step of the kernel needs: what a fill earns, how likely it is, and what is to be counted.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from marketmakerl.core.errors import ConfigError
from marketmakerl.core.function_pointer import FunctionPointer
from marketmakerl.core.jit import njit
from marketmakerl.core.memory import address_of, copy_record, viewer
from marketmakerl.models.contract import CONTEXT, QUOTE_SIGNATURE, new_contexts, room_in
from marketmakerl.models.raised import asking, is_built_in, moment, name_of
from marketmakerl.simulation.fill_curves import reach

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from marketmakerl.models.contract import QuotingModel
    from marketmakerl.simulation.world import World

CELL = np.dtype(
    [
        ("bid_edge", "f8"),  # distance less fee; 0 for a side that is not quoted
        ("ask_edge", "f8"),
        ("bid_chance", "f8"),  # of a fill in this step; with bursts: that an order which arrives reaches the quote
        ("ask_chance", "f8"),
        ("spread", "f8"),  # between the two best quotes; 0 unless both sides are quoted
        ("tally", "i8"),  # TWO_SIDED + CLIPPED per clipped side + SIDE per quoted side, of the best level
    ],
    align=True,
)
TWO_SIDED: Final = 1
CLIPPED: Final = 1 << 21
SIDE: Final = 1 << 42
COUNT_MASK: Final = (1 << 21) - 1

NO_BOUND: Final = 1 << 40
LINEAR, POISSON, SHARE = 0, 1, 2  # how a distance becomes a chance
MAX_TABLE_BYTES: Final = 64 << 20
_TIMES: Final = 16  # of a run, at which a model is asked whether it looks at the clock
_MIDS: Final = (1.25, 0.99, 0.5)  # times s0, at which a model is asked whether it looks at the mid
_LIES: Final = "{}: it says that it reads no market (reads_market=False), and answers otherwise at another {}"
_MOST_STEPS: Final = 1 << 40  # more than a world can have
_NS_PER_S = 1e9


class Asked(NamedTuple):
    """A model that is asked at every step, and the rules that turn its answer into a cell."""

    function: Any
    params: int  # address of its float64 parameters
    n_params: int
    context: int  # address of the record that the model is called with, the thread's own
    blank: int  # of a CONTEXT record with what stays as it is
    memory_at: int  # where in the record the model's memory begins, bytes
    memory: int  # how many numbers it keeps
    period: int  # steps of a session of the model
    session_s: float
    dt_s: float
    fee: float
    size: float
    rate_dt: float
    rule: int
    bound: int
    levels: int  # of a ladder; 1 for a single quote
    level_step: float  # distance between them, price units
    shape: Any


class Tabulated(NamedTuple):
    """The cells of a whole session of the model, [steps, inventory from -reach to reach, level]."""

    cells: int  # address
    period: int
    reach: int
    levels: int
    asked: Asked  # beyond the table


at_cell = viewer(CELL)
_at_context = viewer(CONTEXT)
_at_param = viewer("f8")


@njit(inline="always")
def chance(asked: Any, distance: float) -> float:
    """Return the probability of a fill at `distance`; above 1 before it is clipped."""
    share = reach(asked.shape, distance)
    if asked.rule == LINEAR:
        return asked.rate_dt * share
    if asked.rule == POISSON:
        return -math.expm1(-asked.rate_dt * share)
    return share


@njit(inline="always")
def ask_model(asked: Any, step: int, phase: int, q: int, s: float) -> tuple[float, float]:
    """Return the (bid, ask) distances at inventory `q` and mid `s`, `phase` steps into the model's session.

    `step` counts from the start of the run. What the model writes where it should only read is gone by then.
    """
    context = _at_context(asked.context)[0]
    copy_record(context, _at_context(asked.blank)[0])
    context.ts_ns = int(step * asked.dt_s * _NS_PER_S)
    context.mid = s
    context.best_bid = s
    context.best_ask = s
    context.bids[0] = s
    context.asks[0] = s
    context.q = float(q)
    context.inventory = q * asked.size
    context.time_left_s = asked.session_s - phase * asked.dt_s
    bid, ask = asked.function(context, _at_param(asked.params)[: asked.n_params])
    if q >= asked.bound:
        bid = np.nan
    if q <= -asked.bound:
        ask = np.nan
    return bid, ask


@njit()
def forget(asked: Any) -> None:
    """Begin a path: the model remembers nothing."""
    memory = _at_param(asked.context + asked.memory_at)
    for i in range(asked.memory):
        memory[np.uint64(i)] = 0.0


@njit()
def write_cell(cell: Any, asked: Any, bid: float, ask: float, level: int) -> None:
    """Write what the two distances of a level come to; one that is not finite is no quote."""
    tally = 0
    cell.spread = 0.0
    if not np.isfinite(bid):
        cell.bid_edge = 0.0
        cell.bid_chance = 0.0
    else:
        raw = chance(asked, bid)
        cell.bid_edge = bid - asked.fee
        cell.bid_chance = min(raw, 1.0)
        tally += SIDE + (CLIPPED if raw > 1.0 else 0)
    if not np.isfinite(ask):
        cell.ask_edge = 0.0
        cell.ask_chance = 0.0
    else:
        raw = chance(asked, ask)
        cell.ask_edge = ask - asked.fee
        cell.ask_chance = min(raw, 1.0)
        tally += SIDE + (CLIPPED if raw > 1.0 else 0)
    if np.isfinite(bid) and np.isfinite(ask):
        cell.spread = bid + ask
        tally += TWO_SIDED
    cell.tally = tally if level == 0 else 0


@njit()
def write_levels(cells: int, first: int, asked: Any, q: int, bid: float, ask: float) -> None:
    """Write cells from `first` on at an address, one a level of a ladder with its best quotes at `bid` and `ask`.

    None leads past the bound.
    """
    for level in range(asked.levels):
        beyond = level * asked.level_step
        level_bid = bid + beyond if q + level < asked.bound else np.nan
        level_ask = ask + beyond if q - level > -asked.bound else np.nan
        write_cell(at_cell(cells)[np.uint64(first + level)], asked, level_bid, level_ask, level)


@njit(nogil=True)
def _ask_rows(asked: Any, s: float, first: int, later: int, offsets: Any) -> None:
    """Write the model's distances [row, inventory, side] from row `first` of its session on, `later` steps later."""
    rows, width = offsets.shape[:2]
    for row in range(rows):
        phase = first + row
        for i in range(width):
            q = i - (width - 1) // 2
            offsets[row, i, 0], offsets[row, i, 1] = ask_model(asked, phase + later, phase, q, s)


@njit(nogil=True)
def _write_rows(asked: Any, offsets: Any, cells: int) -> None:
    """Write the cells [row, inventory, level] at an address of the distances [row, inventory, side]."""
    rows, width = offsets.shape[:2]
    for row in range(rows):
        for i in range(width):
            first = (row * width + i) * asked.levels
            write_levels(cells, first, asked, i - (width - 1) // 2, offsets[row, i, 0], offsets[row, i, 1])


class Asking:
    """A model as the kernel asks it: `record` holds addresses, and this keeps alive what lies there."""

    def __init__(self, world: World, model: QuotingModel) -> None:
        check_ladder(world, model)
        self.world, self.model = world, model
        self._params = np.ascontiguousarray(model.params(), np.float64)
        self._context = new_contexts(model.context_dtype)
        self._blank = new_contexts()
        self._blank["maker_fee"] = world.fee_per_unit
        self._blank["tick_size"] = world.tick_size or 0.0
        self._blank["bid_qty"] = self._blank["ask_qty"] = world.order_size
        memory = room_in(model.context_dtype)["memory"]
        rule = SHARE if world.arrivals is not None else (LINEAR if world.fill == "linear" else POISSON)
        self.record = Asked(
            function=_by_address(model.kernel),
            params=address_of(self._params),
            n_params=len(self._params),
            context=address_of(self._context),
            blank=address_of(self._blank),
            memory_at=model.context_dtype.fields["memory"][1] if memory else 0,
            memory=memory,
            period=session_steps(world, model),
            session_s=model.session_s,
            dt_s=float(world.dt_s),
            fee=float(world.fee_per_unit),
            size=float(world.order_size),
            rate_dt=float(world.arrival_rate * world.dt_s),
            rule=rule,
            bound=NO_BOUND if world.bound is None else int(world.bound),
            levels=getattr(model, "levels", 1),
            level_step=float(getattr(model, "level_step_ticks", 1) * (world.tick_size or 0.0)),
            shape=world.fill_curve.shape(world),
        )

    def new_context(self) -> npt.NDArray[Any]:
        """Return a context record for a thread of its own; whoever uses it keeps it."""
        return self._context.copy()

    def with_context(self, context: int) -> Asked:
        """Return the record with another context record, by address."""
        return self.record._replace(context=context)

    def asking(self, context: npt.NDArray[Any], path: Callable[[], int] | None = None) -> AbstractContextManager[None]:
        """Return a context for calls of a kernel: what the model raises there comes out as a `ModelError`.

        Args:
            context: the CONTEXT record that the kernel asks with.
            path: tells which path it was at.
        """
        return asking(self.model, lambda: self._where(context[0], path))

    def _where(self, context: Any, path: Callable[[], int] | None) -> str:
        step = round(int(context["ts_ns"]) / (self.record.dt_s * _NS_PER_S))
        return f"{moment(context)}, step {step}" + (f" of path {path()}" if path else "")

    def distances(
        self, reach: int, first: int, count: int, mid: float | None = None, later: int = 0
    ) -> npt.NDArray[np.float64]:
        """Return what the model quotes, float64 [count, 2 reach + 1, 2]: bid and ask distances, NaN for none.

        Args:
            reach: inventories from -reach to reach, order sizes.
            first: row of the model's session to start with; one a step of the world.
            count: how many rows.
            mid: None for the world's s0.
            later: steps that ran before the session began.

        Raises:
            ModelError: the model raised an exception.
        """
        mid = self.world.s0 if mid is None else mid
        offsets = np.empty((count, 2 * reach + 1, 2))
        if not getattr(self.model, "is_python", False):
            with self.asking(self._context):
                _ask_rows(self.record, float(mid), first, later, offsets)
            return offsets
        model: Any = self.model
        context: Any = self.new_context().view(np.recarray)[0]
        size, dt_s, bound = self.record.size, self.record.dt_s, self.record.bound
        for row in range(count):
            phase = first + row
            for q in range(-reach, reach + 1):
                for name in CONTEXT.names or ():
                    context[name] = self._blank[name][0]
                context.mid = context.best_bid = context.best_ask = context.bids[0] = context.asks[0] = mid
                context.ts_ns = int((phase + later) * dt_s * _NS_PER_S)
                context.time_left_s = self.record.session_s - phase * dt_s
                context.q, context.inventory = q, q * size
                bid, ask = model.ask(context)
                offsets[row, q + reach] = (math.nan if q >= bound else bid, math.nan if q <= -bound else ask)
        return offsets

    def cells(self, offsets: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
        """Return the CELL of the distances, one after another: row by row, inventory by inventory, level by level."""
        rows, width = offsets.shape[:2]
        cells = np.zeros(rows * width * self.record.levels, CELL)
        _write_rows(self.record, offsets, address_of(cells))
        return cells


class Table:
    """The cells of a session of the model, or of as much of it as the world lasts."""

    def __init__(self, world: World, model: QuotingModel, reach: int) -> None:
        self._asking = Asking(world, model)
        rows = min(self._asking.record.period, world.steps)
        self._cells = self._asking.cells(self._asking.distances(reach, 0, rows))
        self.record = Tabulated(address_of(self._cells), rows, reach, self._asking.record.levels, self._asking.record)

    def new_context(self) -> npt.NDArray[Any]:
        """Return a context record for a thread of its own; whoever uses it keeps it."""
        return self._asking.new_context()

    def asking(self, context: npt.NDArray[Any], path: Callable[[], int] | None = None) -> AbstractContextManager[None]:
        """Return a context for calls of a kernel (see `Asking.asking`): beyond the table the model is asked."""
        return self._asking.asking(context, path)

    def with_context(self, context: int) -> Tabulated:
        """Return the record with another context record, by address."""
        return self.record._replace(asked=self._asking.with_context(context))


def check_ladder(world: World, model: QuotingModel) -> None:
    """Raise `ConfigError` for a ladder in a world without a tick, or one on a grid of prices."""
    if getattr(model, "grid_ticks", 1) != 1:
        raise ConfigError(f"{model.id}: grid_ticks must be 1 in a model world, whose mid is on no grid of prices")
    if getattr(model, "levels", 1) > 1 and world.tick_size is None:
        raise ConfigError(f"{model.id}: a ladder needs the world's tick_size, got None")


def _by_address(kernel: Any) -> Any:
    """Return the quote function as a plain function pointer: kernels are compiled once for all models."""
    if not hasattr(kernel, "get_compile_result"):  # NUMBA_DISABLE_JIT=1
        return kernel
    return FunctionPointer(kernel, QUOTE_SIGNATURE)


def session_steps(world: World, model: QuotingModel) -> int:
    """Return after how many steps the model's session starts again; 1 for a model without an end.

    Raises:
        ConfigError: the session is no whole number of steps.
    """
    if math.isinf(model.session_s):
        return 1
    steps = model.session_s / world.dt_s
    if steps > _MOST_STEPS:  # it never starts again
        return _MOST_STEPS
    if steps < 1.0 - 1e-9 or abs(steps - round(steps)) > 1e-6 * max(1.0, steps):
        raise ConfigError(
            f"{model.id}: horizon_s must be a whole number of the world's steps of {world.dt_s!r} s, "
            f"got {model.session_s!r}"
        )
    return round(steps)


def quotes_are_a_table(world: World, model: QuotingModel) -> bool:
    """Return whether the model's quotes in this world depend on time and inventory only; with a memory they do not.

    That is for the model to say (`reads_market`): a few answers tell nothing of the others. One that is not of this
    package is held to what it says by asking it at a few mids and times.

    Raises:
        ConfigError: the model says so, and answers otherwise.
        ModelError: it raised an exception.
    """
    if model.reads_market or model.context_dtype != CONTEXT:
        return False
    if not is_built_in(model):
        _check_blind(world, model)
    return True


def _check_blind(world: World, model: QuotingModel) -> None:
    asker = Asking(world, model)
    rows = min(asker.record.period, 8)
    here = asker.distances(8, 0, rows)
    for factor in _MIDS:
        if not np.array_equal(here, asker.distances(8, 0, rows, factor * world.s0), equal_nan=True):
            raise ConfigError(_LIES.format(name_of(model), "mid"))
    if asker.record.period >= world.steps:
        return
    later = range(world.steps, 0, -max(1, world.steps // _TIMES))
    if not all(np.array_equal(here, asker.distances(8, 0, rows, later=after), equal_nan=True) for after in later):
        raise ConfigError(_LIES.format(name_of(model), "time of the day"))


def why_no_table(model: QuotingModel) -> str:
    """Return why a model that may read the market has no table of quotes."""
    if is_built_in(model):
        return f"{model.id} reads more"
    return f"{model.id} may read more; where {name_of(model)} does not, say so with reads_market=False"
