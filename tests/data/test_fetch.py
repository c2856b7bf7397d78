"""Fetching into the catalog: names, schemas, tiers, merging, and nothing half-written."""

# ruff: noqa: ARG002  (a fake takes what the real one takes)

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from marketmakerl.core.clock import NS_PER_MS, ManualClock
from marketmakerl.core.errors import (
    ConfigError,
    DataFormatError,
    DataNotFoundError,
    DataQualityError,
    ExchangeUnreachableError,
    UnknownNameError,
)
from marketmakerl.data.catalog import TIER_KEY, Catalog
from marketmakerl.data.fetch import BOOK_COLUMNS, WHAT, fetch
from marketmakerl.data.klines import load_klines
from marketmakerl.data.market import MarketRequest, load_market
from marketmakerl.data.public_answers import KLINE_COLUMNS, TRADE_COLUMNS, TradeRow, trades_frame
from marketmakerl.data.real_market_data import OrderBook, PublicClient
from marketmakerl.data.synthetic import START_MS
from marketmakerl.realtime.exchange_sim import ExchangeSim, Faults

MINUTE_MS = 60_000
DAY_MS = 86_400_000
T0 = START_MS


@pytest.fixture
def sim():
    with ExchangeSim.embedded(3, history_bars=1440) as running:
        yield running


@pytest.fixture
def client(sim):
    with PublicClient("sim", base_url=sim.base_url, clock=sim.clock) as made:
        yield made


class FakeVenue:
    """A public client that has bars and trades by time, without a network."""

    def __init__(self, now_ms, *, tier="T1", name="binance", ids=True):
        self.id, self.tier, self.now_ms, self.ids = name, tier, now_ms, ids
        self.price = 100.0
        self.seq = 1
        self.first_trade, self.last_trade = 1, 10

    def market(self, symbol):
        return {"symbol": "BTC/USDT", "id": "BTCUSDT"}

    def server_time_ms(self):
        return self.now_ms

    def klines(self, symbol, timeframe, since_ms, until_ms=None, progress=None):
        ts_ms = np.arange(since_ms, until_ms, MINUTE_MS)
        flat = np.full(len(ts_ms), self.price)
        return pd.DataFrame(dict(zip(KLINE_COLUMNS, (ts_ms, flat, flat, flat, flat, flat), strict=True)))

    def order_book(self, symbol, limit):
        return OrderBook(np.array([[99.0, 1.0]]), np.array([[101.0, 2.0]]), -1, self.now_ms * NS_PER_MS, self.seq)

    def trades(self, symbol, limit):
        return trades_frame([
            TradeRow(T0 + n * 1000, self.price, 1.0, 1, n if self.ids else -1)
            for n in range(self.first_trade, self.last_trade + 1)
        ])  # fmt: skip


def klines_of(root, exchange="binance"):
    return load_klines(Catalog(root).find(exchange, "BTC/USDT", "klines", "1m"))


def files_of(root):
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def test_everything_lands_in_the_catalog(client, tmp_path):
    told = []
    files = fetch("sim", "BTC/USDT", "1m", 1, tmp_path, client=client, progress=lambda *line: told.append(line))
    names = [path.relative_to(tmp_path).as_posix() for path in files]
    assert names == [
        "real/klines/sim_BTCUSDT_1m_2024-01-01_2024-01-01.parquet",
        "real/book/sim_BTCUSDT_2024-01-02T0000_l2snap100.parquet",
        "real/trades/sim_BTCUSDT_2024-01-01T2344_trades.parquet",
    ]
    assert {line[0] for line in told} == set(WHAT)
    for path in files:
        assert pq.read_metadata(path).metadata[TIER_KEY] == b"T2"
        assert pq.ParquetFile(path).metadata.row_group(0).column(0).compression == "ZSTD"
    kinds = {d.kind: d for d in Catalog(tmp_path).data_sets}
    assert set(kinds) == {"klines", "book", "trades"}
    assert {d.tier for d in kinds.values()} == {"T2"}
    market = load_market(MarketRequest("sim", "BTC/USDT", data=tmp_path))
    assert market.tape.tier == "T2"
    assert market.quality.rows == 1440


@pytest.mark.parametrize(
    ("kind", "columns"), [("klines", KLINE_COLUMNS), ("book", BOOK_COLUMNS), ("trades", TRADE_COLUMNS)]
)
def test_the_schema_is_that_of_the_recorded_data(client, tmp_path, shared_data, kind, columns):
    recorded = next(p for p in sorted((shared_data / kind).glob("*.parquet")) if kind != "book" or "snap" in p.name)
    what = "order_book" if kind == "book" else kind
    (path,) = fetch("sim", "BTC/USDT", "1m", 1, tmp_path, what=[what], client=client)
    ours, theirs = (pq.read_schema(p).remove_metadata() for p in (path, recorded))
    assert tuple(ours.names) == columns
    assert ours.equals(theirs)


