"""`mml`: parse, call, print. Errors are one line on stderr and an exit code (see `marketmakerl.core.errors`)."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from marketmakerl import __version__
from marketmakerl.cli import (
    ablate,
    backtest,
    calibrate,
    campaign,
    compare,
    data,
    doctor,
    economics,
    exchange_sim,
    explain,
    fetch,
    fidelity,
    gate,
    halt,
    live,
    optimum,
    queue_truth,
    realtime_paper,
    research_budgets,
    simulate,
    stress,
    walk_forward,
    warm,
)
from marketmakerl.core import first_use
from marketmakerl.core.errors import MarketMakerLError

INTERRUPTED = 130  # 128 + SIGINT, as shells report it
TERMINATED = 143  # 128 + SIGTERM
_INTERRUPT = "interrupted; a campaign keeps what had finished, and the same command goes on from there"

app = typer.Typer(
    name="mml",
    help="Would this quoting model have made money after fees, queue, latency and bad luck? It never places an order.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command("campaign")(campaign.campaign)
app.command("backtest")(backtest.backtest)
app.command("calibrate")(calibrate.calibrate)
app.command("research-budgets")(research_budgets.research_budgets)
app.command("queue-truth")(queue_truth.queue_truth)
app.command("walk-forward")(walk_forward.walk_forward)
app.command("economics")(economics.economics)
app.command("fidelity")(fidelity.fidelity)
app.command("stress")(stress.stress)
app.command("ablate")(ablate.ablate)
app.command("explain")(explain.explain)
app.command("simulate")(simulate.simulate)
app.command("compare")(compare.compare)
app.command("optimum")(optimum.optimum)
app.command("gate")(gate.gate)
app.add_typer(data.app, name="data")
app.command("realtime-paper")(realtime_paper.realtime_paper)
app.command("halt")(halt.halt)
app.command("fetch-data")(fetch.fetch_data)
app.command("exchange-sim")(exchange_sim.exchange_sim)
app.command("live")(live.live)
app.command("doctor")(doctor.doctor)
app.command("warm")(warm.warm)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mml {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what happens to stderr.")] = False,
    version: Annotated[  # noqa: ARG001  (typer calls its callback)
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    if verbose:
        os.environ["MML_LOG_LEVEL"] = "info"


def main(argv: list[str] | None = None) -> None:
    """Run one command and exit with its code."""
    first_use.say = lambda message: typer.echo(f"mml: {message}", err=True)
    signal.signal(signal.SIGTERM, _on_terminate)
    sys.exit(run(argv))


def run(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    try:
        code: Any = app(args=argv, prog_name="mml", standalone_mode=False)
    except MarketMakerLError as error:
        return _fail(str(error), error.exit_code)
    except TyperException as error:
        return _usage(error)
    except (KeyboardInterrupt, typer.Abort):
        return _fail(_INTERRUPT, INTERRUPTED)
    except BrokenPipeError:  # the reader of a pipe went away: not our failure, and nothing more to say to it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001  (the last line of defence: one line, not a page)
        if os.environ.get("MML_DEBUG"):
            traceback.print_exc()
        return _fail(f"internal: {type(error).__name__}: {error} (MML_DEBUG=1 shows where; please report it)", 1)
    if code == INTERRUPTED:  # typer turns Ctrl-C into this code and says nothing
        return _fail(_INTERRUPT, INTERRUPTED)
    return code if isinstance(code, int) else 0


def _usage(error: TyperException) -> int:
    """Say what was wrong with the command line; a command group without a command asks for its help."""
    text = error.format_message() if hasattr(error, "format_message") else str(error)
    if text.startswith("Usage:"):
        typer.echo(text)
        return 0
    context = getattr(error, "ctx", None)
    return _fail(f"{text} (see {context.command_path if context else 'mml'} --help)", 2)


def _fail(message: str, code: int) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)  # noqa: T201  (stderr, one line)
    return code


def _on_terminate(_signum: int, _frame: object) -> None:
    raise SystemExit(TERMINATED)


if __name__ == "__main__":
    main()
