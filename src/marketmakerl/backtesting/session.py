"""A trading session: how a stretch of data is traded, and what it starts with. `trading.trade` runs one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from marketmakerl.backtesting.arguments import BAR_VOLUME_SHARE
from marketmakerl.core.errors import ConfigError, DataQualityError
from marketmakerl.data.tape import EventTape, Kind
from marketmakerl.models.bar_calibration import MIN_BARS, BarEstimate
from marketmakerl.models.own_file import check_unchanged, is_own, pinned, record_of
from marketmakerl.models.registry import DEFAULT_HORIZON_S, DEFAULT_INVENTORY_RANGE, calibrated_model
from marketmakerl.risk.limits import limits_from

if TYPE_CHECKING:
    from collections.abc import Mapping

    from marketmakerl.core.fees import Fees
    from marketmakerl.core.instrument import Instrument
    from marketmakerl.models.contract import QuotingModel
    from marketmakerl.risk.limits import RiskLimits


@dataclass(frozen=True, kw_only=True)
class Session:
    """How a stretch of data is traded.

    Attributes:
        model: model id, or a model of one's own, path.py:name (see `models.own_file`).
        model_params: parameters of the model that are fixed instead of calibrated.
        budget: opening equity, quote currency.
        order_share: size of a quote as a share of the budget.
        fees: maker and taker rates.
        horizon_s: session length of the model, seconds.
        inventory_range: order sizes at which the model leans by a whole 1/k.
        warmup_bars: bars that set the model's parameters and are not traded.
        bar_volume_share: how much of a bar's volume our orders can get.
        spread_scale: factor on the distance 1/k that the bars suggest; every model's distances grow with it.
        calibration: file of a calibration that sets the parameters instead of a warm-up; "" for none.
        limits: arguments of `RiskLimits` that differ from its defaults.
    """

    fees: Fees
    model: str = "avellaneda_stoikov"
    model_params: dict[str, float | str] = field(default_factory=dict)
    budget: float = 10_000.0
    order_share: float = 0.02
    horizon_s: float = DEFAULT_HORIZON_S
    inventory_range: float = DEFAULT_INVENTORY_RANGE
    warmup_bars: int = 240
    bar_volume_share: float = BAR_VOLUME_SHARE
    spread_scale: float = 1.0
    calibration: str = ""
    limits: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", pinned(self.model))

    def risk(self, calibration: Mapping[str, Any] | None = None) -> RiskLimits:
        """Return the limits; adverse selection as a calibration measured it (see `given_estimate`), unless it is set.

        Raises:
            ConfigError: a limit that there is none of, or one out of range.
        """
        limits = limits_from(self.limits)
        measured = (calibration or {}).get("adverse_move_bps")
        if measured is None or "adverse_selection_bps" in self.limits or not limits.learn_adverse_selection:
            return limits
        return replace(limits, adverse_selection_bps=measured)

    def check(self) -> None:
        """Raise `ConfigError` for a setting out of range, `UnknownNameError` for an unknown model or parameter."""
        check_unchanged(self.model)
        # Any estimate will do: what is asked is whether the fixed parameters are known and in range.
        calibrated_model(self.model, BarEstimate(sigma=1.0, k=1.0, arrival_rate=1.0, bars=0), fixed=self.model_params)
        self.risk()
        for name in ("budget", "horizon_s", "inventory_range", "spread_scale"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ConfigError(f"{name} must be a finite number > 0, got {getattr(self, name)!r}")
        for name in ("order_share", "bar_volume_share"):
            if not 0 < getattr(self, name) <= 1:
                raise ConfigError(f"{name} must be in (0, 1], got {getattr(self, name)!r}")
        if self.warmup_bars <= MIN_BARS:
            raise ConfigError(f"warmup_bars must be above {MIN_BARS} to estimate volatility, got {self.warmup_bars}")


@dataclass(frozen=True)
class Prepared:
    """What a session starts with: the calibrated model, the size of a quote, the opening balance.

    Attributes:
        model: the model, its parameters set by the warm-up.
        order_qty: size of a quote, in units of quantity.
        cash: opening balance, settlement currency.
        parameters: the same for the record, JSON-ready: model, order_qty, estimate (before `spread_scale`).
        session, estimate: what the model is made of. A worker process is sent these alone of a model of one's own,
            and has `new_model` for `model`.
    """

    model: QuotingModel
    order_qty: float
    cash: float
    parameters: dict[str, Any]
    session: Session
    estimate: BarEstimate

    def new_model(self) -> QuotingModel:
        """Return the model; one's own made anew, for it may remember what an earlier run has shown it."""
        return model_of_session(self.session, self.estimate) if is_own(self.session.model) else self.model

    def __getstate__(self) -> dict[str, Any]:
        # The code of a model of one's own does not travel: `new_model` loads it where it arrives.
        return {**vars(self), "model": None} if is_own(self.session.model) else dict(vars(self))


def model_of_session(session: Session, estimate: BarEstimate) -> QuotingModel:
    """Return the model of a session, its parameters set by an estimate."""
    return calibrated_model(
        session.model,
        replace(estimate, k=estimate.k / session.spread_scale),
        horizon_s=session.horizon_s,
        inventory_range=session.inventory_range,
        fixed=session.model_params,
    )


def set_up(session: Session, instrument: Instrument, price: float, estimate: BarEstimate | None) -> Prepared:
    """Return what a session starts with at a price; None as estimate where every parameter of the model is fixed."""
    used = estimate or BarEstimate(sigma=1.0, k=1.0, arrival_rate=1.0, bars=0)
    model = model_of_session(session, used)
    order_qty, cash = sized(session, instrument, price)
    parameters = {
        "model": record_of(session.model, model),
        "order_qty": order_qty,
        "estimate": estimate.as_dict() if estimate else None,
    }
    return Prepared(model, order_qty, cash, parameters, session, used)


def sized(session: Session, instrument: Instrument, price: float) -> tuple[float, float]:
    """Return the size of a quote (units of quantity) and the opening balance (settlement currency) at a price."""
    # A quote is worth a share of the budget, in whole lots; an inverse contract counts in quote currency already.
    unit = instrument.contract_size * (1.0 if instrument.kind == "inverse" else price)
    order_qty = instrument.qty(max(1, instrument.lots(session.budget * session.order_share / unit)))
    return order_qty, session.budget / price if instrument.kind == "inverse" else session.budget


def split_warm_up(tape: EventTape, warmup_bars: int) -> tuple[EventTape, EventTape]:
    """Cut a tape after its first `warmup_bars` bars.

    Raises:
        DataQualityError: there are not more bars than that.
    """
    opens = (tape.kind == Kind.BAR_OPEN).nonzero()[0]
    if len(opens) <= warmup_bars:
        bars = "1 bar is" if len(opens) == 1 else f"{len(opens)} bars are"
        raise DataQualityError(
            f"{bars} not enough: the first {warmup_bars} set the model's parameters and are not traded; "
            "use fewer runs, more days, or a smaller --warmup-bars"
        )
    cut = int(opens[warmup_bars])
    return tape.slice_rows(0, cut), tape.slice_rows(cut, len(tape))


def last_bars(tape: EventTape, bars: int) -> EventTape:
    """Return the last `bars` bars of a tape, or all of it if it has no more than that."""
    opens = (tape.kind == Kind.BAR_OPEN).nonzero()[0]
    return tape.slice_rows(int(opens[-bars]), len(tape)) if len(opens) > bars else tape
