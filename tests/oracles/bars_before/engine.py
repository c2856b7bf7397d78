"""The engine in Python's hands: state and buffers. Backtest and paper trading feed it; the step is the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from marketmakerl.backtesting.arguments import check_fees, finite_number, opening_balance, order_size, target_lots
from marketmakerl.backtesting.exchange.funding import FUNDING, funding_rows
from marketmakerl.backtesting.exchange.venue import VenueRules
from marketmakerl.backtesting.layout import FILL, ORDER, SAMPLE, new_record
from marketmakerl.backtesting.results.risk_log import halt_by_hand, notes_until, reset_by_hand, risk_events
from marketmakerl.core.errors import ConfigError
from marketmakerl.core.ledger import equity, open_ledger
from marketmakerl.core.memory import address_of
from marketmakerl.models.contract import head_of, new_contexts
from marketmakerl.models.raised import asking, moment
from marketmakerl.risk.limits import RiskLimits
from marketmakerl.risk.state import open_risk
from oracles.bars_before.records import PARAMS, STATE
from oracles.bars_before.step import act_on_halt, advance, finish

if TYPE_CHECKING:
    from marketmakerl.core.fees import Fees
    from marketmakerl.core.instrument import Instrument
    from marketmakerl.data.tape import EventTape
    from marketmakerl.models.contract import QuotingModel

BAR_VOLUME_SHARE = 0.10
# Rows of an output buffer: enough that years of bars need few refills, few enough that one live event costs nothing.
_BUFFER_ROWS = 4096
_OUTPUTS = (("n_fills", FILL), ("n_orders", ORDER), ("n_samples", SAMPLE))


class Engine:
    """One model trading one instrument, fed with events in order.

    Attributes:
        state: the engine's STATE record.
        own: ORDER[2], the resting bid and ask; order_id 0 where there is none.
    """

    def __init__(
        self,
        instrument: Instrument,
        model: QuotingModel,
        *,
        fees: Fees,
        order_qty: float,
        cash: float,
        first_price: float,
        risk: RiskLimits | None = None,
        initial_inventory: float | None = None,
        target_inventory: float | None = None,
        bar_volume_share: float = BAR_VOLUME_SHARE,
        venue: VenueRules | None = None,
        funding: Any = None,
    ) -> None:
        """Open the books; arguments as in `backtest`, and `first_price`, at which a spot budget is split.

        Raises:
            ConfigError: an argument out of range, or one that does not fit the instrument or bars: a ladder does not.
            DataError: a funding series that cannot be used.
        """
        check_fees(fees)
        rules = venue or VenueRules()
        rules.check(instrument, bars=True, funding=funding is not None)
        rates = funding_rows(funding)
        if not 0 < finite_number("bar_volume_share", bar_volume_share) <= 1:
            raise ConfigError(f"bar_volume_share must be in (0, 1], got {bar_volume_share!r}")
        _check_levels(model)
        order_lots = order_size(instrument, order_qty)
        cash, position_lots = opening_balance(instrument, cash, initial_inventory, first_price)

        self._book = np.zeros(1, STATE).view(np.recarray)
        self.state = self._book[0]
        open_ledger(self.state.ledger, instrument, cash, position_lots)
        self.state.next_order_id = 1
        self.own = np.zeros(2, ORDER).view(np.recarray)
        params = new_record(PARAMS)
        params.tick_size = instrument.tick_size
        params.lot_size = instrument.lot_size
        params.contract_size = instrument.contract_size
        params.inverse = int(instrument.kind == "inverse")
        params.spot = int(instrument.kind == "spot")
        params.min_notional = instrument.min_notional
        params.order_lots = order_lots
        params.target_lots = target_lots(instrument, target_inventory, position_lots)
        params.session_s = model.session_s
        params.bar_volume_share = bar_volume_share
        rules.write(params, self.state, fees)
        params.funding_rows = len(rates)
        self._funding = rates if len(rates) else np.zeros(1, FUNDING)
        params.funding_at = address_of(self._funding)
        limits = (risk or RiskLimits()).record(learns=False)
        open_risk(self.state.risk, limits)
        self._overrides: dict[int, str] = {}
        self._model = model
        self._inputs = (
            self.own,
            params,
            limits,
            head_of(new_contexts(model.context_dtype)),
            model.kernel,
            model.params(),
        )
        self._buffers = [np.zeros(_BUFFER_ROWS, dtype).view(np.recarray) for _, dtype in _OUTPUTS]
        self._kept: list[list[Any]] = [[], [], []]

    def feed(self, events: EventTape) -> None:
        """Step through `events`, which follow those fed before."""
        if len(events) == 0:
            return
        columns = [np.asarray(column) for column in (events.ts_ns, events.price_ticks, events.qty_lots, events.kind)]
        self.state.row = 0
        done = False
        while not done:
            with asking(self._model, lambda: moment(self._inputs[3])):
                done = advance(self.state, *self._inputs, *self._buffers, *columns)
            self._empty()
        self.state.row = 0

    def snapshot(self) -> bytes:
        """Return the whole state; fills, orders and samples written so far are not part of it."""
        return self._book.tobytes() + self.own.tobytes()

    def restore(self, snapshot: bytes) -> None:
        """Go on from a snapshot of an engine that was opened alike."""
        cut = self._book.nbytes
        self._book[:] = np.frombuffer(snapshot[:cut], STATE)
        self.own[:] = np.frombuffer(snapshot[cut:], ORDER)
        self._overrides = notes_until(self.state.risk, self._overrides)

    def finish(self) -> None:
        """End the session: what still rests expires."""
        finish(self.state, self.own, self._buffers[1], int(self.state.last_ns))
        self._empty()

    def _empty(self) -> None:
        for (counter, _), buffer, chunks in zip(_OUTPUTS, self._buffers, self._kept, strict=True):
            used = int(getattr(self.state, counter))
            if used:
                chunks.append(np.array(buffer[:used]))
                setattr(self.state, counter, 0)

    def halt(self, who: str, why: str) -> None:
        """Halt from outside: everything is cancelled and liquidated, at the last mark.

        Raises:
            ConfigError: nobody, or no reason, is named.
        """
        number = int(self.state.risk.n_logged)
        note = halt_by_hand(self.state.risk, int(self.state.last_ns), who, why)
        if int(self.state.risk.n_logged) > number:
            self._overrides[number] = note
        own, params, risk = self._inputs[:3]
        fills, orders, samples = self._buffers
        act_on_halt(self.state, own, params, risk, fills, orders, samples, int(self.state.last_ns))
        self._empty()

    def reset(self, who: str, why: str) -> None:
        """Set the breakers back to ACTIVE; drawdown and daily loss count from now.

        Raises:
            ConfigError: nobody, or no reason, is named; the venue itself has closed the account.
        """
        number = int(self.state.risk.n_logged)
        now = equity(self.state.ledger)
        closed = bool(self.state.venue.liquidated)
        self._overrides[number] = reset_by_hand(self.state.risk, int(self.state.last_ns), now, who, why, closed=closed)

    def risk_events(self) -> list[dict[str, Any]]:
        """Return what the controls did, in order (see `risk_log.risk_events`)."""
        return risk_events(self.state.risk, self._overrides)

    def fills(self, first: int = 0) -> Any:
        """Return FILL[n]: the fills from the `first`-th on."""
        return self._rows(0)[first:]

    def orders(self) -> Any:
        """Return ORDER[n]: the orders that have ended, in the order they did."""
        return self._rows(1)

    def samples(self) -> Any:
        """Return SAMPLE[n]: equity at the start and at every decision."""
        return self._rows(2)

    def _rows(self, output: int) -> Any:
        chunks = self._kept[output]
        if len(chunks) > 1:
            chunks[:] = [np.concatenate(chunks)]
        return chunks[0] if chunks else np.zeros(0, _OUTPUTS[output][1])


def _check_levels(model: QuotingModel) -> None:
    """Refuse what bars would quote otherwise than asked: they hold one order a side, on the tick."""
    for name in ("levels", "grid_ticks"):
        value = getattr(model, name, 1)
        if value != 1:
            raise ConfigError(
                f"bars and paper trading quote one level a side, on every tick; {model.id} asks for {name}={value!r}: "
                "run it on ticks (book and trades), or use the model without its ladder"
            )
