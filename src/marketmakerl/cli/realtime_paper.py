"""`mml realtime-paper`: quotes from public exchange data, on paper."""

from __future__ import annotations

import signal
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from marketmakerl.cli import options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from marketmakerl.realtime.paper import PaperSession
    from marketmakerl.reporting.paper_view import View


def realtime_paper(
    exchange: Annotated[str, typer.Option(help="Exchange; sim is the embedded simulator.")] = "sim",
    symbol: options.Symbol = "BTC/USDT",
    timeframe: Annotated[str, typer.Option(help="Bars that decisions are taken on.")] = "1m",
    iterations: Annotated[int, typer.Option(help="Polls of the exchange.")] = 20,
    poll_s: Annotated[float, typer.Option(help="Seconds between polls; the embedded simulator does not wait.")] = 5.0,
    model: options.Model = "avellaneda_stoikov",
    param: options.Params = None,
    seed: options.Seed = 0,
    budget: options.Budget = 10_000.0,
    maker_bps: options.MakerBps = None,
    taker_bps: options.TakerBps = None,
    limit: options.Limits = None,
    warmup_bars: Annotated[int, typer.Option(help="Bars that set the model's parameters and are not traded.")] = 240,
    base_url: Annotated[str, typer.Option(help="Send requests here instead, e.g. to a running mml exchange-sim.")] = "",
    artifacts: options.Artifacts = None,
    as_json: options.Json = False,
) -> int:
    """Quote on paper from public exchange data; every event, quote and fill goes to a journal. No order is ever sent.

    Example: mml realtime-paper --exchange binance --symbol BTC/USDT --timeframe 1m --iterations 20
    """
    from marketmakerl.core.clock import SystemClock
    from marketmakerl.core.instruments import lookup
    from marketmakerl.data.real_market_data import PublicClient
    from marketmakerl.realtime.paper import PaperConfig, PaperSession, journal_name

    loaded = options.settings()
    exchange = exchange.strip().lower()
    embedded = exchange == "sim" and not base_url
    config = PaperConfig(
        exchange=exchange,
        symbol=symbol,
        timeframe=timeframe,
        iterations=iterations,
        poll_s=0.0 if embedded else poll_s,
        session=options.trading_session(
            loaded,
            exchange,
            model,
            param,
            budget=budget,
            maker_bps=maker_bps,
            taker_bps=taker_bps,
            warmup_bars=warmup_bars,
            limits=limit,
        ),
        tier="T2" if exchange == "sim" or base_url else "T3",  # another host is no exchange, whatever it is called
    )
    config.check()
    instrument = lookup(exchange, symbol, overrides=loaded.instruments_overrides)
    home = artifacts or loaded.artifacts_dir
    journal = home / "realtime" / journal_name(exchange, instrument.symbol, SystemClock())
    with ExitStack() as stack:
        url, clock, step = base_url or None, SystemClock(), None
        if embedded:
            url, clock, step = _start_simulator(stack, seed, warmup_bars, timeframe)
        client = stack.enter_context(PublicClient(exchange, base_url=url, clock=clock))
        show = None if as_json else stack.enter_context(_display(exchange, instrument.symbol, config.tier))
        session = PaperSession(config, client, instrument, journal, clock=clock, step_venue=step, show=show)
        with _stopped_by_signals(session):
            metrics = session.run()
    document = {
        "journal": str(journal),
        "tier": config.tier,
        "stopped": session.stopped,
        "metrics": metrics.model_dump(),
    }
    if as_json:
        options.print_json(document)
    else:
        _print_end(document)
    return 0


def _start_simulator(
    stack: ExitStack, seed: int, warmup_bars: int, timeframe: str
) -> tuple[str, Any, Callable[[], None]]:
    """Start the embedded venue; its clock stands still and moves one bar before each poll."""
    from marketmakerl.core.errors import ConfigError
    from marketmakerl.data.catalog import timeframe_ms
    from marketmakerl.realtime.exchange_sim import ExchangeSim

    interval_ms = timeframe_ms(timeframe)
    if interval_ms is None or interval_ms % 60_000:
        raise ConfigError(f"the simulator trades in whole minutes; TIMEFRAME {timeframe!r} is none")
    minutes = interval_ms // 60_000
    sim = stack.enter_context(ExchangeSim.embedded(seed, history_bars=(warmup_bars + 3) * minutes))
    return sim.base_url, sim.clock, lambda: sim.step(interval_ms / 1000)


@contextmanager
def _stopped_by_signals(session: PaperSession) -> Iterator[None]:
    """Let SIGINT and SIGTERM end the session cleanly, with its closing record."""
    before = {number: signal.signal(number, lambda *_: session.stop()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _display(exchange: str, symbol: str, tier: str) -> Iterator[Callable[[View], None]]:
    """Show the session: a live panel on a terminal, else one line a poll."""
    from rich.console import Console
    from rich.live import Live

    from marketmakerl.reporting.paper_view import line, panel

    console = Console()
    if not console.is_terminal:
        yield lambda view: typer.echo(line(view))
        return
    with Live(console=console, auto_refresh=False) as live:
        yield lambda view: live.update(panel(view, f"{exchange} {symbol}", tier), refresh=True)


def _print_end(document: dict[str, Any]) -> None:
    metrics = document["metrics"]
    kind = "simulated venue (T2)" if document["tier"] == "T2" else "live public data (T3)"
    typer.echo(f"Bars, {kind}: a quote fills only where the next bar trades through it. No order was sent.")
    typer.echo(
        f"pnl {metrics['pnl']:,.2f} ({metrics['return_pct']:.2%} of the budget), {metrics['fills']} fills, "
        f"fees {metrics['fees_paid']:,.2f}, worst drawdown {metrics['max_drawdown_pct']:.2%}"
    )
    if metrics["no_fills_because"]:
        typer.echo(f"no fills: {metrics['no_fills_because']}")
    typer.echo(f"Journal: {document['journal']}")
