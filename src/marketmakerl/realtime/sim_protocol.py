"""Binance's public REST protocol over simulated markets: spot under /api/v3, USD-margined futures under /fapi/v1.

`BinanceRest.reply` is a pure function of the request and the venue's time: no sockets, no clock of its own. Whatever
is not public market data is refused as the venue refuses a stranger; there is no code here that could accept an order.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import orjson

from marketmakerl.core.clock import NS_PER_MS
from marketmakerl.core.errors import ConfigError
from marketmakerl.data.catalog import timeframe_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    import numpy.typing as npt

    from marketmakerl.core.instrument import Instrument
    from marketmakerl.realtime.sim_market import Book, SimMarket
    from marketmakerl.realtime.sim_trades import Trades

INTERVALS: Final = ("1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w")
_MINUTE_MS: Final = 60_000
_MAX_TS_MS: Final = 10**14
_WHOLE: Final = re.compile(r"[0-9]{1,20}")
_PERPETUAL_MS: Final = 4_133_404_800_000  # 2100-12-25, which the venue gives perpetuals as their delivery date

# Refused to everybody: first part of the path under its API, or the API itself.
_ACCOUNT_PATHS: Final = frozenset({
    *("account", "accountConfig", "adlQuantile", "algoOrder", "allAlgoOrders", "allOpenOrders", "allOrderList"),
    *("allOrders", "apiTradingStatus", "balance", "batchOrders", "commissionRate", "countdownCancelAll", "feeBurn"),
    *("forceOrders", "historicalTrades", "income", "leverage", "leverageBracket", "listenKey", "marginType"),
    *("multiAssetsMargin", "myAllocations", "myPreventedMatches", "myTrades", "openAlgoOrders", "openOrder"),
    *("openOrderList", "openOrders", "order", "orderAmendment", "orderList", "orderRateLimit", "positionMargin"),
    *("positionRisk", "positionSide", "rateLimit", "sor", "symbolConfig", "userDataStream", "userTrades"),
})  # fmt: skip
_ACCOUNT_APIS: Final = ("/sapi/", "/wapi/", "/papi/", "/fapi/v2/", "/fapi/v3/", "/eapi/", "/dapi/")


class Reply(NamedTuple):
    """An HTTP answer; the body is JSON."""

    status: int
    body: bytes
    headers: dict[str, str]


class _Refusal(Exception):  # noqa: N818  (an answer, not a fault)
    def __init__(self, code: int, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.body = {"code": code, "msg": message}
        self.status = status

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.body["code"], self.body["msg"], self.status), self.__dict__


class _Api(NamedTuple):
    """What differs between the two APIs."""

    prefix: str
    is_spot: bool
    max_klines: int
    depths: tuple[int, ...]  # allowed values; () for any up to max_depth
    max_depth: int
    depth: int  # unless asked otherwise
    weight_limit: int  # a minute


_APIS: Final = (
    _Api("/api/v3/", True, 1000, (), 5000, 100, 6000),
    _Api("/fapi/v1/", False, 1500, (5, 10, 20, 50, 100, 500, 1000), 1000, 500, 2400),
)
_WEIGHTS: Final = {"exchangeInfo": 20, "klines": 2, "trades": 25, "aggTrades": 4, "depth": 5}

Params = dict[str, str]


class BinanceRest:
    """The venue's side of the protocol.

    Args:
        markets: spot markets are served under /api/v3, linear ones under /fapi/v1; one a symbol.

    Raises:
        ConfigError: no markets, or two of one symbol under one API.
    """

    def __init__(self, markets: Sequence[SimMarket]) -> None:
        self._markets: dict[str, dict[str, SimMarket]] = {api.prefix: {} for api in _APIS}
        for market in markets:
            api = _APIS[0] if market.instrument.kind == "spot" else _APIS[1]
            native = native_name(market.instrument)
            if native in self._markets[api.prefix]:
                raise ConfigError(f"the offline venue got two markets named {native}")
            self._markets[api.prefix][native] = market
        if not markets:
            raise ConfigError("the offline venue needs at least one market")
        self._used: dict[str, tuple[int, int]] = {}  # API -> (minute, weight used in it)
        self._endpoints: dict[str, Callable[[_Api, Params, int], Any]] = {
            "ping": lambda _api, _params, _now_ms: {},
            "time": lambda _api, _params, now_ms: {"serverTime": now_ms},
            "exchangeInfo": self._exchange_info,
            "klines": self._klines,
            "depth": self._depth,
            "trades": self._trades,
            "aggTrades": self._agg_trades,
        }

    def reply(self, method: str, target: str, now_ns: int) -> Reply:
        """Answer a request.

        Args:
            method: e.g. "GET"; anything else is refused.
            target: path and query, e.g. "/api/v3/depth?symbol=BTCUSDT".
            now_ns: the venue's time.
        """
        parts = urlsplit(target)
        params = dict(parse_qsl(parts.query, keep_blank_values=True))
        now_ms = max(m.clamp(now_ns // NS_PER_MS) for family in self._markets.values() for m in family.values())
        api = next((api for api in _APIS if parts.path.startswith(api.prefix)), None)
        headers: dict[str, str] = {}
        try:
            document = self._document(method, parts.path, api, params, now_ms, headers)
        except _Refusal as refusal:
            return Reply(refusal.status, orjson.dumps(refusal.body), headers)
        return Reply(200, orjson.dumps(document), headers)

    def _document(
        self, method: str, path: str, api: _Api | None, params: Params, now_ms: int, headers: dict[str, str]
    ) -> Any:
        name = path[len(api.prefix) :] if api else ""
        private = path.startswith(_ACCOUNT_APIS) or name.partition("/")[0] in _ACCOUNT_PATHS
        if method != "GET" or private or "signature" in params:
            raise _Refusal(-2015, "Invalid API-key, IP, or permissions for action.", 401)
        if api is None or name not in self._endpoints:
            raise _Refusal(-1000, f"No such path: {path}", 404)
        headers.update(self._count(api, _WEIGHTS.get(name, 1), now_ms))
        return self._endpoints[name](api, params, now_ms)

    def _count(self, api: _Api, weight: int, now_ms: int) -> dict[str, str]:
        minute, used = self._used.get(api.prefix, (-1, 0))
        used = weight + (used if minute == now_ms // _MINUTE_MS else 0)
        self._used[api.prefix] = (now_ms // _MINUTE_MS, used)
        names = ("x-mbx-used-weight", "x-mbx-used-weight-1m") if api.is_spot else ("x-mbx-used-weight-1m",)
        return dict.fromkeys(names, str(used))

    def _market(self, api: _Api, params: Params) -> SimMarket:
        symbol = params.get("symbol", "")
        if not symbol:
            raise _Refusal(-1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.")
        if symbol not in self._markets[api.prefix]:
            raise _Refusal(-1121, "Invalid symbol.")
        return self._markets[api.prefix][symbol]

    def _exchange_info(self, api: _Api, params: Params, now_ms: int) -> dict[str, Any]:
        markets = list(self._markets[api.prefix].values())
        if "symbol" in params:
            markets = [self._market(api, params)]
        describe = _spot_symbol if api.is_spot else _linear_symbol
        limit = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": api.weight_limit}
        return {
            "timezone": "UTC",
            "serverTime": now_ms,
            "rateLimits": [limit],
            "exchangeFilters": [],
            "symbols": [describe(market) for market in markets],
        }

    def _klines(self, api: _Api, params: Params, now_ms: int) -> list[list[Any]]:
        market = self._market(api, params)
        name = params.get("interval", "")
        if not name:
            raise _Refusal(-1102, "Mandatory parameter 'interval' was not sent, was empty/null, or malformed.")
        interval_ms = timeframe_ms(name) if name in INTERVALS else None
        if interval_ms is None or interval_ms % market.interval_ms:
            raise _Refusal(-1120, "Invalid interval.")
        start_ms, end_ms = _span(api, params)
        limit = min(_whole(params, "limit", 500) or 500, api.max_klines)
        bars = market.candles(interval_ms, start_ms, end_ms, limit, market.clamp(now_ms))
        texts = _Texts(market.instrument, api)
        columns = (
            bars.ts_ms.tolist(),
            *(texts.prices(ticks) for ticks in (bars.open, bars.high, bars.low, bars.close)),
            texts.sizes(bars.lots),
            (bars.ts_ms + interval_ms - 1).tolist(),
            texts.notionals(bars.notional),
            bars.trades.tolist(),
            texts.sizes(bars.buy_lots),
            texts.notionals(bars.buy_notional),
            ["0"] * len(bars.ts_ms),
        )
        return [list(row) for row in zip(*columns, strict=True)]

    def _depth(self, api: _Api, params: Params, now_ms: int) -> dict[str, Any]:
        market = self._market(api, params)
        limit = _whole(params, "limit", api.depth)
        if limit is None or limit < 1 or (api.depths and limit not in api.depths):
            raise _Refusal(*((-4021, f"{limit} is not valid depth limit.") if api.depths else _bad_limit()))
        book: Book = market.book(min(limit, api.max_depth), market.clamp(now_ms))
        texts = _Texts(market.instrument, api)
        bids = zip(texts.prices(book.bid_ticks), texts.sizes(book.bid_lots), strict=True)
        asks = zip(texts.prices(book.ask_ticks), texts.sizes(book.ask_lots), strict=True)
        times = {} if api.is_spot else {"E": now_ms, "T": now_ms}
        return {"lastUpdateId": book.update_id, **times, "bids": list(bids), "asks": list(asks)}

    def _trades(self, api: _Api, params: Params, now_ms: int) -> list[dict[str, Any]]:
        market = self._market(api, params)
        last = market.traded(market.clamp(now_ms))
        trades = market.trades(max(1, last - _page(params) + 1), last)
        texts = _Texts(market.instrument, api)
        best = {"isBestMatch": True} if api.is_spot else {}
        quotes = texts.notionals(trades.price.astype(float) * trades.lots)
        return [
            {"id": i, "price": p, "qty": q, "quoteQty": n, "time": t, "isBuyerMaker": not b, **best}
            for (i, p, q, t, b), n in zip(_rows(trades, texts), quotes, strict=True)
        ]

    def _agg_trades(self, api: _Api, params: Params, now_ms: int) -> list[dict[str, Any]]:
        market = self._market(api, params)
        now_ms, limit = market.clamp(now_ms), _page(params)
        last = market.traded(now_ms)
        from_id = _whole(params, "fromId", None)
        start_ms, end_ms = _span(api, params)
        if end_ms is not None:
            last = min(last, market.traded(min(end_ms, now_ms)))
        if from_id is not None:
            first = max(1, from_id)
        elif start_ms is not None:
            first = market.first_trade_from(min(start_ms, now_ms + 1))
        else:
            first = max(1, last - limit + 1)
        texts = _Texts(market.instrument, api)
        best = {"M": True} if api.is_spot else {}
        return [
            {"a": i, "p": p, "q": q, "f": i, "l": i, "T": t, "m": not b, **best}
            for i, p, q, t, b in _rows(market.trades(first, min(last, first + limit - 1)), texts)
        ]


class _Texts:
    """Numbers as the venue writes them: spot with eight decimals, futures with those of the step."""

    def __init__(self, instrument: Instrument, api: _Api) -> None:
        self._instrument = instrument
        self._tick = f".{8 if api.is_spot else _decimals(instrument.tick_size)}f"
        self._lot = f".{8 if api.is_spot else _decimals(instrument.lot_size)}f"

    def prices(self, ticks: npt.NDArray[np.int64]) -> list[str]:
        return [format(number, self._tick) for number in (ticks * self._instrument.tick_size).tolist()]

    def sizes(self, lots: npt.NDArray[np.int64]) -> list[str]:
        return [format(number, self._lot) for number in (lots * self._instrument.lot_size).tolist()]

    def notionals(self, tick_lots: npt.NDArray[np.float64]) -> list[str]:
        one = self._instrument.tick_size * self._instrument.lot_size
        return [f"{number:.8f}" for number in (tick_lots * one).tolist()]


def native_name(instrument: Instrument) -> str:
    """Return the venue's spelling of an instrument, e.g. "BTCUSDT"."""
    return f"{instrument.base}{instrument.quote}".upper()


