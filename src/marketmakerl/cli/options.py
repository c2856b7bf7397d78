"""Options that several commands share, and what they turn into."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from marketmakerl.backtesting.session import Session
    from marketmakerl.backtesting.tick_session import TickRules
    from marketmakerl.core.settings import Settings
    from marketmakerl.data.market import MarketRequest

Exchange = Annotated[
    str, typer.Option(help="Exchange of the data, e.g. binanceusdm. Without data: the embedded synthetic market.")
]
Symbol = Annotated[str, typer.Option(help="Symbol, e.g. BTC/USDT.")]
Data = Annotated[
    Path | None, typer.Option(help="Folder of recorded data, a Parquet file (klines, or a book), or a tape.")
]
Timeframe = Annotated[str, typer.Option(help="Bars to use: 1m, 5m, 15m, 1h ...")]
Days = Annotated[float | None, typer.Option(help="Only the last so many days.")]
Model = Annotated[
    str,
    typer.Option(
        help="Quoting model: avellaneda_stoikov, cartea_jaimungal, glft, glft_imbalance, glft_microprice, rl_enhanced, "
        "symmetric; or one of your own, path.py:name, e.g. quotes.py:leaning (docs/custom-model.md)."
    ),
]
Seed = Annotated[int, typer.Option(help="First seed.")]
Budget = Annotated[float, typer.Option(help="Opening equity of a run, quote currency.")]
MakerBps = Annotated[float | None, typer.Option(help="Maker fee in basis points; default: the exchange's table.")]
TakerBps = Annotated[float | None, typer.Option(help="Taker fee in basis points.")]
Params = Annotated[
    list[str] | None,
    typer.Option(
        "--param",
        metavar="name=value",
        help="Fix a model parameter, e.g. --param half_spread=20; of a function of your own by number: --param 0=20.",
    ),
]
Limits = Annotated[
    list[str] | None,
    typer.Option(
        "--limit",
        metavar="name=value",
        help="Change a risk limit (docs/risk.md): --limit hard_drawdown_pct=0.12, --limit take_profit_pct=none (off), "
        "--limit all=none (everything off but what is set behind it).",
    ),
]
Clock = Annotated[
    str,
    typer.Option(
        help="bars or ticks (book and trades); default: what a file holds, and bars from a folder.",
    ),
]
Trades = Annotated[
    str,
    typer.Option(
        help="Ticks: trades of the book file, none for a book without; default: those beside it in ../trades.",
    ),
]
LatencyMs = Annotated[
    float | None,
    typer.Option(help="Ticks: milliseconds from us to the exchange, and as many back; default 0, which flatters."),
]
EntryLatencyMs = Annotated[float | None, typer.Option(help="Ticks: milliseconds to the exchange, if another.")]
ResponseLatencyMs = Annotated[float | None, typer.Option(help="Ticks: milliseconds back from it, if another.")]
QueueName = Annotated[
    str,
    typer.Option(
        "--queue",
        help="Ticks: how orders move up the queue: risk_averse (the default, pessimistic), log, log2, power, power2, "
        "front (optimistic), or fifo (exact, for tapes of single orders).",
    ),
]
QuoteIntervalMs = Annotated[
    float | None, typer.Option(help="Ticks: ask the model every so many milliseconds; default 100.")
]
QuoteOn = Annotated[
    str,
    typer.Option(metavar="EVENTS", help="Ticks: ask the model on events: all, or some of depth,bbo,trade,response."),
]
WarmupShare = Annotated[
    float | None,
    typer.Option(help="Ticks: share of the time that sets the model's parameters and is not traded; default 0.2."),
]
Manifest = Annotated[str, typer.Option("--manifest", help="Repeat an earlier one: a folder, a run id, or latest.")]
Artifacts = Annotated[Path | None, typer.Option(help="Where results go; default: artifacts/.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")]

LARGE_FILE = 32 << 20  # bytes; less is read in about a second


def settings() -> Settings:
    """Read the settings and turn logging on as they say."""
    from marketmakerl.core import log
    from marketmakerl.core.settings import load_settings

    loaded = load_settings()
    log.configure(loaded.log_level)
    return loaded


def market_request(
    loaded: Settings,
    exchange: str,
    symbol: str,
    data: Path | None,
    timeframe: str,
    days: float | None,
    *,
    clock: str = "",
    trades: str = "",
) -> MarketRequest:
    """Return what the market options ask for."""
    from marketmakerl.data.market import MarketRequest

    return MarketRequest(
        exchange=exchange.strip().lower(),
        symbol=symbol.strip(),
        data=data,
        timeframe=timeframe,
        days=days,
        catalog_dir=loaded.data_dir,
        instruments_file=loaded.instruments_overrides,
        fees_file=loaded.fees_file,
        clock=clock.strip().lower(),
        trades=trades,
    )


def tick_rules(
    *,
    latency_ms: float | None,
    entry_latency_ms: float | None,
    response_latency_ms: float | None,
    queue: str,
    quote_interval_ms: float | None,
    quote_on: str,
    warmup_share: float | None,
) -> TickRules | None:
    """Return what the options for ticks ask for; None if none was given."""
    from marketmakerl.backtesting.tick_session import TickRules

    given: dict[str, Any] = {
        "entry_latency_ms": latency_ms if entry_latency_ms is None else entry_latency_ms,
        "response_latency_ms": latency_ms if response_latency_ms is None else response_latency_ms,
        "queue": queue or None,
        "quote_interval_ms": quote_interval_ms,
        "quote_on": tuple(name.strip() for name in quote_on.split(",")) if quote_on else None,
        "warmup_share": warmup_share,
    }
    given = {name: value for name, value in given.items() if value is not None}
    return TickRules(**given) if given else None


def trading_session(
    loaded: Settings,
    exchange: str,
    model: str,
    params: list[str] | None,
    *,
    budget: float,
    maker_bps: float | None,
    taker_bps: float | None,
    warmup_bars: int,
    limits: list[str] | None = None,
) -> Session:
    """Return a session with the exchange's fees, or those given."""
    from marketmakerl.backtesting.session import Session
    from marketmakerl.core.fees import Fees

    session = Session(
        fees=Fees.choose(exchange, maker_bps=maker_bps, taker_bps=taker_bps, overrides=loaded.fees_file),
        model=model,
        model_params=model_params(params),
        budget=budget,
        warmup_bars=warmup_bars,
        limits=risk_limits(limits),
    )
    session.check()
    return session


