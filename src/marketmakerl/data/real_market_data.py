"""Public market data of real exchanges: bars, books, trades, markets and the venue's clock. Nothing private, ever.

`PublicClient` stands before ccxt (see `marketmakerl.data.public_door`) and turns its answers into the schemas of the
catalog, and its errors into ours. It holds no key and asks for none; what is not on the allow-list of public methods
raises `LiveTradingBlocked`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self

import numpy as np
import structlog

from marketmakerl.core.clock import NS_PER_MS, Clock, SystemClock
from marketmakerl.core.errors import (
    ConfigError,
    DataFormatError,
    DataQualityError,
    ExchangeUnreachableError,
    UnknownNameError,
)
from marketmakerl.core.instrument import KINDS
from marketmakerl.core.log import get_logger
from marketmakerl.data.catalog import SIMULATED_EXCHANGE, timeframe_ms
from marketmakerl.data.public_answers import (
    KLINE_COLUMNS,
    TradeRow,
    bars,
    bars_frame,
    levels,
    short,
    trade_rows,
    trades_frame,
    whole_or_minus_one,
)
from marketmakerl.data.public_door import PUBLIC_METHODS, VENUES, Door, blocked, check_base_url, find_venue, open_door

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    import numpy.typing as npt
    import pandas as pd
    from stamina.instrumentation import RetryDetails

log = get_logger(__name__)

PAGE: Final = 1_000  # rows asked for at a time; venues cap it themselves

_ATTEMPTS: Final = 3
_RETRY_FOR_S: Final = 12.0  # no new attempt after this long
_NEVER_CUT: Final = 100  # no venue cuts a page of trades as short as this
_SEARCHED_MS: Final = 3_600_000  # and none searches less than an hour for one
_TELL_KNOWN: Final = 12


@dataclass(frozen=True)
class OrderBook:
    """The best levels of a book at one moment.

    Attributes:
        bids, asks: float64[n, 2], price and quantity, best first; the best bid is below the best ask.
        ts_ns: the venue's time; -1 where it gives none (Binance spot).
        ts_local_ns: when it was received.
        seq: the venue's update id; -1 where it gives none.
    """

    bids: npt.NDArray[np.float64]
    asks: npt.NDArray[np.float64]
    ts_ns: int
    ts_local_ns: int
    seq: int


class PublicClient:
    """Public market data of one exchange.

    Args:
        exchange: our name of it, e.g. "binance", "binanceusdm", "bybitlinear", or "sim" (then with a `base_url`).
        base_url: sends every request to this host instead, e.g. the URL that `mml exchange-sim` prints.
        timeout_s: for one request; a request is tried three times at most, within about ten seconds more.
        clock: where times of receipt come from.

    Every call may raise `ExchangeUnreachableError`, `DataFormatError` (an answer that makes no sense) or, where it
    takes a symbol, `UnknownNameError`. Any attribute that is neither below nor in `PUBLIC_METHODS` raises
    `LiveTradingBlocked`, and so does setting one. Use it as a context manager, or `close` it.

    Raises:
        UnknownNameError: nobody knows the exchange.
        ConfigError: a `base_url` that is none, or "sim" without one.
    """

    __slots__ = ("_clock", "_door", "base_url", "id", "precisionMode")

    id: str
    base_url: str | None
    precisionMode: int  # noqa: N815  (ccxt's name)
    _clock: Clock
    _door: Door

    def __init__(
        self, exchange: str, *, base_url: str | None = None, timeout_s: float = 10.0, clock: Clock | None = None
    ) -> None:
        name = exchange.strip().lower()
        venue = find_venue(name)
        if name == SIMULATED_EXCHANGE and not base_url:
            raise ConfigError("the simulated exchange needs its base URL: start `mml exchange-sim`, it prints one")
        if not (math.isfinite(timeout_s) and timeout_s > 0):
            raise ConfigError(f"the timeout must be > 0 seconds, got {timeout_s!r}")
        url = check_base_url(base_url) if base_url else None
        door = open_door(venue, url, timeout_s)
        for attribute, value in (
            ("id", name),
            ("base_url", url),
            ("precisionMode", door.precision_mode),
            ("_door", door),
            ("_clock", clock or SystemClock()),
        ):
            object.__setattr__(self, attribute, value)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"PublicClient({self.id!r})"

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name in PUBLIC_METHODS:
            return partial(self._call, name)
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)  # protocols of Python, such as copy's, ask for these
        raise blocked(name)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise blocked(f"setting {name}")

    def __delattr__(self, name: str) -> NoReturn:
        raise blocked(f"deleting {name}")

    def close(self) -> None:
        """Close the connections."""
        self._door.close()

    @property
    def tier(self) -> str:
        """Return the tier of what this client fetches: T1 from the exchange itself, T2 from any other `base_url`."""
        return "T1" if self.base_url is None else "T2"

    def load_markets(self) -> dict[str, Any]:
        """Return ccxt's description of every market by unified symbol; asks the venue the first time only."""
        return dict(self._call("load_markets"))

    def markets(self) -> dict[str, Any]:
        """Return the spot, linear and inverse markets by unified symbol, as ccxt describes them; no options."""
        listed = self.load_markets().items()
        found = {symbol: m for symbol, m in listed if any(map(m.get, KINDS)) and not m.get("option")}
        if not found:
            raise DataFormatError(f"{self.id}: its market list has no spot, linear or inverse market; fetch again")
        return found

    def market(self, symbol: str) -> Mapping[str, Any]:
        """Return the market that a symbol means.

        Args:
            symbol: unified ("BTC/USDT:USDT"; "BTC/USDT" does where only the perpetual exists) or the venue's own.

        Raises:
            UnknownNameError: the venue has no such market.
        """
        markets = self.markets()
        unified = symbol.strip().upper()
        if unified in markets:
            found: Mapping[str, Any] = markets[unified]
            return found
        plain = _plain(unified)
        fits = [m for name, m in markets.items() if plain and plain in _spellings(name, m)]
        if not fits:
            raise self._unknown_symbol(symbol, markets)
        return min(fits, key=lambda m: (not m.get("spot"), not m.get("swap"), str(m["symbol"])))

    def server_time_ms(self) -> int:
        """Return the venue's clock, milliseconds UTC; this machine's where the venue tells none."""
        if "fetchTime" not in self._door.has:
            return self._clock.now_ns() // NS_PER_MS
        told = self._call("fetch_time")
        if not isinstance(told, (int, float)) or not math.isfinite(told) or told <= 0:
            raise DataFormatError(f"{self.id}: the server time is no time: {told!r}")
        return int(told)

    def klines(
        self,
        symbol: str,
        timeframe: str,
        since_ms: int,
        until_ms: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> pd.DataFrame:
        """Fetch finished bars, as many pages as it takes.

        Args:
            symbol: see `market`.
            timeframe: e.g. "1m"; one the venue has.
            since_ms: opening time of the first bar, milliseconds UTC.
            until_ms: bars that open before this; None: up to now. A bar that has not closed yet is left out.
            progress: called with (bars so far, bars expected) after each page.

        Returns:
            Columns ts_ms (int64, opening time, increasing), open, high, low, close (float64, quote currency), volume
            (float64, base units, or contracts where the venue counts so). No rows where the venue has none.

        Raises:
            UnknownNameError: the venue has no such symbol or timeframe.
        """
        interval_ms = self._interval_ms(timeframe)
        name = str(self.market(symbol)["symbol"])
        now_ms = self.server_time_ms()
        end_ms = min(now_ms - interval_ms + 1, now_ms if until_ms is None else until_ms)  # first opening time too late
        expected = max(0, -(-(end_ms - since_ms) // interval_ms))
        pages: list[npt.NDArray[np.float64]] = []
        cursor, found = since_ms, 0
        while cursor < end_ms:
            page = bars(self._call("fetch_ohlcv", name, timeframe, cursor, PAGE), f"{self.id} {name}")
            page = page[(page[:, 0] >= cursor) & (page[:, 0] < end_ms)]
            # An empty page may be a hole that ends after it: look on behind it.
            cursor += PAGE * interval_ms
            if len(page):
                pages.append(page)
                found += len(page)
                cursor = int(page[-1, 0]) + interval_ms
            if progress:
                progress(min(found, expected), expected)
        return bars_frame(np.concatenate(pages) if pages else np.empty((0, len(KLINE_COLUMNS))))

    def order_book(self, symbol: str, limit: int = 100) -> OrderBook:
        """Fetch the best `limit` levels of each side.

        Raises:
            DataQualityError: the book is crossed, or not in order.
        """
        name = str(self.market(symbol)["symbol"])
        if limit < 1:
            raise ConfigError(f"a book needs at least one level, got {limit}")
        depths = VENUES[self.id].depths
        enough = next((depth for depth in depths if depth >= limit), depths[-1] if depths else limit)
        answer = self._call("fetch_order_book", name, enough)
        received_ns = self._clock.now_ns()
        where = f"{self.id} {name}"
        bids, asks = (levels(answer, side, where)[:limit] for side in ("bids", "asks"))
        ordered = (np.diff(bids[:, 0]) < 0).all() and (np.diff(asks[:, 0]) > 0).all()
        if not ordered or (len(bids) and len(asks) and bids[0, 0] >= asks[0, 0]):
            raise DataQualityError(f"{where}: the book is crossed or out of order; fetch it again")
        ts_ms = whole_or_minus_one(answer.get("timestamp"), where)
        seq = whole_or_minus_one(answer.get("nonce"), where)
        return OrderBook(bids, asks, -1 if ts_ms < 0 else ts_ms * NS_PER_MS, received_ns, seq)

    def trades(self, symbol: str, since_ms: int | None = None, limit: int = PAGE) -> pd.DataFrame:
        """Fetch trades.

        Args:
            symbol: see `market`.
            since_ms: the first `limit` trades from this time on, where the venue keeps them; None: the latest `limit`.
            limit: how many at most.

        Returns:
            Columns ts_ns (int64, exchange time), ts_local_ns (int64, -1: a fetch is no feed), price, qty (float64),
            side (int8, +1 the aggressor bought, -1 sold, 0 unknown), trade_id (int64, -1 where it is no number; on
            Binance the id of the aggregate), by time.
        """
        name = str(self.market(symbol)["symbol"])
        if limit < 1:
            raise ConfigError(f"ask for at least one trade, got {limit}")
        if since_ms is None:
            latest = trade_rows(self._call("fetch_trades", name, None, min(limit, PAGE)), f"{self.id} {name}")
            return trades_frame(latest[-limit:])
        return trades_frame(self._trades_since(name, since_ms, limit))

    def _trades_since(self, name: str, since_ms: int, limit: int) -> list[TradeRow]:
        now_ms = self.server_time_ms()
        rows: list[TradeRow] = []
        cursor = since_ms
        while len(rows) < limit and cursor <= now_ms:
            answer = self._call("fetch_trades", name, cursor, PAGE)
            page = [row for row in trade_rows(answer, f"{self.id} {name}") if row.ts_ms >= cursor]
            last_ms = page[-1].ts_ms if page else cursor
            if len(page) < _NEVER_CUT:
                rows += page
                cursor = max(cursor + _SEARCHED_MS, last_ms) + 1
            elif page[0].ts_ms == last_ms:
                rows += page
                cursor = last_ms + 1
            else:
                # The page may have been cut within its last millisecond: leave that one to the next page.
                rows += [row for row in page if row.ts_ms < last_ms]
                cursor = last_ms
        return rows[:limit]

    def _call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Call a public method with a few short retries, and turn ccxt's errors into ours."""
        import ccxt  # noqa: PLC0415  (loaded already)
        import stamina  # noqa: PLC0415

        def passing(error: Exception) -> bool:
            # A venue that says "too many requests" must not be asked again at once.
            return isinstance(error, ccxt.NetworkError) and not isinstance(
                error, (ccxt.DDoSProtection, ccxt.RateLimitExceeded)
            )

        stamina.instrumentation.set_on_retry_hooks([_log_retry])
        try:
            for attempt in stamina.retry_context(
                on=passing, attempts=_ATTEMPTS, timeout=_RETRY_FOR_S, wait_initial=0.2, wait_max=1.0, wait_jitter=0.1
            ):
                with attempt:
                    return self._door.call(name, *args, **kwargs)
        except ccxt.BadSymbol as error:
            raise self._unknown_symbol(str(args[0]) if args else "", self._door.call("load_markets")) from error
        except (ccxt.NetworkError, ccxt.AuthenticationError, ccxt.OperationRejected) as error:
            raise self._unreachable(error) from error
        except (ccxt.BadRequest, ccxt.ArgumentsRequired, ccxt.NotSupported) as error:
            raise ConfigError(f"{self.id} refuses {name}: {short(error)}") from error
        except ccxt.BadResponse as error:
            raise DataFormatError(f"{self.id}: {name} got an answer that makes no sense: {short(error)}") from error
        except ccxt.OperationFailed as error:
            raise self._unreachable(error) from error
        except (ccxt.BaseError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise DataFormatError(
                f"{self.id}: {name} got an answer that makes no sense ({type(error).__name__}: {short(error)})"
            ) from error
        raise AssertionError("a retry ends with a result or an error")

    def _unreachable(self, error: Exception) -> ExchangeUnreachableError:
        where = f" at {self.base_url}" if self.base_url else ""
        return ExchangeUnreachableError(
            f"{self.id}{where} cannot be reached ({type(error).__name__}: {short(error)}); use recorded data instead: "
            f"DATA=<folder or file> (--data), or EXCHANGE={SIMULATED_EXCHANGE} for the embedded market"
        )

    def _unknown_symbol(self, symbol: str, markets: Mapping[str, Any]) -> UnknownNameError:
        base = symbol.upper().partition("/")[0]
        known = [name for name in markets if name.startswith(f"{base}/")] or list(markets)
        hint = f"({len(markets)} markets in all)" if len(markets) > _TELL_KNOWN else ""
        return UnknownNameError(f"{self.id} symbol", symbol, sorted(known)[:_TELL_KNOWN], hint)

    def _interval_ms(self, timeframe: str) -> int:
        interval_ms = timeframe_ms(timeframe)
        known = [name for name in self._door.timeframes if timeframe_ms(name)]
        if interval_ms is None or timeframe not in known:
            raise UnknownNameError(f"{self.id} timeframe", timeframe, known)
        return interval_ms


def _spellings(name: str, market: Mapping[str, Any]) -> set[str]:
    return {_plain(name), _plain(name.partition(":")[0]), _plain(str(market["id"]))}


def _plain(symbol: str) -> str:
    return "".join(letter for letter in symbol.upper() if letter.isalnum())


def _log_retry(details: RetryDetails) -> None:
    if structlog.is_configured():  # else it would speak on stdout
        log.info("retry", attempt=details.retry_num, cause=short(details.caused_by))