def _rows(trades: Trades, texts: _Texts) -> zip[tuple[int, str, str, int, bool]]:
    ids = range(trades.first_id, trades.first_id + len(trades))
    prices, sizes = texts.prices(trades.price), texts.sizes(trades.lots)
    return zip(ids, prices, sizes, trades.ts_ms.tolist(), trades.buy.tolist(), strict=True)


def _spot_symbol(market: SimMarket) -> dict[str, Any]:
    instrument = market.instrument
    return {
        "symbol": native_name(instrument),
        "status": "TRADING",
        "baseAsset": instrument.base,
        "baseAssetPrecision": 8,
        "quoteAsset": instrument.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "orderTypes": [],
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": _filters(instrument, "NOTIONAL", "minNotional"),
        "permissions": ["SPOT"],
    }


def _linear_symbol(market: SimMarket) -> dict[str, Any]:
    instrument = market.instrument
    return {
        "symbol": native_name(instrument),
        "pair": native_name(instrument),
        "contractType": "PERPETUAL",
        "deliveryDate": _PERPETUAL_MS,
        "onboardDate": market.start_ms,
        "status": "TRADING",
        "baseAsset": instrument.base,
        "quoteAsset": instrument.quote,
        "marginAsset": instrument.quote,
        "pricePrecision": _decimals(instrument.tick_size),
        "quantityPrecision": _decimals(instrument.lot_size),
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "filters": _filters(instrument, "MIN_NOTIONAL", "notional"),
        "orderTypes": [],
    }


