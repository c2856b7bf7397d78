"""`mml fetch-data`: public data of an exchange into the local catalog."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path  # noqa: TC003  (typer reads annotations at run time)
from typing import TYPE_CHECKING, Annotated, Any

import typer

from marketmakerl.cli import options

if TYPE_CHECKING:
    from marketmakerl.data.real_market_data import PublicClient

_EXAMPLE = """Examples:

mml fetch-data --exchange binance --symbol BTC/USDT --days 30

mml fetch-data --exchange sim --days 1 --what klines
"""


def fetch_data(
    exchange: Annotated[str, typer.Option(help="Exchange, e.g. binance; sim is the embedded offline one.")] = "",
    symbol: Annotated[str, typer.Option(help="Symbol; default: BTC/USDT.")] = "BTC/USDT",
    timeframe: Annotated[str, typer.Option(help="Bars to fetch: 1m, 5m, 15m, 1h ...")] = "1m",
    days: Annotated[float, typer.Option(help="How many days of bars, up to now.")] = 30.0,
    what: Annotated[str, typer.Option(help="Any of klines, order_book, trades; commas between.")] = (
        "klines,order_book,trades"
    ),
    out: Annotated[Path | None, typer.Option(help="The catalog's folder; default: data/.")] = None,
    base_url: Annotated[str, typer.Option(help="Ask this host instead, e.g. one of mml exchange-sim.")] = "",
    as_json: options.Json = False,
) -> int:
    """Fetch public bars, a book snapshot and the latest trades into data/real/, where every command finds them."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from marketmakerl.core.errors import ConfigError
    from marketmakerl.data.fetch import fetch

    loaded = options.settings()
    name = exchange.strip().lower()
    if not name:
        raise ConfigError("say which exchange, e.g. --exchange binance (EXCHANGE=binance)")
    root = out or loaded.data_dir
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with ExitStack() as stack:
        client = _client(stack, name, base_url, timeframe, days)
        bar = Progress(*columns, console=Console(stderr=True), disable=as_json)
        stack.callback(bar.stop)
        tasks: dict[str, Any] = {}

        def show(kind: str, done: int, total: int) -> None:
            bar.start()
            if kind not in tasks:
                tasks[kind] = bar.add_task(kind.replace("_", " "), total=total)
            bar.update(tasks[kind], completed=done, total=total)

        kinds = [kind.strip() for kind in what.split(",") if kind.strip()]
        files = fetch(name, symbol.strip(), timeframe, days, root, kinds, client, show)
        tier = client.tier
    found = [_describe(path) for path in files]
    if as_json:
        options.print_json({"exchange": name, "symbol": symbol, "tier": tier, "files": found})
        return 0
    for one in found:
        typer.echo(f"{one['file']}: {one['rows']:,} rows, {one['first']} .. {one['last']} ({tier})")
    return 0


fetch_data.__doc__ = f"{fetch_data.__doc__}\n\n{_EXAMPLE}"


def _client(stack: ExitStack, exchange: str, base_url: str, timeframe: str, days: float) -> PublicClient:
    """Return a client; for `sim` without a URL, of a venue that lives as long as this command."""
    from marketmakerl.data.catalog import SIMULATED_EXCHANGE, timeframe_ms
    from marketmakerl.data.real_market_data import PublicClient

    if exchange == SIMULATED_EXCHANGE and not base_url and timeframe_ms(timeframe) and 0 < days <= 366:
        from marketmakerl.realtime.exchange_sim import ExchangeSim

        bars = max(round(days * 1440), (timeframe_ms(timeframe) or 0) // 60_000, 1)
        base_url = stack.enter_context(ExchangeSim.embedded(history_bars=bars)).base_url
    return stack.enter_context(PublicClient(exchange, base_url=base_url or None))


def _describe(path: Path) -> dict[str, Any]:
    import pyarrow.parquet as pq

    from marketmakerl.core.artifacts import sha256_of
    from marketmakerl.core.clock import NS_PER_MS, iso_utc

    names = pq.read_schema(path).names
    scale, column = (NS_PER_MS, "ts_ms") if "ts_ms" in names else (1, "ts_ns")
    if column == "ts_ns" and "is_snapshot" in names:
        column = "ts_local_ns"
    times = pq.read_table(path, columns=[column]).column(0)
    first, last = (iso_utc(int(times[row].as_py()) * scale) for row in (0, len(times) - 1))
    return {"file": str(path), "rows": len(times), "first": first, "last": last, "sha256": sha256_of(path)}