def test_a_book_is_one_whole_snapshot(client, tmp_path):
    (path,) = fetch("sim", "BTC/USDT", "1m", 1, tmp_path, what=["order_book"], client=client)
    rows = pd.read_parquet(path)
    assert rows["is_snapshot"].all()
    assert len(set(rows["seq"])) == 1
    assert (rows["seq"] == rows["first_seq"]).all()
    assert rows.groupby("side").size().to_dict() == {-1: 100, 1: 100}
    assert rows.loc[rows["side"] == 1, "price"].max() < rows.loc[rows["side"] == -1, "price"].min()


def test_the_same_venue_at_the_same_time_gives_the_same_bytes(tmp_path):
    contents = []
    for run in ("a", "b"):
        with (
            ExchangeSim.embedded(3, history_bars=300) as sim,
            PublicClient("sim", base_url=sim.base_url, clock=sim.clock) as client,
        ):
            files = fetch("sim", "BTC/USDT", "1m", 0.2, tmp_path / run, client=client)
            contents.append([(path.name, path.read_bytes()) for path in files])
    assert contents[0] == contents[1]


def test_fetching_again_changes_nothing(client, tmp_path):
    first = [path.read_bytes() for path in fetch("sim", "BTC/USDT", "1m", 0.5, tmp_path, client=client)]
    names = files_of(tmp_path)
    assert [path.read_bytes() for path in fetch("sim", "BTC/USDT", "1m", 0.5, tmp_path, client=client)] == first
    assert files_of(tmp_path) == names


def test_a_later_fetch_extends_the_file(sim, client, tmp_path):
    fetch("sim", "BTC/USDT", "1m", 1, tmp_path, client=client)
    sim.step(3600 * 5)
    fetch("sim", "BTC/USDT", "1m", 0.5, tmp_path, client=client)
    assert [n for n in files_of(tmp_path) if "klines" in n] == [
        "real/klines/sim_BTCUSDT_1m_2024-01-01_2024-01-02.parquet"
    ]
    frame = klines_of(tmp_path, "sim").frame
    assert frame["ts_ms"].tolist() == list(range(T0, T0 + 29 * 60 * MINUTE_MS, MINUTE_MS))


def test_the_newer_answer_wins_and_spans_apart_stay_apart(tmp_path):
    venue = FakeVenue(T0 + 10 * DAY_MS)
    fetch("binance", "BTC/USDT", "1m", 1, tmp_path, ["klines"], venue)
    venue.now_ms, venue.price = T0 + 20 * DAY_MS, 200.0
    fetch("binance", "BTC/USDT", "1m", 1, tmp_path, ["klines"], venue)
    assert len(files_of(tmp_path)) == 2
    venue.price = 300.0
    fetch("binance", "BTC/USDT", "1m", 0.5, tmp_path, ["klines"], venue)
    frame = klines_of(tmp_path).frame
    assert len(files_of(tmp_path)) == 2
    assert frame["close"].value_counts().to_dict() == {100.0: 1440, 200.0: 720, 300.0: 720}
    venue.now_ms, venue.price = T0 + 20 * DAY_MS, 400.0
    fetch("binance", "BTC/USDT", "1m", 11, tmp_path, ["klines"], venue)
    assert files_of(tmp_path) == ["real/klines/binance_BTCUSDT_1m_2024-01-10_2024-01-20.parquet"]
    assert set(klines_of(tmp_path).frame["close"]) == {400.0}


def test_two_spans_of_one_day_share_its_file(tmp_path):
    venue = FakeVenue(T0 + 2 * 60 * MINUTE_MS)
    fetch("binance", "BTC/USDT", "1m", 1 / 24, tmp_path, ["klines"], venue)
    venue.now_ms += 8 * 60 * MINUTE_MS
    fetch("binance", "BTC/USDT", "1m", 1 / 24, tmp_path, ["klines"], venue)
    assert files_of(tmp_path) == ["real/klines/binance_BTCUSDT_1m_2024-01-01_2024-01-01.parquet"]
    assert len(klines_of(tmp_path).frame) == 120