def _filters(instrument: Instrument, notional_filter: str, notional_field: str) -> list[dict[str, Any]]:
    tick, lot, least = (
        format(Decimal(repr(number)), "f")
        for number in (instrument.tick_size, instrument.lot_size, instrument.min_notional)
    )
    return [
        {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "1000000000", "tickSize": tick},
        {"filterType": "LOT_SIZE", "minQty": lot, "maxQty": "1000000000", "stepSize": lot},
        {"filterType": notional_filter, notional_field: least},
    ]


def _decimals(step: float) -> int:
    exponent = Decimal(repr(step)).normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _whole(params: Params, name: str, default: int | None) -> int | None:
    if name not in params:
        return default
    if not _WHOLE.fullmatch(params[name]):
        raise _Refusal(-1100, f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'.")
    return min(int(params[name]), _MAX_TS_MS)


def _page(params: Params) -> int:
    limit = _whole(params, "limit", 500)
    if not limit:
        raise _Refusal(*_bad_limit())
    return min(limit, 1000)


def _bad_limit() -> tuple[int, str]:
    return -1130, "Data sent for parameter 'limit' is not valid."


def _span(api: _Api, params: Params) -> tuple[int | None, int | None]:
    start_ms, end_ms = _whole(params, "startTime", None), _whole(params, "endTime", None)
    if start_ms is not None and end_ms is not None and start_ms > end_ms and not api.is_spot:
        raise _Refusal(-1023, "Start time is greater than end time.")
    return start_ms, end_ms
