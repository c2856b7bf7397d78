"""Crises as recorded data hold them: the facts beside them are read off the data, not remembered."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from marketmakerl.core.errors import DataNotFoundError
from marketmakerl.data.tape import Kind
from marketmakerl.validation.crises import CRISES, Crisis, facts_of, load_crisis

HOUR_MS = 3_600_000


def bars_of(closes, first_ms=0, step_ms=HOUR_MS // 2):
    closes = np.array(closes, np.float64)
    opens = np.r_[closes[0], closes[:-1]]
    return pd.DataFrame({
        "ts_ms": first_ms + step_ms * np.arange(len(closes)), "open": opens, "high": np.maximum(opens, closes),
        "low": np.minimum(opens, closes), "close": closes, "volume": 1.0,
    })  # fmt: skip


def test_facts_by_hand():
    facts = facts_of(bars_of([100.0, 110.0, 120.0, 90.0, 99.0, 130.0]))
    assert facts["peak_to_trough"] == pytest.approx(90 / 120 - 1)
    assert facts["worst_hour"] == pytest.approx(math.log(90 / 110))
    returns = [math.log(90 / 110), math.log(130 / 90)]
    assert facts["hourly_volatility"] == pytest.approx(np.std(returns, ddof=1))
    assert facts["bars"] == 6
    assert facts_of(bars_of([100.0]))["worst_hour"] is None


def crisis_of(**changes) -> Crisis:
    given = {
        "id": "made_up", "what": "nothing", "exchange": "binance", "symbol": "BTC/USDT", "timeframe": "1h",
        "first": "2024-02-10T00:00Z", "last": "2024-02-12T00:00Z", "peak_to_trough": -0.1,
    }  # fmt: skip
    return Crisis(**given | changes)


def put(root, hours, name="binance_BTCUSDT_1h_2024-02-01_2024-02-12.parquet", skip=()):
    first_ms = round(datetime(2024, 2, 1, tzinfo=UTC).timestamp() * 1000)
    frame = bars_of(50_000.0 + 10 * np.sin(np.arange(hours)), first_ms, HOUR_MS)
    (root / "klines").mkdir(exist_ok=True)
    frame.drop(index=list(skip)).to_parquet(root / "klines" / name, index=False)


def test_a_crisis_comes_with_its_warm_up_and_the_days_before(tmp_path):
    put(tmp_path, 11 * 24, skip=(120,))
    held = load_crisis(crisis_of(), tmp_path, 100)
    assert (held.tape.kind == Kind.BAR_OPEN).sum() == 48
    assert (held.warm_up.kind == Kind.BAR_OPEN).sum() == 100
    assert (held.calm.kind == Kind.BAR_OPEN).sum() == 48
    assert int(held.tape.ts_ns[0]) == round(datetime(2024, 2, 10, tzinfo=UTC).timestamp()) * 10**9
    assert int(held.warm_up.ts_ns[-1]) == int(held.tape.ts_ns[0])
    assert int(held.calm.ts_ns[-1]) == int(held.tape.ts_ns[0])
    assert held.tape.tier == "T1"
    assert held.funding is None
    assert [entry["file"] for entry in held.provenance] == ["binance_BTCUSDT_1h_2024-02-01_2024-02-12.parquet"]
    late = load_crisis(crisis_of(), tmp_path, 200)
    assert late.calm is None
    assert (late.warm_up.kind == Kind.BAR_OPEN).sum() == 200


def test_what_is_not_held_is_said(tmp_path):
    put(tmp_path, 11 * 24)
    for crisis, bars in ((crisis_of(), 250), (crisis_of(first="2025-02-10T00:00Z", last="2025-02-12T00:00Z"), 100)):
        with pytest.raises(DataNotFoundError, match="does not hold binance BTC/USDT 1h"):
            load_crisis(crisis, tmp_path, bars)
    with pytest.raises(DataNotFoundError, match="1m"):
        load_crisis(crisis_of(timeframe="1m"), tmp_path, 10)


@pytest.mark.parametrize("name", CRISES)
def test_the_data_show_what_is_said_of_a_crisis(shared_data, name):
    crisis = CRISES[name]
    held = load_crisis(crisis, shared_data, 240)
    assert held.facts["peak_to_trough"] == pytest.approx(crisis.peak_to_trough, abs=0.001)
    assert held.calm is not None
    assert held.facts["hourly_volatility"] > 0.012
    assert (held.funding is not None) == crisis.funding
    if crisis.funding:
        assert len(held.funding) == 4  # every eight hours, 16:00 to 16:00
