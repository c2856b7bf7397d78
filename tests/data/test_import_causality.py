"""What an importer says of a row depends on no later row: a recording cut short gives the same tape up to the cut.

Cut is by exchange time where a format is a table, and by lines, in the order of receipt, where it is a capture. What
was sent before such a cut and not yet received is missing, so there only rows older than the longest delay are
compared (`bound`): nothing that is compared was cut in half.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from captures import line_of
from l3_logs import orders_frame
from marketmakerl import DataProcessor, EventTape, Instrument
from marketmakerl.core.instruments import lookup
from marketmakerl.data.binance_dumps import read_agg_trades, read_klines
from marketmakerl.data.binance_stream import import_binance_stream
from marketmakerl.data.bybit_stream import import_bybit_stream
from marketmakerl.data.capture_file import pieces
from marketmakerl.data.hyperliquid_stream import import_hyperliquid_stream
from marketmakerl.data.import_report import ImportReport
from marketmakerl.data.importers import IMPORTERS
from marketmakerl.data.l3_import import import_l3
from marketmakerl.data.synthetic import martingale_bars
from marketmakerl.data.synthetic_l3 import L3Market, simulate_l3
from marketmakerl.data.tape import COLUMNS, MORE, Kind
from marketmakerl.data.tardis_csv import read_tardis
from marketmakerl.data.tidy_parquet import read_tidy
from tick_tapes import INSTRUMENT, START_NS, STEP_NS, make_frames

MS = 1_000_000
SECOND = 1000 * MS
CUTS = (0.2, 0.45, 0.8)
EVER = np.iinfo(np.int64).max
DEPTH, TRADE, SNAPSHOT, BUY, SELL = 1, 2, 4, 1 << 29, 1 << 28
BOTH_SIDES = 1 << 31 | 1 << 30

# (where to write, share of the recording or None for all of it) -> tape, exchange time up to which it can be compared
Importer = Callable[[Path, "float | None"], tuple[EventTape, int]]


def market(seed=1, seconds=40):
    """Frames whose recorder stands 0.7 s behind and drifts, with one odd stamp, and trades at the book's own times."""
    rng = np.random.default_rng(seed)
    book, trades = make_frames(seconds, seed)
    n = len(trades)
    steps = np.arange(n)
    tied = steps % 3 == 0
    trades["ts_ns"] = np.where(tied, START_NS + steps * STEP_NS, trades["ts_ns"])

    def received(ts):
        delay = -700 * MS + rng.exponential(9 * MS, len(ts)) - 0.0004 * (ts - START_NS)
        return (ts + delay).astype(np.int64)

    sent = START_NS + steps * STEP_NS
    seen = received(sent)
    seen[n // 2] -= 2 * SECOND  # of an odd stamp nobody else takes notice
    book["ts_local_ns"] = seen[book["seq"].to_numpy()]
    trades["ts_local_ns"] = received(trades["ts_ns"].to_numpy())
    return book, show_some(book, trades, tied, sent)


def show_some(book, trades, tied, sent):
    """Let the book messages of their time show some tied trades and others not: more and more of them."""
    trades = trades.copy()
    asks = book[(book["side"] < 0) & (book["qty"] > 0)].groupby("seq")["price"].min()
    trades.loc[tied, "price"] = asks.to_numpy()[tied]
    trades.loc[tied, "side"] = 1
    held = book[book["side"] < 0].set_index(["seq", "price"])["qty"].to_dict()
    for i in np.flatnonzero(tied).tolist():
        price = float(trades.loc[i, "price"])
        if i and i % 60 < 30 + 20 * i // len(trades) and (before := held.get((i - 1, price), 0.0)) > held[i, price]:
            trades.loc[i, "qty"] = round(before - held[i, price], 3)
        else:
            trades.loc[i, "qty"] = 9.0
    assert sent[0] == START_NS
    return trades


BOOK, TRADES = market()
END_NS = START_NS + 40 * SECOND
DELAY = int((BOOK["ts_local_ns"] - BOOK["ts_ns"]).max())
DELAY = max(DELAY, int((TRADES["ts_local_ns"] - TRADES["ts_ns"]).max()))


def cut_at(share):
    return START_NS + int(share * 40 * SECOND) if share is not None else EVER


def before(frame, ns, column="ts_ns"):
    return frame[frame[column] < ns]


# --- tables: cut by exchange time -------------------------------------------------------------------------------------


def quotes_of(book):
    """Best prices after every message of the book: all its rows that hold something are the whole book."""
    live = book[book["qty"] > 0]
    bids, asks = (live[live["side"] == side] for side in (1, -1))
    bid = bids.loc[bids.groupby("seq")["price"].idxmax()].set_index("seq")
    ask = asks.loc[asks.groupby("seq")["price"].idxmin()].set_index("seq")
    return pd.DataFrame({
        "ts_ns": bid["ts_ns"], "ts_local_ns": bid["ts_local_ns"], "bid_px": bid["price"], "bid_qty": bid["qty"],
        "ask_px": ask["price"], "ask_qty": ask["qty"],
    }).reset_index()  # fmt: skip


def from_book(_folder, share, *, lose=(), snapshots=(), **options):
    ns = cut_at(share)
    book = BOOK[~BOOK["seq"].isin(lose)]
    book = book.assign(is_snapshot=book["is_snapshot"] | book["seq"].isin(snapshots))
    return EventTape.from_book(before(book, ns), before(TRADES, ns), INSTRUMENT, **options), ns


def from_quotes(_folder, share):
    ns = cut_at(share)
    return EventTape.from_book(None, before(TRADES, ns), INSTRUMENT, bbo_df=before(quotes_of(BOOK), ns)), ns


def from_undated_quotes(_folder, share):
    ns = EVER if share is None else cut_at(share) - 700 * MS
    quotes = before(quotes_of(BOOK).assign(ts_ns=-1), ns, "ts_local_ns")
    trades = before(TRADES, ns, "ts_local_ns")
    # Estimated times stand within a delay of the true ones.
    return EventTape.from_book(None, trades, INSTRUMENT, bbo_df=quotes), ns - DELAY - 100 * MS


def parquet(folder, share):
    ns = cut_at(share)
    paths = [folder / f"{share}_{name}.parquet" for name in ("book", "trades")]
    for path, frame in zip(paths, (BOOK, TRADES), strict=True):
        before(frame, ns).to_parquet(path, index=False)
    return read_tidy(paths, INSTRUMENT)[0], ns


def parquet_trades(folder, share):
    ns = cut_at(share)
    path = folder / f"{share}.parquet"
    before(TRADES, ns).to_parquet(path, index=False)
    return read_tidy(path, INSTRUMENT)[0], ns


def hftbacktest(_folder, share):
    ns = cut_at(share)
    book = before(BOOK, ns).assign(trade=False)
    rows = pd.concat([book, before(TRADES, ns).assign(trade=True, is_snapshot=False)]).sort_values(
        "ts_ns", kind="stable"
    )
    types = {"ev": "u8", "exch_ts": "i8", "local_ts": "i8", "px": "f8", "qty": "f8", "order_id": "u8", "ival": "i8"}
    events = np.zeros(len(rows), np.dtype([*types.items(), ("fval", "f8")], align=True))
    what = np.where(rows["trade"], TRADE, np.where(rows["is_snapshot"], SNAPSHOT, DEPTH))
    events["ev"] = what | np.where(rows["side"] > 0, BUY, SELL) | BOTH_SIDES
    events["exch_ts"], events["local_ts"] = rows["ts_ns"], rows["ts_local_ns"]
    events["px"], events["qty"] = rows["price"], rows["qty"]
    return EventTape.from_hftbacktest(events, INSTRUMENT), ns


def klines(folder, share):
    bars = DataProcessor.simulate_market_data(n_bars=300, seed=2)
    bars = bars.drop(index=range(120, 131)).iloc[: None if share is None else int(share * 289)]
    opened = bars["ts_ms"].to_numpy()
    columns = [*(bars[name] for name in ("open", "high", "low", "close", "volume")), opened + 59_999,
               bars["quote_volume"], bars["n_trades"], bars["taker_buy_base"], bars["taker_buy_quote"]]  # fmt: skip
    text = pd.DataFrame({"opened": opened} | {str(i): column for i, column in enumerate(columns)}).assign(ignore=0)
    path = folder / f"{share}.csv"
    text.to_csv(path, index=False, header=False)
    instrument = Instrument("BTC/USDT", 0.1, 0.001, "spot")
    compiled = EventTape.from_klines(bars, instrument)
    tape = read_klines(path, instrument)[0]
    assert all(np.array_equal(getattr(tape, name), getattr(compiled, name)) for name in COLUMNS)
    return tape, (int(opened[-1]) + 60_000) * MS  # where it closes, a longer one opens its next bar


def agg_trades(folder, share):
    trades = before(TRADES, cut_at(share)).sort_values("ts_ns", kind="stable")
    ids = trades["trade_id"]
    text = pd.DataFrame({
        "id": ids, "price": trades["price"], "qty": trades["qty"], "first": ids, "last": ids,
        "time": trades["ts_ns"] // MS, "maker": np.where(trades["side"] < 0, "True", "False"), "best": "True",
    })  # fmt: skip
    path = folder / f"{share}.csv"
    text.to_csv(path, index=False, header=False)
    return read_agg_trades(path, INSTRUMENT)[0], cut_at(share) // MS * MS


def l3(_folder, share, *, whole=None):
    """A log that begins in the middle of the day, with a trade that no order explains; it waits a second at most."""
    orders, trades = whole or L3_LOG
    span = orders["ts_local_ns"].iloc[[0, -1]].tolist()
    ns = EVER if share is None else span[0] + int(share * (span[1] - span[0]))
    last = int(before(orders, ns, "ts_local_ns")["msg_seq"].max())
    market = L3Market().instrument
    return EventTape.from_l3(orders[orders["msg_seq"] <= last], trades[trades["msg_seq"] <= last], market), ns - SECOND


def l3_log():
    orders, trades = simulate_l3(L3Market(events=3000, log_takers=True), 3)
    first = int(orders["msg_seq"].iloc[1500])
    orders, trades = orders[orders["msg_seq"] >= first], trades[trades["msg_seq"] >= first].copy()
    trades.loc[trades.index[5], "qty"] += 0.001  # explained by no execution
    return orders, trades


L3_LOG = l3_log()


# --- captures: cut by lines -------------------------------------------------------------------------------------------


def written(folder, lines, share):
    """Write the lines that were received up to a cut, and return the file and the time up to which all were."""
    stamped = sorted(lines, key=lambda line: line[0])
    if share is not None:
        stamped = stamped[: int(share * len(stamped))]
    path = folder / f"{share}.gz"
    path.write_bytes(gzip.compress(b"\n".join(text for _, text in stamped), 1))
    return path, EVER if share is None else stamped[-1][0] - DELAY


@cache
def messages():
    """Return (number, exchange time, receipt, rows of side, price and quantity) of each message of the book."""
    found = []
    for number, rows in BOOK.groupby("seq"):
        levels = list(zip(rows["side"].tolist(), rows["price"].tolist(), rows["qty"].tolist(), strict=True))
        found.append((int(number), int(rows["ts_ns"].iloc[0]), int(rows["ts_local_ns"].iloc[0]), levels))
    return found


def sides(rows, *, whole=False):
    return tuple(
        [[f"{price:.1f}", f"{qty:.3f}"] for at, price, qty in rows if at == side and (qty > 0 or not whole)]
        for side in (1, -1)
    )


def sold(kind):
    key = "t" if kind == "trade" else "a"
    for row in TRADES.itertuples():
        data = {"e": kind, "E": row.ts_ns // MS, "T": row.ts_ns // MS, "s": "BTCUSDT", key: row.trade_id,
                "p": f"{row.price:.1f}", "q": f"{row.qty:.3f}", "m": row.side < 0}  # fmt: skip
        line = {"stream": f"btcusdt@{kind}", "data": data}
        yield row.ts_local_ns, line_of(line, local_ns=row.ts_local_ns), row.trade_id


def binance(folder, share, *, agg_until=0, trades_from=0, gaps=(), refused=False):
    lines = [(seen, text) for seen, text, i in sold("trade") if i >= trades_from]
    lines += [(seen, text) for seen, text, i in sold("aggTrade") if i < agg_until]
    for i, ts, seen, rows in messages():
        bids, asks = sides(rows)
        number = 1000 + 10 * i
        data = {"e": "depthUpdate", "E": ts // MS, "T": ts // MS, "s": "BTCUSDT", "U": number - 8, "u": number,
                "pu": number - 10, "b": bids, "a": asks}  # fmt: skip
        if i and i not in gaps:
            lines.append((seen, line_of({"stream": "btcusdt@depth", "data": data}, local_ns=seen)))
        if not i or i + 3 in gaps or i - 7 in gaps:
            bids, asks = sides(rows, whole=True)
            answer = {"lastUpdateId": number, "E": ts // MS, "T": ts // MS, "bids": bids, "asks": asks}
            lines.append((seen + 1, line_of(answer, local_ns=seen + 1)))
        if refused and i % 5 == 3:  # another symbol's, and stamps that are hours off
            other = data | {"s": "ETHUSDT", "U": number - 700, "u": number + 40}
            lines.append((seen + 2, line_of({"stream": "ethusdt@depth", "data": other}, local_ns=seen + 2)))
            foreign = {"lastUpdateId": number + 3, "T": ts // MS, "bids": [["90.0", "1"]], "asks": [["91.0", "1"]]}
            lines.append((seen + 3, line_of(foreign, local_ns=seen + 3)))
            odd = data | {"E": ts // MS - 90_000_000, "T": ts // MS - 90_000_000, "u": number + 2, "U": number + 1}
            lines.append((seen + 4, line_of({"stream": "btcusdt@depth", "data": odd}, local_ns=seen + 4)))
    path, bound = written(folder, lines, share)
    return import_binance_stream(path, INSTRUMENT)[0], bound


def tickers(folder, share, *, timed):
    lines = [(seen, text) for seen, text, _ in sold("trade")]
    for row in quotes_of(BOOK).itertuples():
        data = {"u": row.seq, "s": "BTCUSDT", "b": f"{row.bid_px:.1f}", "B": f"{row.bid_qty:.3f}",
                "a": f"{row.ask_px:.1f}", "A": f"{row.ask_qty:.3f}"}  # fmt: skip
        if row.seq > timed:
            data |= {"e": "bookTicker", "T": row.ts_ns // MS, "E": row.ts_ns // MS}
        line = {"stream": "btcusdt@bookTicker", "data": data}
        lines.append((row.ts_local_ns, line_of(line, local_ns=row.ts_local_ns)))
    path, bound = written(folder, lines, share)
    return import_binance_stream(path, INSTRUMENT)[0], bound - 100 * MS


def hyperliquid(folder, share):
    lines = []
    for _, ts, seen, rows in messages():
        levels = [[{"px": px, "sz": sz, "n": 1} for px, sz in side] for side in sides(rows, whole=True)]
        said = {"channel": "l2Book", "data": {"coin": "BTC", "time": ts // MS, "levels": levels}}
        lines.append((seen, line_of(said, local_ns=seen)))
    for row in TRADES.itertuples():
        fill = {"coin": "BTC", "side": "B" if row.side > 0 else "A", "px": f"{row.price:.1f}", "sz": f"{row.qty:.3f}",
                "time": row.ts_ns // MS, "tid": row.trade_id}  # fmt: skip
        lines.append((row.ts_local_ns, line_of({"channel": "trades", "data": [fill]}, local_ns=row.ts_local_ns)))
    path, bound = written(folder, lines, share)
    return import_hyperliquid_stream(path, INSTRUMENT)[0], bound


def bybit(folder, share, *, deep_from=0):
    lines = []
    for i, ts, seen, rows in messages():
        for depth, first in ((50, 0), (500, deep_from)):
            if i < first:
                continue
            bids, asks = sides(rows, whole=i == first)
            data = {"s": "BTCUSDT", "b": bids, "a": asks, "u": i - first + 1, "seq": 10 * i + (depth > 50)}
            said = {"topic": f"orderbook.{depth}.BTCUSDT", "type": "snapshot" if i == first else "delta", "data": data,
                    "ts": ts // MS + 2, "cts": ts // MS}  # fmt: skip
            lines.append((seen, line_of(said, local_ns=seen)))
    for row in TRADES.itertuples():
        fill = {"T": row.ts_ns // MS, "s": "BTCUSDT", "S": "Buy" if row.side > 0 else "Sell", "v": f"{row.qty:.3f}",
                "p": f"{row.price:.1f}", "i": str(row.trade_id)}  # fmt: skip
        said = {"topic": "publicTrade.BTCUSDT", "type": "snapshot", "ts": row.ts_ns // MS, "data": [fill]}
        lines.append((row.ts_local_ns, line_of(said, local_ns=row.ts_local_ns)))
    path, bound = written(folder, lines, share)
    return import_bybit_stream(path, INSTRUMENT)[0], bound


def tardis(folder, share, *, quotes=False, odd_lots=False):
    """Tardis' files stand in the order of receipt; messages of one stream do not overtake each other there."""
    ns = cut_at(share)
    paths = []
    trades = before(TRADES, ns).sort_values("ts_ns", kind="stable")
    book = before(BOOK, ns)
    if odd_lots:
        late = book["ts_ns"] > START_NS + 30 * SECOND
        odd = (np.arange(len(book)) % 2000 == 5) | (late & (np.arange(len(book)) % 900 == 7))
        book = book.assign(qty=np.where(odd, book["qty"] + 0.0004, book["qty"]))
    names = ["side", "price", "qty"]
    tables: dict[str, Any] = {"trades": (trades, ["trade_id", *names])}
    tables |= {"quotes": (before(quotes_of(BOOK), ns), ["ask_qty", "ask_px", "bid_px", "bid_qty"])} if quotes else {
        "book": (book, ["is_snapshot", *names])}  # fmt: skip
    headers = {"book": "is_snapshot,side,price,amount", "trades": "id,side,price,amount",
               "quotes": "ask_amount,ask_price,bid_price,bid_amount"}  # fmt: skip
    words = {"book": {1: "bid", -1: "ask"}, "trades": {1: "buy", -1: "sell"}}
    for name, (frame, columns) in tables.items():
        made = frame[columns].copy()
        if "side" in made:
            made["side"] = made["side"].map(words[name])
        if "is_snapshot" in made:
            made["is_snapshot"] = np.where(made["is_snapshot"], "true", "false")
        for at, column in enumerate(("ts_ns", "ts_local_ns")):
            made.insert(at, column, frame[column] // 1000)
        text = "\n".join("binance-futures,BTCUSDT," + ",".join(map(str, row)) for row in made.itertuples(index=False))
        paths.append(folder / f"{share}_{name}.csv")
        paths[-1].write_text(f"exchange,symbol,timestamp,local_timestamp,{headers[name]}\n{text}\n")
    return read_tardis(paths, INSTRUMENT)[0], ns


CASES: dict[str, Importer] = {
    "from_book": from_book,
    "from_book, lost updates": partial(from_book, lose=(200, 500), snapshots=(230, 600)),
    "from_book, a late snapshot": partial(from_book, snapshots=(70,)),
    "from_book, trades first": partial(from_book, tie_order="trades"),
    "from_book, a given offset": partial(from_book, clock_offset_ns=712 * MS),
    "best prices": from_quotes,
    "best prices without exchange time": from_undated_quotes,
    "parquet": parquet,
    "parquet, trades alone": parquet_trades,
    "hftbacktest": hftbacktest,
    "binance-klines": klines,
    "binance-aggtrades": agg_trades,
    "l3": l3,
    "binance-stream": binance,
    "binance-stream, gaps": partial(binance, gaps=(300, 301, 640)),
    "binance-stream, two symbols and odd stamps": partial(binance, refused=True),
    "binance-stream, aggregated trades, then single ones": partial(binance, agg_until=500, trades_from=400),
    "binance-stream, best prices": partial(tickers, timed=-1),
    "binance-stream, undated best prices": partial(tickers, timed=EVER),
    "binance-stream, best prices dated later": partial(tickers, timed=300),
    "hyperliquid-stream": hyperliquid,
    "bybit-stream": bybit,
    "bybit-stream, a deeper book later": partial(bybit, deep_from=500),
    "tardis": tardis,
    "tardis, quotes": partial(tardis, quotes=True),
    "tardis, more and more odd lots": partial(tardis, odd_lots=True),
}


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    for module in ("book_import", "clock_offset", "hftbacktest_import"):
        monkeypatch.setattr(f"marketmakerl.data.{module}.log.warning", lambda *_, **__: None)


def same_up_to(part: EventTape, whole: EventTape, bound: int) -> int:
    """Compare the rows sent before a time, and return how many they are."""
    rows = int(np.searchsorted(part.ts_ns, bound, side="left"))
    assert rows == int(np.searchsorted(whole.ts_ns, bound, side="left"))
    names = [*COLUMNS, *(["since_ns"] if whole.since_ns is not None else [])]
    for name in names:
        np.testing.assert_array_equal(getattr(part, name)[:rows], getattr(whole, name)[:rows], err_msg=name)
    return rows


def test_every_format_is_here():
    assert {case.partition(",")[0] for case in CASES} >= set(IMPORTERS)


@pytest.mark.parametrize("case", CASES)
def test_a_recording_cut_short_gives_the_same_rows(tmp_path, case):
    whole, _ = CASES[case](tmp_path, None)
    rows = [same_up_to(*(part := CASES[case](tmp_path, share))[:1], whole, part[1]) for share in CUTS]
    assert 20 < rows[0] < rows[1] < rows[2] < len(whole)


def test_the_market_of_these_tests_is_one_in_which_it_matters():
    """Its clock has to be set right more and more, and its ties are ordered in both ways."""
    tape, _ = from_book(None, None)
    assert 0 < tape.meta["clock_offset_first_ns"] < tape.meta["clock_offset_ns"] - 10 * MS
    assert 0 < tape.meta["tied_trades_first"] < tape.meta["tied_trades"]
    assert (tape.local_ts_ns >= tape.ts_ns).all()
    assert (np.diff(tape.local_ts_ns) >= 0).all()
    assert [sentence.partition(":")[0] for sentence in tape.meta["assumed"]] == ["ties", "clock"]


@pytest.mark.parametrize("seed", range(2, 8))
def test_random_markets_cut_anywhere(seed):
    """A tie that is ordered by itself, or a shift that one later message changes, does not get through many cuts."""
    rng = np.random.default_rng(seed)
    book, trades = market(seed, 10)
    book = book[~book["seq"].isin(rng.integers(1, 200, 2))]
    book = book.assign(is_snapshot=book["is_snapshot"] | book["seq"].isin(rng.integers(1, 200, 2)))
    whole = EventTape.from_book(book, trades, INSTRUMENT)
    for ns in (START_NS + rng.integers(1, 10_000, 12) * MS).tolist():
        part = EventTape.from_book(before(book, ns), before(trades, ns), INSTRUMENT)
        assert same_up_to(part, whole, ns) == len(part)


# --- recorded data ----------------------------------------------------------------------------------------------------

RECORDED = [
    *(f"{venue}_{s}_2024-08-08T2354" for venue in ("binance", "binanceusdm") for s in ("BTCUSDT", "ETHUSDT")),
    *(f"hyperliquid_{s}_2025-09-04T1946" for s in ("BTC", "ETH", "SOL", "WLFI")),
    *("coinbase_BTCUSD_2018-04-17T0055", "bitmex_XBTUSD_2020-03-10T1825", "bitstamp_BTCUSD_2015-05-01T0000"),
]  # fmt: skip


def recorded(shared_data, name, folder):
    found = sorted((shared_data / folder).glob(f"{name}_*.parquet"))
    return pd.read_parquet(found[0]) if found else None


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_book_cut_short(shared_data, name):
    book, trades = recorded(shared_data, name, "book"), recorded(shared_data, name, "trades")
    exchange, symbol, day = name.split("_")
    instrument = lookup(exchange, symbol, at=day[:10])
    whole = EventTape.from_book(book, trades, instrument)
    first, last = (int(whole.ts_ns[row]) for row in (0, -1))
    for share in CUTS:
        ns = first + int(share * (last - first))
        keep = (book["ts_ns"] < ns) & ~((book["ts_ns"] < 0) & (book["seq"] > book["seq"][book["ts_ns"] < ns].max()))
        part = EventTape.from_book(book[keep], None if trades is None else before(trades, ns), instrument)
        gone = book["ts_ns"][~keep & (book["ts_ns"] > 0)].min()  # a stamp may run back
        assert same_up_to(part, whole, min(ns, int(gone))) > 100


@pytest.mark.parametrize("name", RECORDED[:4])
def test_recorded_best_prices_cut_short(shared_data, name):
    """Those of spot carry no exchange time."""
    quotes, trades = recorded(shared_data, name, "bbo"), recorded(shared_data, name, "trades")
    exchange, symbol, day = name.split("_")
    instrument = lookup(exchange, symbol, at=day[:10])
    whole = EventTape.from_book(None, trades, instrument, bbo_df=quotes)
    begin, end = (int(quotes["ts_local_ns"].iloc[row]) for row in (0, -1))
    delay = int((trades["ts_local_ns"] - trades["ts_ns"]).max())
    for share in CUTS:
        ns = begin + int(share * (end - begin))
        parts = [before(frame, ns, "ts_local_ns") for frame in (quotes, trades)]
        part = EventTape.from_book(None, parts[1], instrument, bbo_df=parts[0])
        assert same_up_to(part, whole, ns - delay - SECOND) > 1000


@pytest.mark.parametrize(
    ("name", "exchange", "symbol", "day"),
    [
        ("hftbacktest_spot_btcusdt_20240808.gz", "binance", "BTC/USDT", "2024-08-08"),
        ("hftbacktest_usdm_btcusdt_20240808.gz", "binanceusdm", "BTC/USDT", "2024-08-08"),
        ("hftbacktest_hyperliquid_btcusd_20250126.gz", "hyperliquid", "BTC", "2025-01-26"),
        ("nautilus_bybit_xrpusdt_ob500_20241201.data.zip", "bybitlinear", "XRP/USDT", "2024-12-01"),
    ],
)
def test_a_recorded_capture_cut_short(shared_data, tmp_path, name, exchange, symbol, day):
    path = shared_data / "fixtures" / "raw_streams" / name
    readers = {"hyperliquid": import_hyperliquid_stream, "bybitlinear": import_bybit_stream}
    read = partial(readers.get(exchange, import_binance_stream), instrument=lookup(exchange, symbol, at=day))
    whole, _ = read(path)
    lines = b"".join(pieces(path, ImportReport("", ""))).splitlines()
    for share in CUTS:
        short = tmp_path / f"{share}.gz"
        kept = lines[: int(share * len(lines))]
        short.write_bytes(gzip.compress(b"\n".join(kept) + b"\n", 1))
        part, _ = read(short)
        # What a recorder receives was sent within the second before; an archive is in the order of sending.
        margin = 2 * SECOND if whole.meta["receipt"] == "recorded" else 0
        assert same_up_to(part, whole, int(part.ts_ns[-1]) - margin) > 20


def test_the_recorded_log_of_orders_cut_short(shared_data):
    name = "bitstamp_BTCUSD_2015-05-01T0000"
    orders, trades = recorded(shared_data, name, "l3"), recorded(shared_data, name, "trades")
    instrument = lookup("bitstamp", "BTC/USD", at="2015-05-01")
    whole = EventTape.from_l3(orders, trades, instrument)
    begin, end = (int(orders["ts_local_ns"].iloc[row]) for row in (0, -1))
    for share in CUTS:
        ns = begin + int(share * (end - begin))
        last = int(before(orders, ns, "ts_local_ns")["msg_seq"].max())
        kept = [frame[frame["msg_seq"] <= last] for frame in (orders, trades)]
        assert same_up_to(EventTape.from_l3(*kept, instrument), whole, ns - SECOND) > 1000


# --- what is declared -------------------------------------------------------------------------------------------------


def test_what_was_assumed_is_said_in_the_tape_and_in_the_report(tmp_path):
    paths = [tmp_path / f"{name}.parquet" for name in ("book", "trades")]
    for path, frame in zip(paths, (BOOK, TRADES), strict=True):
        frame.to_parquet(path, index=False)
    tape, report = read_tidy(paths, INSTRUMENT)
    assert report.assumed == tape.meta["assumed"] == report.as_dict()["assumed"]
    assert "a choice" in " ".join(report.assumed)
    given, report = read_tidy(paths, INSTRUMENT, clock_offset_ns=0, tie_order="book")
    assert (report.assumed, "assumed" in given.meta) == ([], False)


def test_orders_from_before_the_log_are_hindsight():
    """With it they stand in the book from the first row on, without it they never do; trades on them stay trades."""
    old = 1_600_000_000_000_000_000
    now = 1_700_000_000_000_000_000
    log = orders_frame([
        (0, now, 9, 0, -1, 102, 5, None),
        (1, now + 10, 1, 1, 1, 100, 4, 3, old),
        (2, now + 20, 1, 1, 1, 101, 4, 0, old),  # another price: from here on it is known
    ])  # fmt: skip
    instrument = Instrument("X/USDT:USDT", 0.5, 0.001, "linear")
    rows = {
        opening: [
            (Kind(kind & ~MORE).name, price, lots)
            for kind, price, lots in zip(
                tape.kind.tolist(), tape.price_ticks.tolist(), tape.qty_lots.tolist(), strict=True
            )
        ]
        for opening in ("empty", "hindsight")
        if (tape := import_l3(log, None, instrument, opening=opening).tape)
    }
    come = [("DEPTH_ASK", 102, 5), ("TRADE_SELL", 100, 3)]
    assert rows["empty"] == [*come, ("DEPTH_BID", 101, 4)]
    assert rows["hindsight"] == [
        *(("DEPTH_BID", 100, 7), *come, ("DEPTH_BID", 100, 4), ("DEPTH_BID", 100, 0), ("DEPTH_BID", 101, 4))
    ]
    for opening, words in (("empty", "are not in the book"), ("hindsight", "a look ahead")):
        imported = import_l3(log, None, instrument, opening=opening)
        assert words in imported.tape.meta["assumed"][0]
        assert imported.report.assumed == imported.tape.meta["assumed"]


def test_an_order_created_after_its_rows_changes_nothing_before_its_creation():
    now = 1_700_000_000_000_000_000
    rows = [
        (0, now, 1, 0, 1, 100, 5, None),
        (1, now + 10, 2, 1, 1, 99, 4, 0, now),  # in the log's first second: it may have been there before
        (2, now + 20, 1, 1, 1, 100, 3, 0),
        (3, now + 30, 2, 0, 1, 99, 7, None, now),
        (4, now + 40, 1, 2, 1, 100, 3, 0),
    ]
    instrument = Instrument("X/USDT:USDT", 0.5, 0.001, "linear")
    for opening in ("empty", "hindsight"):
        whole = import_l3(orders_frame(rows), None, instrument, opening=opening)
        part = import_l3(orders_frame(rows[:3]), None, instrument, opening=opening)
        assert same_up_to(part.tape, whole.tape, now + 21) == len(part.tape)
        assert whole.report.counts["refused", "created-late"] == 1


# --- synthetic sources ------------------------------------------------------------------------------------------------


def test_a_longer_synthetic_market_begins_with_the_shorter_one():
    for make in (DataProcessor.simulate_market_data, martingale_bars):
        short, long = make(n_bars=200, seed=5), make(n_bars=500, seed=5)
        pd.testing.assert_frame_equal(short, long.iloc[:200])
