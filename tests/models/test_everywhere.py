"""One formula everywhere: from Python, as a compiled function, on bars, on ticks and on paper."""

import math

import numpy as np
import pytest

import marketmakerl as mml
from marketmakerl import GLFT, AvellanedaStoikov, CarteaJaimungal, QuoteContext, Skewed
from marketmakerl.backtesting.engine import Engine
from marketmakerl.data.bars import compile_bars
from marketmakerl.models.contract import new_context
from recorded import bars_of
from tick_tapes import make_tape

LINEAR = mml.Instrument("BTC/USDT:USDT", tick_size=0.1, lot_size=0.001, kind="linear")
TERMS = {"fees": mml.Fees(0, 0), "order_qty": 0.01, "cash": 1e7, "risk": mml.RiskLimits.off()}


def models(scale):
    """Return one of each kind whose distances are about `scale`."""
    k = 1.0 / scale
    shared = {"gamma": 0.02 * k, "k": k, "sigma": 0.3 * scale, "arrival_rate": 0.5}
    return [
        AvellanedaStoikov(0.001 * k, k, 0.3 * scale, 90.0),
        AvellanedaStoikov(0.001 * k, k, 0.3 * scale, 90.0, rolling=True),
        GLFT(**shared, q_max=12),
        GLFT(**shared, q_max=12, variant="closed_form", adverse_move=0.1 * scale),
        GLFT(**shared, q_max=12, variant="exact", horizon_s=90.0, fee_per_unit=0.1 * scale),
        CarteaJaimungal(k, 0.5, 0.01 * scale, 0.02 * scale, 90.0, 12),
        Skewed(GLFT(**shared, q_max=12), "imbalance", 0.3 * scale),
        Skewed(CarteaJaimungal(k, 0.5, 0.01 * scale, 0.02 * scale, 90.0, 12), "microprice", 1.0),
    ]


def named(index):
    return f"{index}-{models(1.0)[index].id}"


EACH = pytest.mark.parametrize("index", range(len(models(1.0))), ids=named)


@EACH
def test_python_and_the_compiled_function(index):
    model = models(1.0)[index]
    params, record = model.params(), new_context()
    for q in (-12.0, -3.0, 0.0, 0.4, 7.0, 13.0):
        for left in (0.0, 31.0, 90.0):
            record.q, record.time_left_s = q, left
            direct = model.kernel(record, params)
            assert model.offsets(q, left) == pytest.approx(direct, nan_ok=True, rel=0)
            quote = model.quote(QuoteContext(100.0, q, left))
            for price, sign, offset in ((quote.bid, -1, direct[0]), (quote.ask, 1, direct[1])):
                assert price is None if math.isnan(offset) else price == 100.0 + sign * offset


@EACH
def test_on_bars(index):
    """Every decision of the bar engine, told again from Python."""
    model, frame = models(40.0)[index], bars_of(150)
    tape = compile_bars(frame, LINEAR, interval_ms=60_000, tier="T2")
    engine = Engine(LINEAR, model, bars=True, first_price=float(frame["close"].iloc[0]), **TERMS)
    seen = 0
    for first in range(0, len(tape), 4):  # open, low, high, close
        engine.feed(tape.slice_rows(first, first + 4))
        elapsed_s = (int(tape.ts_ns[first + 3]) - int(engine.state.first_ns)) / 1e9
        session = model.session_s
        left = math.inf if math.isinf(session) else session - elapsed_s % session
        context = QuoteContext(
            float(engine.state.ledger.mark), float(engine.state.ledger.position_lots) / 10, left, LINEAR.tick_size
        )  # fmt: skip
        quote = model.quote(context)
        held = [next((order.price_ticks for order in engine.working(side)), None) for side in range(2)]
        for side, (price, ticks) in enumerate(zip((quote.bid, quote.ask), held, strict=True)):
            wanted = None if price is None else round(price / 0.1)
            if wanted is not None:  # a passive order stays a tick off the mid
                mark = round(context.mid / 0.1)
                wanted = min(wanted, mark - 1) if side == 0 else max(wanted, mark + 1)
            assert ticks == wanted
            seen += 1
    assert seen == 300
    assert len(engine.fills()) > 20


@EACH
def test_on_ticks(index):
    """The tick engine asks the compiled model what Python answers for the same context."""
    model, tape = models(1.0)[index], make_tape(seconds=20)
    asked = []

    def listening(context):
        asked.append(context.copy())
        bid, ask = model.distances(context)
        return (None if math.isnan(bid) else bid), (None if math.isnan(ask) else ask)

    compiled = mml.backtest(tape, model, **TERMS)
    horizon_s = None if math.isinf(model.session_s) else model.session_s
    python = mml.backtest(tape, mml.CustomModel(listening, horizon_s=horizon_s), **TERMS)
    assert compiled.metrics.fills > 20
    assert python.fills.equals(compiled.fills)
    assert len(asked) > 100
    if isinstance(model, Skewed):
        assert len({float(context.best_bid_qty) for context in asked}) > 10


def test_a_rolling_horizon_never_ends():
    ending = AvellanedaStoikov(0.1, 1.5, 2.0, 60.0)
    rolling = AvellanedaStoikov(0.1, 1.5, 2.0, 60.0, rolling=True)
    assert rolling.session_s == math.inf
    for left in (0.0, 30.0, None):
        assert rolling.offsets(3.0, left) == ending.offsets(3.0)
    with pytest.raises(mml.MarketMakerLError, match="needs a horizon_s"):
        AvellanedaStoikov(0.1, 1.5, 2.0, None, rolling=True)
    with pytest.raises(mml.MarketMakerLError, match="rolling must be"):
        AvellanedaStoikov(0.1, 1.5, 2.0, 60.0, rolling=2)
    assert np.isfinite(rolling.offsets(0.0)).all()
