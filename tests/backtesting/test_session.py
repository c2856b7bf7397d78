"""A session: what the bars before it decide, and how its settings change what is quoted."""

from dataclasses import replace

import pytest

from marketmakerl import EventTape, Instrument
from marketmakerl.backtesting.session import Session, last_bars, set_up, split_warm_up
from marketmakerl.backtesting.trading import trade
from marketmakerl.core.errors import DataQualityError
from marketmakerl.core.fees import Fees
from marketmakerl.data.tape import Kind
from marketmakerl.models.bar_calibration import estimate_from_bars
from marketmakerl.models.registry import MODEL_IDS
from recorded import bars_of

INSTRUMENT = Instrument("BTC/USDT:USDT", tick_size=0.1, lot_size=0.001, kind="linear", min_notional=5.0)
SESSION = Session(fees=Fees(0, 5), warmup_bars=60)


@pytest.fixture(scope="module")
def tape():
    return EventTape.from_klines(bars_of(300), INSTRUMENT)


def bars_in(tape: EventTape) -> int:
    return int((tape.kind == Kind.BAR_OPEN).sum())


def at_50_000(session, warm_up):
    return set_up(session, warm_up.instrument, 50_000.0, estimate_from_bars(warm_up))


def test_the_warm_up_and_the_rest_are_the_whole(tape):
    warm_up, rest = split_warm_up(tape, 60)
    assert (bars_in(warm_up), bars_in(rest)) == (60, 240)
    assert len(warm_up) + len(rest) == len(tape)
    assert warm_up.ts_ns[-1] <= rest.ts_ns[0]
    with pytest.raises(DataQualityError, match="300 bars are not enough"):
        split_warm_up(tape, 300)
    with pytest.raises(DataQualityError, match=r"^1 bar is not enough"):
        split_warm_up(warm_up.slice_rows(0, len(warm_up) // 60), 240)


def test_the_last_bars_are_the_last(tape):
    end = last_bars(tape, 60)
    assert bars_in(end) == 60
    assert end.ts_ns[-1] == tape.ts_ns[-1]
    assert bars_in(last_bars(tape, 300)) == bars_in(last_bars(tape, 301)) == 300


@pytest.mark.parametrize("model", MODEL_IDS)
def test_distances_grow_with_the_spread_scale(tape, model):
    session = replace(SESSION, model=model)
    near, far = (sum(at_50_000(replace(session, spread_scale=scale), tape).model.offsets(0.0)) for scale in (1.0, 4.0))
    assert far / near == pytest.approx(4.0, rel=0.2)


def test_only_the_warm_up_sets_the_parameters(tape):
    warm_up, rest = split_warm_up(tape, 60)
    _, parameters = trade(SESSION, rest, warm_up=warm_up)
    _, fewer = trade(SESSION, rest.slice_rows(0, len(rest) // 2), warm_up=warm_up)
    assert parameters == fewer
    assert parameters["estimate"] == estimate_from_bars(warm_up).as_dict()
    _, other = trade(SESSION, rest, warm_up=last_bars(tape, 60))
    assert other["estimate"] != parameters["estimate"]


def test_an_order_is_a_share_of_the_budget(tape):
    small, large = (at_50_000(replace(SESSION, budget=budget), tape) for budget in (10_000.0, 100_000.0))
    assert small.order_qty == pytest.approx(0.004)
    assert large.order_qty == pytest.approx(0.040)
    assert at_50_000(replace(SESSION, budget=10.0), tape).order_qty == INSTRUMENT.lot_size