def test_timeframes_do_not_mix(client, tmp_path):
    fetch("sim", "BTC/USDT", "1m", 1, tmp_path, ["klines"], client)
    fetch("sim", "BTC/USDT", "1h", 1, tmp_path, ["klines"], client)
    assert sorted(d.timeframe for d in Catalog(tmp_path).data_sets) == ["1h", "1m"]


@pytest.mark.parametrize("ids", [True, False])
def test_trades_merge_where_they_touch(tmp_path, ids):
    venue = FakeVenue(T0 + DAY_MS, ids=ids)
    fetch("binance", "BTC/USDT", "1m", 1, tmp_path, ["trades"], venue)
    venue.first_trade, venue.last_trade = 6, 200
    fetch("binance", "BTC/USDT", "1m", 1, tmp_path, ["trades"], venue)
    assert files_of(tmp_path) == ["real/trades/binance_BTCUSDT_2024-01-01T0000_trades.parquet"]
    venue.first_trade, venue.last_trade = 500, 600
    fetch("binance", "BTC/USDT", "1m", 1, tmp_path, ["trades"], venue)
    assert len(files_of(tmp_path)) == 2
    venue.first_trade, venue.last_trade = 150, 520
    fetch("binance", "BTC/USDT", "1m", 1, tmp_path, ["trades"], venue)
    (name,) = files_of(tmp_path)
    trades = pd.read_parquet(tmp_path / name)
    assert trades["ts_ns"].tolist() == [(T0 + n * 1000) * NS_PER_MS for n in range(1, 601)]


def test_trades_of_one_minute_with_a_hole_between_share_a_file(tmp_path):
    venue = FakeVenue(T0 + DAY_MS)
    for first in (1, 30, 1):
        venue.first_trade, venue.last_trade = first, first + 5
        fetch("binance", "BTC/USDT", "1m", 1, tmp_path, ["trades"], venue)
    (name,) = files_of(tmp_path)
    assert pd.read_parquet(tmp_path / name)["trade_id"].tolist() == [*range(1, 7), *range(30, 36)]


def test_snapshots_of_one_minute_share_a_file(tmp_path):
    venue = FakeVenue(T0)
    for seq in (5, 9, 5, -1):
        venue.seq = seq
        fetch("binance", "BTC/USDT", "1m", 1, tmp_path, ["order_book"], venue)
    (name,) = files_of(tmp_path)
    assert pd.read_parquet(tmp_path / name)["seq"].tolist() == [5, 5, 9, 9, T0 * NS_PER_MS, T0 * NS_PER_MS]


def test_recorded_and_synthetic_data_never_mix(tmp_path):
    fetch("binance", "BTC/USDT", "1m", 1, tmp_path, client=FakeVenue(T0 + DAY_MS))
    before = {name: (tmp_path / name).read_bytes() for name in files_of(tmp_path)}
    for what in WHAT:
        with pytest.raises(ConfigError, match="holds T1 data and this source gives T2"):
            fetch("binance", "BTC/USDT", "1m", 1, tmp_path, [what], FakeVenue(T0 + DAY_MS, tier="T2"))
    assert {name: (tmp_path / name).read_bytes() for name in files_of(tmp_path)} == before
    assert {d.tier for d in Catalog(tmp_path).data_sets} == {"T1"}


def test_a_venue_behind_a_base_url_is_never_t1(sim, tmp_path):
    with PublicClient("binance", base_url=sim.base_url) as client:
        (path,) = fetch("binance", "BTC/USDT", "1m", 0.1, tmp_path, ["klines"], client)
    assert path.name == "binance_BTCUSDT_1m_2024-01-01_2024-01-01.parquet"
    assert pq.read_metadata(path).metadata[TIER_KEY] == b"T2"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"days": 0}, ConfigError),
        ({"days": float("nan")}, ConfigError),
        ({"days": 1e9}, ConfigError),
        ({"timeframe": "soon"}, ConfigError),
        ({"timeframe": "7m"}, UnknownNameError),
        ({"what": ["candles"]}, UnknownNameError),
        ({"what": []}, ConfigError),
        ({"what": ["klines", "klines"]}, ConfigError),
        ({"symbol": "NOSUCH/COIN"}, UnknownNameError),
        ({"exchange": "binance"}, ConfigError),
    ],
)
def test_a_wrong_argument_writes_nothing(client, tmp_path, arguments, error):
    given = {"exchange": "sim", "symbol": "BTC/USDT", "timeframe": "1m", "days": 1, "what": WHAT} | arguments
    with pytest.raises(error):
        fetch(root=tmp_path, client=client, **given)
    assert files_of(tmp_path) == []


