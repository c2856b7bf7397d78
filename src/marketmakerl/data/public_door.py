"""The only door to ccxt: public market-data methods by name, from an allow-list, on a client that holds no key.

ccxt itself can place orders. Its object therefore lives in a closure and is never handed out, and its credentials are
blanked, so that even a call that slipped through could not be signed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

from marketmakerl.core.errors import ConfigError, LiveTradingBlocked, UnknownNameError
from marketmakerl.data.catalog import SIMULATED_EXCHANGE

if TYPE_CHECKING:
    from collections.abc import Callable

PUBLIC_METHODS: Final = frozenset({
    "fetch_funding_rate_history",
    "fetch_markets",
    "fetch_ohlcv",
    "fetch_order_book",
    "fetch_status",
    "fetch_ticker",
    "fetch_tickers",
    "fetch_time",
    "fetch_trades",
    "load_markets",
})  # fmt: skip

# Every attribute that any ccxt class reads a credential from.
CREDENTIALS: Final = (
    *("apiKey", "secret", "uid", "accountId", "login", "password"),
    *("twofa", "privateKey", "walletAddress", "token"),
)


@dataclass(frozen=True, slots=True)
class Venue:
    """How ccxt calls one of our exchanges.

    Args:
        ccxt_id: ccxt's class.
        market_types: which of its market lists are ours, in ccxt's words; () for all it has.
        default_type: what its calls without a symbol mean, in ccxt's words; "" for its own default.
        depths: the numbers of levels a book can be asked for; () for any.
    """

    ccxt_id: str
    market_types: tuple[str, ...] = ()
    default_type: str = ""
    depths: tuple[int, ...] = ()

    def options(self) -> dict[str, Any]:
        """Return the `options` of the ccxt client."""
        options: dict[str, Any] = {"adjustForTimeDifference": False}
        if self.market_types:
            options["fetchMarkets"] = {"types": list(self.market_types)}
        if self.default_type:
            options["defaultType"] = self.default_type
        return options


_USDM = Venue("binanceusdm", ("linear",), "swap", (5, 10, 20, 50, 100, 500, 1000))

VENUES: Final[dict[str, Venue]] = {
    "binance": Venue("binance", ("spot",), "spot"),
    "binanceusdm": _USDM,
    "bitstamp": Venue("bitstamp"),
    "bybit": Venue("bybit", ("spot",), "spot"),
    "bybitlinear": Venue("bybit", ("linear",), "swap"),
    "coinbase": Venue("coinbaseexchange"),
    "hyperliquid": Venue("hyperliquid", ("swap",), "swap"),
    "hyperliquidspot": Venue("hyperliquid", ("spot",), "spot"),
    "kraken": Venue("kraken"),
    "krakenfutures": Venue("krakenfutures"),
    "okx": Venue("okx", ("spot",), "spot"),
    "okxswap": Venue("okx", ("swap",), "swap"),
    # The offline venue speaks Binance's protocol; its instrument is a perpetual.
    SIMULATED_EXCHANGE: _USDM,
}

_HOST = re.compile(r"^https?://[^/]+")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Door(NamedTuple):
    """What comes out of `open_door`: one function that calls public methods, and a few facts about the venue."""

    call: Callable[..., Any]
    close: Callable[[], None]
    timeframes: tuple[str, ...]
    has: frozenset[str]
    precision_mode: int


def find_venue(exchange: str) -> Venue:
    """Return the venue of one of our exchange names.

    Raises:
        UnknownNameError: it is not one of them.
    """
    if exchange not in VENUES:
        raise UnknownNameError("exchange", exchange, VENUES)
    return VENUES[exchange]


def check_base_url(base_url: str) -> str:
    """Return `base_url` without a slash at its end.

    Raises:
        ConfigError: not http(s)://host[:port][/path], or it carries a user name or password.
    """
    try:
        parts = urlsplit(base_url)
        port_is_one = parts.port is None or parts.port > 0
    except ValueError:
        raise ConfigError(f"base URL {base_url!r} is not one; say e.g. http://127.0.0.1:8765") from None
    if parts.username is not None or parts.password is not None:
        raise ConfigError("a base URL with a user name or password in it is refused: this program uses no credentials")
    if parts.scheme not in {"http", "https"} or not parts.hostname or not port_is_one or parts.query or parts.fragment:
        raise ConfigError(f"base URL {base_url!r} is not one; say e.g. http://127.0.0.1:8765")
    return base_url.rstrip("/")


def blocked(what: str) -> LiveTradingBlocked:
    """Return the error for an attempt to reach `what`."""
    allowed = ", ".join(sorted(PUBLIC_METHODS))
    return LiveTradingBlocked(
        f"{what} is blocked: this program reads public market data and never places an order or uses a key "
        f"(allowed: {allowed})"
    )


def open_door(venue: Venue, base_url: str | None, timeout_s: float) -> Door:
    """Make a ccxt client and return the door to its public methods.

    Args:
        venue: whose client.
        base_url: where its requests go instead of the venue's own hosts; the paths stay.
        timeout_s: for one request.
    """
    import ccxt  # noqa: PLC0415  (a second that only a fetch needs)

    make = getattr(ccxt, venue.ccxt_id, None)
    if make is None:
        raise ConfigError(f"ccxt {ccxt.__version__} has no client named {venue.ccxt_id}; install the pinned version")
    exchange = make({
        "enableRateLimit": base_url is None or urlsplit(base_url).hostname not in _LOOPBACK,
        "timeout": round(timeout_s * 1000),
        "options": venue.options(),
        "enableLastHttpResponse": True,
        "enableLastJsonResponse": True,
    })  # fmt: skip
    # No key, and no .netrc or proxy credentials of the environment either.
    for name in CREDENTIALS:
        setattr(exchange, name, "")
    exchange.session.trust_env = False
    if base_url is not None:
        exchange.urls["api"] = _moved(exchange.urls["api"], base_url)

    def call(name: str, *args: Any, **kwargs: Any) -> Any:
        if name not in PUBLIC_METHODS:
            raise blocked(name)
        exchange.last_http_response = exchange.last_json_response = None
        answer = getattr(exchange, name)(*args, **kwargs)
        # ccxt takes a body that is no JSON for an empty answer.
        if exchange.last_http_response is not None and exchange.last_json_response is None:
            raise ccxt.BadResponse(f"not JSON: {str(exchange.last_http_response)[:60]!r}")
        return answer

    def close() -> None:
        exchange.session.close()

    return Door(
        call=call,
        close=close,
        timeframes=tuple(exchange.timeframes or ()),
        has=frozenset(name for name, can in exchange.has.items() if can),
        precision_mode=int(exchange.precisionMode),
    )


def _moved(urls: Any, base_url: str) -> Any:
    """Return ccxt's (nested) table of URLs with every host replaced."""
    if isinstance(urls, dict):
        return {name: _moved(url, base_url) for name, url in urls.items()}
    return _HOST.sub(lambda _: base_url, urls) if isinstance(urls, str) else urls