def model_params(texts: list[str] | None) -> dict[str, float | str]:
    """Parse name=value texts; a value that is no number stays a text, for the model to judge.

    Raises:
        ConfigError: not of that form.
    """
    from marketmakerl.core.errors import ConfigError

    params: dict[str, float | str] = {}
    for text in texts or []:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (name and equals and value):
            raise ConfigError(f"--param {text!r} is not name=number, e.g. half_spread=20")
        try:
            params[name] = float(value)
        except ValueError:
            params[name] = value
    return params


def risk_limits(texts: list[str] | None) -> dict[str, Any]:
    """Parse name=value texts into arguments of `RiskLimits`: numbers, true, false, none, or windows parted by commas.

    Raises:
        ConfigError: not of that form.
    """
    from marketmakerl.core.errors import ConfigError
    from marketmakerl.risk.limits import OFF

    limits: dict[str, Any] = {}
    for text in texts or []:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (name and equals and value):
            raise ConfigError(f"--limit {text!r} is not name=value, e.g. hard_drawdown_pct=0.12")
        if (name, value) == ("all", "none"):
            limits |= OFF
        else:
            limits[name] = _limit_value(name, value)
    return limits


def _limit_value(name: str, value: str) -> Any:
    if name == "flat_windows":
        return () if value == "none" else tuple(part.strip() for part in value.split(","))
    if value in ("none", "true", "false"):
        return {"none": None, "true": True, "false": False}[value]
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(value)
    return value


@contextlib.contextmanager
def bytes_read(file: Path) -> Iterator[Callable[[int], None] | None]:
    """Show on stderr how much of a large file has been read; None, and nothing shown, for a small one."""
    if not file.is_file() or file.stat().st_size < LARGE_FILE:
        yield None
        return
    from rich.console import Console
    from rich.progress import DownloadColumn, Progress, TextColumn, TimeElapsedColumn, TransferSpeedColumn

    columns = (TextColumn("reading"), DownloadColumn(), TransferSpeedColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("", total=None)
        yield lambda count: shown.advance(task, count)


def print_json(document: Any) -> None:
    """Print one JSON document on stdout."""
    from marketmakerl.core.artifacts import to_json

    typer.echo(to_json(document, indent=True).decode(), nl=False)
