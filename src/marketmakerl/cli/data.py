"""`mml data`: what recorded data there is, whether it is sound, and the tables that describe venues."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  (typer reads annotations at run time)
from typing import TYPE_CHECKING, Annotated

import typer

from marketmakerl.cli import options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from marketmakerl.data.quality import Finding

app = typer.Typer(help="Recorded data: list, check, import and export.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_data(
    data: Annotated[Path | None, typer.Option(help="Catalog folder; default: data/.")] = None,
    kind: Annotated[str, typer.Option(help="Only this kind: klines, trades, book, bbo, l3, funding, tape.")] = "",
    as_json: options.Json = False,
) -> int:
    """List the data sets of a catalog and the tapes below it, with rows and span.

    Example: mml data list --data ../shared/data --kind klines
    """
    from marketmakerl.data.listing import entries

    loaded = options.settings()
    found = entries(data or loaded.data_dir, kind)
    if as_json:
        options.print_json([
            {"exchange": e.exchange, "symbol": e.symbol, "kind": e.kind, "timeframe": e.timeframe, "tier": e.tier,
             "file": e.path.name, "sha256": e.sha256, "rows": e.rows, "first": e.first, "last": e.last}
            for e in found
        ])  # fmt: skip
        return 0
    rows = [
        (e.exchange, e.symbol, e.kind, e.timeframe, e.tier, str(e.rows), e.first[:16], e.last[:16], e.path.name)
        for e in found
    ]
    _print_table(("exchange", "symbol", "kind", "timeframe", "tier", "rows", "first", "last", "file"), rows, narrow=2)
    return 0


_ROOMY = 120  # columns of a terminal


def _print_table(names: tuple[str, ...], rows: Sequence[tuple[str, ...]], *, narrow: int = 0) -> None:
    """Print a table whose cells are folded where the terminal is narrow and never cut; a pipe has all the room.

    In a narrow terminal the first `narrow` columns are left out: the names in the last one say the same.
    """
    import os

    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(markup=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        widest = [max(len(row[i]) for row in [names, *rows]) for i in range(len(names))]
        console = Console(width=sum(widest) + 3 * len(names) + 1, markup=False)
    roomy = console.width >= _ROOMY or not narrow
    table = Table(box=box.HEAVY_HEAD if roomy else box.SIMPLE_HEAD)
    for name in names if roomy else names[narrow:]:
        is_time = name in {"first", "last"}
        table.add_column(name, overflow="fold", max_width=10 if is_time and not roomy else None)
    for row in rows:
        table.add_row(*(row if roomy else row[narrow:]))
    console.print(table)


@app.command("check")
def check_data(
    file: Annotated[Path, typer.Argument(help="Parquet (klines, book, bbo, trades), a tape, or hftbacktest's .npz.")],
    exchange: Annotated[str, typer.Option(help="Ticks: whose tick and lot; default: what the file's name says.")] = "",
    symbol: Annotated[str, typer.Option(help="Ticks: the symbol on it.")] = "",
    as_json: options.Json = False,
) -> int:
    """Check a file of recorded data and list every finding; exits 5 if one of them makes it unusable.

    Example: mml data check ../shared/data/book/binance_BTCUSDT_2024-08-08T2354_l2.parquet
    """
    from marketmakerl.data.checking import KLINES, check_ticks_file, kind_of

    loaded = options.settings()
    kind = kind_of(file)
    if kind == KLINES:
        return _check_klines(file, as_json)
    names = {"exchange": exchange.strip().lower(), "symbol": symbol.strip()}
    report = check_ticks_file(file, kind, **names, instruments_file=loaded.instruments_overrides)
    told = report.as_dict()
    if as_json:
        options.print_json(told)
        return 5 if told["errors"] else 0
    _print_findings(report.findings)
    typer.echo(f"{kind}, {told['first']} to {told['last']}, clock offset {report.clock_offset_ns} ns")
    for name, count in told["counts"].items():
        typer.echo(f"  {name}: {count}")
    for name, fact in report.facts.items():
        typer.echo(f"  {name}: {fact}")
    typer.echo(f"{report.rows} rows, {told['errors']} errors, {told['warnings']} warnings")
    return 5 if told["errors"] else 0


def _check_klines(file: Path, as_json: bool) -> int:
    from dataclasses import asdict

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
    _print_findings(report.findings)
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


def _print_findings(findings: Sequence[Finding]) -> None:
    from marketmakerl.core.clock import NS_PER_MS, iso_utc

    if not findings:
        return
    rows = [
        (f.severity, f.code, str(f.row), "" if f.ts_ms is None else iso_utc(f.ts_ms * NS_PER_MS), f.message)
        for f in sorted(findings, key=lambda finding: finding.row)
    ]
    _print_table(("severity", "code", "row", "time", "finding"), rows)


@app.command("export")
def export_data(
    file: Annotated[Path, typer.Argument(help="A tape.")],
    to: Annotated[str, typer.Option("--to", help="parquet (book, trades, bbo), npz (hftbacktest) or csv.")],
    out: Annotated[Path, typer.Option("--out", help="parquet: a folder; npz, csv: a file.")],
    as_json: options.Json = False,
) -> int:
    """Write a tape as files of others; parquet and npz give the same tape back, row for row.

    Example: mml data export binance_BTCUSDT_2024-08-08.tape --to parquet --out exported
    """
    from marketmakerl.data.tape import EventTape
    from marketmakerl.data.tape_export import export

    options.settings()
    written = export(EventTape.load(file), to, out, stem=file.stem)
    if as_json:
        files = [str(path) for path in written.files]
        options.print_json({"to": to, "rows": written.rows, "files": files, "notes": written.notes})
        return 0
    for path in written.files:
        typer.echo(path)
    for text, count in written.notes.items():
        typer.echo(f"{count} {text}", err=True)
    typer.echo(f"{written.rows} rows")
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
