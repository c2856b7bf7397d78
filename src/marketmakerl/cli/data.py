"""`mml data`: what recorded data there is, whether it is sound, and the tables that describe venues."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  (typer reads annotations at run time)
from typing import Annotated

import typer

from marketmakerl.cli import options

app = typer.Typer(help="Recorded data: list, check and import.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_data(
    data: Annotated[Path | None, typer.Option(help="Catalog folder; default: data/.")] = None,
    kind: Annotated[str, typer.Option(help="Only this kind: klines, trades, book, bbo, l3, funding.")] = "",
    as_json: options.Json = False,
) -> int:
    """List the data sets of a catalog.

    Example: mml data list --data ../shared/data --kind klines
    """
    from rich.console import Console
    from rich.table import Table

    from marketmakerl.data.catalog import Catalog

    loaded = options.settings()
    found = [d for d in Catalog(data or loaded.data_dir).data_sets if kind in {"", d.kind}]
    if as_json:
        options.print_json([
            {"exchange": d.exchange, "symbol": d.symbol, "kind": d.kind, "timeframe": d.timeframe, "tier": d.tier,
             "file": d.path.name, "sha256": d.sha256}
            for d in found
        ])  # fmt: skip
        return 0
    table = Table("exchange", "symbol", "kind", "timeframe", "tier", "file")
    for d in found:
        table.add_row(d.exchange, d.symbol, d.kind, d.timeframe, d.tier, d.path.name)
    Console().print(table)
    return 0


@app.command("check")
def check_data(
    file: Annotated[Path, typer.Argument(help="A klines Parquet file.")],
    as_json: options.Json = False,
) -> int:
    """Check a klines file and list every finding; exits 5 if one of them makes it unusable.

    Example: mml data check ../shared/data/klines/binance_BTCUSDT_1m_2023-01-01_2023-12-31.parquet
    """
    from dataclasses import asdict

    from rich.console import Console
    from rich.table import Table

    from marketmakerl.core.clock import NS_PER_MS, iso_utc
    from marketmakerl.data.catalog import parse_name, timeframe_ms
    from marketmakerl.data.klines import read_klines_file
    from marketmakerl.data.quality import check_klines

    named = parse_name(file, "klines")
    report = check_klines(read_klines_file(file), timeframe_ms(named.timeframe) if named else None)
    if as_json:
        options.print_json({
            "rows": report.rows,
            "errors": len(report.errors),
            "warnings": len(report.warnings),
            "findings": [asdict(finding) for finding in report.findings],
        })  # fmt: skip
        return 5 if report.errors else 0
    table = Table("severity", "code", "row", "time", "finding")
    for finding in report.findings:
        when = "" if finding.ts_ms is None else iso_utc(finding.ts_ms * NS_PER_MS)
        table.add_row(finding.severity, finding.code, str(finding.row), when, finding.message)
    if report.findings:
        Console().print(table)
    typer.echo(f"{report.rows} rows, {len(report.errors)} errors, {len(report.warnings)} warnings")
    return 5 if report.errors else 0


@app.command("import")
def import_data(
    file: Annotated[Path, typer.Argument(help="What was recorded: plain, gzip or zip.")],
    exchange: Annotated[str, typer.Option(help="Exchange, e.g. binanceusdm.")],
    symbol: Annotated[str, typer.Option(help="Symbol, e.g. BTC/USDT.")],
    out: Annotated[Path, typer.Option(help="The tape to write, e.g. day.tape.")],
    format_name: Annotated[
        str, typer.Option("--format", help="Format of the file; auto: told by how it begins.")
    ] = "auto",
    trades: Annotated[
        Path | None, typer.Option(help="Trades, for formats that keep them in a file of their own.")
    ] = None,
    day: Annotated[str, typer.Option(help="Day whose tick and lot hold; default: that of the first time in it.")] = "",
    as_json: options.Json = False,
) -> int:
    """Make a tape of recorded streams, and say what was read, ignored, repaired and refused; exits 5 if nothing usable.

    Example: mml data import capture.gz --exchange binanceusdm --symbol BTC/USDT --out day.tape
    """
    from rich.console import Console

    from marketmakerl.core.instruments import lookup, native_symbol
    from marketmakerl.data.importers import AUTO, detect, first_day, import_file
    from marketmakerl.reporting.import_tables import import_tables

    loaded = options.settings()
    overrides = loaded.instruments_overrides
    instrument = lookup(exchange, symbol, at=day or first_day(file), overrides=overrides)
    with options.bytes_read(file) as progress:
        tape, report = import_file(
            file,
            instrument,
            format_name=detect(file) if format_name == AUTO else format_name,
            symbol=native_symbol(exchange, symbol, overrides=overrides),
            trades=trades,
            progress=progress,
        )
    tape.meta["exchange"] = exchange.strip().lower()
    tape.save(out)
    if as_json:
        options.print_json({"tape": str(out), "rows": len(tape), "meta": tape.meta, "report": report.as_dict()})
        return 0
    for table in import_tables(tape, report, out):
        Console().print(table)
    return 0


@app.command("fees")
def check_fees(
    exchange: Annotated[str, typer.Argument(help="Exchange, e.g. binanceusdm.")],
    as_json: options.Json = False,
) -> int:
    """Compare the shipped fee table with what ccxt says of an exchange; ccxt is never the source.

    Example: mml data fees binanceusdm
    """
    from dataclasses import asdict

    from marketmakerl.data.fee_check import cross_check

    findings = cross_check(exchange)
    if as_json:
        options.print_json([asdict(finding) for finding in findings])
        return 0
    for finding in findings:
        typer.echo(str(finding))
    return 0


@app.command("instruments")
def list_instruments(
    exchange: Annotated[str, typer.Argument(help="Exchange, e.g. binanceusdm.")],
    refresh: Annotated[bool, typer.Option("--refresh", help="Ask the exchange first, and keep what changed.")] = False,
    as_json: options.Json = False,
) -> int:
    """List tick, lot, contract and minimum notional of an exchange's instruments, from the table or refreshed.

    Example: mml data instruments binanceusdm --refresh
    """
    from rich.console import Console
    from rich.table import Table

    from marketmakerl.core.instruments import known_symbols, lookup

    loaded = options.settings()
    exchange = exchange.strip().lower()
    if refresh:
        _refresh_instruments(exchange, loaded.instruments_home)
    overrides = loaded.instruments_overrides
    found = [lookup(exchange, symbol, overrides=overrides) for symbol in known_symbols(exchange, overrides=overrides)]
    if as_json:
        options.print_json([instrument.as_dict() for instrument in found])
        return 0
    table = Table("symbol", "kind", "tick", "lot", "contract", "min notional")
    for i in found:
        numbers = (i.tick_size, i.lot_size, i.contract_size, i.min_notional)
        table.add_row(i.symbol, i.kind, *(f"{number:.10g}" for number in numbers))
    Console().print(table)
    return 0


def _refresh_instruments(exchange: str, path: Path) -> None:
    from marketmakerl.data.instrument_refresh import refresh
    from marketmakerl.data.real_market_data import PublicClient

    with PublicClient(exchange) as client:
        converted = refresh(client, path, exchange=exchange)
    typer.echo(
        f"{len(converted.rows)} instruments of {exchange} read, {len(converted.refused)} refused: {path}", err=True
    )
    for refused in converted.refused:
        typer.echo(f"refused {': '.join(refused)}", err=True)
