import numpy as np
import pandas as pd
import pytest

from marketmakerl.core.errors import DataFormatError, DataNotFoundError, DataQualityError, UnknownNameError
from marketmakerl.data.catalog import Catalog, parse_name, timeframe_ms, weakest_tier
from marketmakerl.data.klines import load_klines, read_klines_file

START_MS = 1_700_000_040_000


def bars(first: int, count: int, seed: int = 1) -> pd.DataFrame:
    """Bar i of one fixed series, so that overlapping files agree."""
    close = 100 + np.cumsum(np.random.default_rng(seed).normal(0, 0.1, 10_000))
    i = np.arange(first, first + count)
    frame = pd.DataFrame({"ts_ms": START_MS + 60_000 * i, "open": close[i], "close": close[i + 1], "volume": 1.0 + i})
    frame["high"] = frame[["open", "close"]].max(axis=1) + 0.05
    frame["low"] = frame[["open", "close"]].min(axis=1) - 0.05
    return frame[["ts_ms", "open", "high", "low", "close", "volume"]]


@pytest.fixture
def root(tmp_path):
    (tmp_path / "klines").mkdir()
    return tmp_path


def put(root, frame, name="binance_BTCUSDT_1m_a_b.parquet", folder="klines"):
    path = root / folder / name
    path.parent.mkdir(exist_ok=True)
    frame.to_parquet(path, index=False)
    return path


def found(root, timeframe="1m"):
    return Catalog(root).find("binance", "BTC/USDT", "klines", timeframe)


def test_overlapping_files_are_merged_whatever_their_order(root):
    put(root, bars(50, 100), "binance_BTCUSDT_1m_1.parquet")
    put(root, bars(0, 80), "binance_BTCUSDT_1m_2.parquet")
    put(root, bars(145, 20).assign(n_trades=3), "binance_BTCUSDT_1m_3.parquet", "klines_ext")
    klines = load_klines(found(root))
    pd.testing.assert_frame_equal(klines.frame, bars(0, 165))
    assert [entry["rows"] for entry in klines.provenance] == [100, 80, 20]
    assert all(len(entry["sha256"]) == 64 for entry in klines.provenance)
    assert klines.tier == "T1"


def test_files_that_disagree_are_refused(root):
    put(root, bars(0, 80), "binance_BTCUSDT_1m_1.parquet")
    wrong = bars(50, 100)
    wrong.loc[10, "high"] += 0.01
    put(root, wrong, "binance_BTCUSDT_1m_2.parquet")
    with pytest.raises(DataQualityError, match="1 bars differ between files"):
        load_klines(found(root))


def test_days_keeps_the_end(root):
    put(root, bars(0, 3 * 1440))
    klines = load_klines(found(root), days=1.5)
    assert len(klines.frame) == 2160
    assert klines.frame["ts_ms"].iloc[-1] == START_MS + 60_000 * (3 * 1440 - 1)


def test_a_bad_row_is_not_sorted_away(root):
    shuffled = bars(0, 100)
    shuffled.loc[[3, 4]] = shuffled.loc[[4, 3]].to_numpy()
    put(root, shuffled)
    with pytest.raises(DataQualityError, match=r"binance_BTCUSDT_1m.*row 4"):
        load_klines(found(root))


def test_unreadable_files(root):
    with pytest.raises(DataNotFoundError):
        read_klines_file(root / "none.parquet")
    (root / "zero.parquet").write_bytes(b"")
    (root / "text.parquet").write_text("not a parquet file at all")
    for name in ("zero", "text"):
        with pytest.raises(DataFormatError, match="not a readable Parquet file"):
            read_klines_file(root / f"{name}.parquet")
    with pytest.raises(DataFormatError, match="missing column close, volume"):
        read_klines_file(put(root, bars(0, 3).drop(columns=["close", "volume"]), "x.parquet"))
    with pytest.raises(DataFormatError, match="no rows"):
        read_klines_file(put(root, bars(0, 0), "y.parquet"))


def test_what_is_not_there_says_what_is(root):
    put(root, bars(0, 10))
    put(root, bars(0, 10), "binance_BTCUSDT_1h_a.parquet")
    catalog = Catalog(root)
    with pytest.raises(DataNotFoundError, match="TIMEFRAME=1m or 1h"):
        catalog.find("binance", "BTC/USDT", "klines", "5m")
    with pytest.raises(DataNotFoundError, match="it has BTCUSDT"):
        catalog.find("binance", "ETH/USDT", "klines", "1m")
    with pytest.raises(DataNotFoundError, match="nothing of kraken; it has binance"):
        catalog.find("kraken", "BTC/USDC", "klines", "1m")
    with pytest.raises(UnknownNameError, match="did you mean binance"):
        catalog.find("binanec", "BTC/USDT", "klines", "1m")
    with pytest.raises(UnknownNameError, match="did you mean BTC/USDT"):
        catalog.find("binance", "BTC/UDST", "klines", "1m")
    with pytest.raises(DataNotFoundError, match="no data folder"):
        Catalog(root / "nowhere")


def test_a_file_that_is_not_the_one_listed(root):
    path = put(root, bars(0, 10))
    (root / "MANIFEST.csv").write_text(f"file,sha256\nklines/{path.name},{'0' * 64}\n")
    with pytest.raises(DataFormatError, match="not the file its MANIFEST"):
        load_klines(found(root))
    (root / "MANIFEST.csv").write_text("name\nx\n")
    with pytest.raises(DataFormatError, match="manifest"):
        Catalog(root)


def test_names_and_timeframes():
    assert timeframe_ms("1m") == 60_000
    assert timeframe_ms("4h") == 14_400_000
    for text in ("", "0m", "1", "m", "-1m", "1y"):
        assert timeframe_ms(text) is None
    from pathlib import Path

    named = parse_name(Path("ftx_BTC-PERP_1m_2021-12-31_2022-02-01.parquet"), "klines")
    assert (named.exchange, named.symbol, named.timeframe) == ("ftx", "BTC-PERP", "1m")
    assert parse_name(Path("bars.parquet"), "klines") is None
    assert weakest_tier(["T1", "T2", "T1"]) == "T2"
    assert weakest_tier(["T0", "T1"]) == "T0"


def test_every_recorded_series_loads(shared_data):
    catalog = Catalog(shared_data)
    series = {(d.exchange, d.symbol, d.timeframe) for d in catalog.data_sets if d.kind == "klines"}
    assert len(series) > 40
    for exchange, symbol, timeframe in sorted(series):
        klines = load_klines(catalog.find(exchange, symbol, "klines", timeframe))
        assert len(klines.frame) > 1000
        assert not klines.quality.errors
        assert klines.frame["ts_ms"].is_monotonic_increasing