@pytest.mark.parametrize("fault", [Faults(disconnect_rate=1), Faults(malformed_rate=1), Faults(error_rate=1)])
def test_a_broken_venue_leaves_nothing(tmp_path, fault):
    with (
        ExchangeSim.embedded(3, history_bars=10, faults=fault) as sim,
        PublicClient("sim", base_url=sim.base_url) as client,
        pytest.raises((ExchangeUnreachableError, DataFormatError)),
    ):
        fetch("sim", "BTC/USDT", "1m", 1, tmp_path, client=client)
    assert files_of(tmp_path) == []


def test_a_fetch_that_breaks_at_its_last_part_leaves_nothing(tmp_path):
    class Breaking(FakeVenue):
        def trades(self, symbol, limit):
            raise ExchangeUnreachableError("gone")

    with pytest.raises(ExchangeUnreachableError):
        fetch("binance", "BTC/USDT", "1m", 1, tmp_path, client=Breaking(T0 + DAY_MS))
    assert files_of(tmp_path) == []


def test_wrong_bars_are_not_written(tmp_path):
    class Lying(FakeVenue):
        def klines(self, *args):
            return super().klines(*args).assign(low=1e9)

    with pytest.raises(DataQualityError, match="low_above_high"):
        fetch("binance", "BTC/USDT", "1m", 1, tmp_path, ["trades", "klines"], Lying(T0 + DAY_MS))
    assert files_of(tmp_path) == []


def test_no_bars_at_all_is_an_error(tmp_path):
    class Empty(FakeVenue):
        def klines(self, *args):
            return super().klines(*args).head(0)

    with pytest.raises(DataNotFoundError, match="no 1m bars"):
        fetch("binance", "BTC/USDT", "1m", 1, tmp_path, client=Empty(T0 + DAY_MS))


@pytest.mark.parametrize("content", [b"", b"not parquet", None])
def test_a_damaged_file_in_the_way_is_named_and_kept(tmp_path, content):
    venue = FakeVenue(T0 + DAY_MS)
    (path,) = fetch("binance", "BTC/USDT", "1m", 1, tmp_path, ["klines"], venue)
    if content is None:
        pq.write_table(pa.table({"x": [1]}), path)
    else:
        path.write_bytes(content)
    damaged = path.read_bytes()
    with pytest.raises(DataFormatError, match=path.name):
        fetch("binance", "BTC/USDT", "1m", 1, tmp_path, ["klines"], venue)
    assert path.read_bytes() == damaged


def test_symbols_the_table_does_not_know_get_the_venues_name(tmp_path):
    class Exotic(FakeVenue):
        def market(self, symbol):
            return {"symbol": "AB/CD:EF", "id": self.own}

    venue = Exotic(T0 + DAY_MS)
    for own, expected in (("AB-CD.X", "AB-CD.X"), ("ab_cd/x", "ABCDEF")):
        venue.own = own
        (path,) = fetch("binance", "AB/CD", "1m", 1, tmp_path, ["klines"], venue)
        assert path.name.startswith(f"binance_{expected}_1m_")


def test_the_catalog_lists_recorded_and_fetched_side_by_side(tmp_path):
    fetch("binance", "BTC/USDT", "1m", 1, tmp_path, ["klines"], FakeVenue(T0 + DAY_MS))
    fetch("binance", "BTC/USDT", "1m", 1, tmp_path / "other", ["klines"], FakeVenue(T0 + 2 * DAY_MS))
    (tmp_path / "other" / "real" / "klines").rename(tmp_path / "klines")
    found = Catalog(tmp_path).find("binance", "BTC/USDT", "klines", "1m")
    assert [d.path.parent.parent.name for d in found] == [tmp_path.name, "real"]
    assert len(load_klines(found).frame) == 2 * 1440


def test_a_manifest_speaks_for_fetched_files_too(tmp_path):
    (path,) = fetch("binance", "BTC/USDT", "1m", 1, tmp_path, ["klines"], FakeVenue(T0 + DAY_MS))
    (tmp_path / "MANIFEST.csv").write_text(f"file,sha256\nreal/klines/{path.name},{'0' * 64}\n")
    with pytest.raises(DataFormatError, match="sha256 differs"):
        klines_of(tmp_path)


def test_times_come_from_the_clock_given(sim, tmp_path):
    with PublicClient("sim", base_url=sim.base_url, clock=ManualClock(T0 * NS_PER_MS)) as client:
        (path,) = fetch("sim", "BTC/USDT", "1m", 1, tmp_path, ["order_book"], client)
    assert set(pd.read_parquet(path)["ts_local_ns"]) == {T0 * NS_PER_MS}
