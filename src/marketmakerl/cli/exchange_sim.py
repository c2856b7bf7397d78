"""`mml exchange-sim`: an offline exchange that speaks Binance's public REST protocol."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from marketmakerl.cli import options

if TYPE_CHECKING:
    from marketmakerl.core.instrument import Instrument

_EXAMPLE = """Examples:

mml exchange-sim --port 8765 --seed 7 --speed 60

mml exchange-sim --exchange binance --symbol BTC/USDT --data ../shared/data --days 7
"""

_SNIPPET = """With ccxt, unmodified:

    import ccxt
    client = ccxt.{ccxt_id}({{"options": {{"fetchMarkets": {{"types": ["{kind}"]}}}}}})
    client.urls["api"]["{api}"] = "{url}{path}"
    print(client.fetch_ohlcv("{symbol}", "{timeframe}", limit=3))

With this program: mml fetch-data --exchange {exchange} --symbol {symbol} --days 1 --base-url {url}
"""


def exchange_sim(
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65_535)] = 8765,
    seed: options.Seed = 0,
    speed: Annotated[float, typer.Option(help="Market seconds a second.")] = 1.0,
    exchange: options.Exchange = "",
    symbol: options.Symbol = "",
    data: options.Data = None,
    timeframe: options.Timeframe = "1m",
    days: options.Days = None,
    history_bars: Annotated[int, typer.Option(help="Bars that have closed when it opens.", min=1)] = 1440,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 inside a container.")] = "127.0.0.1",
) -> int:
    """Run an offline exchange until Ctrl-C: the synthetic market, or recorded bars moved to the present."""
    from marketmakerl.core.clock import SystemClock
    from marketmakerl.data.market import load_market
    from marketmakerl.realtime.exchange_sim import ExchangeSim, MarketClock

    loaded = options.settings()
    request = options.market_request(loaded, exchange, symbol, data, timeframe, days)
    clock = MarketClock(SystemClock().now_ns(), speed)
    where: dict[str, Any] = {"history_bars": history_bars, "clock": clock, "host": host, "port": port}
    if request.is_synthetic:
        sim, instrument = ExchangeSim.embedded(seed, **where), None
    else:
        tape = load_market(request).tape
        sim, instrument = ExchangeSim.of_tape(tape, seed, **where), tape.instrument
    with suppress(KeyboardInterrupt), sim:
        typer.echo(_welcome(sim.base_url, instrument, timeframe))
        sim.wait()
    return 0


exchange_sim.__doc__ = f"{exchange_sim.__doc__}\n\n{_EXAMPLE}"


def _welcome(url: str, instrument: Instrument | None, timeframe: str) -> str:
    symbol = instrument.symbol if instrument else "BTC/USDT"
    spot = instrument is None or instrument.kind == "spot"
    parts = {
        "exchange": "binance" if spot else "binanceusdm",
        "ccxt_id": "binance" if spot else "binanceusdm",
        "kind": "spot" if spot else "linear",
        "api": "public" if spot else "fapiPublic",
        "path": "/api/v3" if spot else "/fapi/v1",
    }
    both = "" if instrument else " and BTC/USDT:USDT (futures)"
    snippet = _SNIPPET.format(url=url, symbol=symbol, timeframe=timeframe, **parts)
    return f"{url} serves {symbol}{both}; it takes no orders; Ctrl-C ends it.\n\n{snippet}"
