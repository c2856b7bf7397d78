"""Several tick engines on one account: their records side by side, driven in one order of time."""

from __future__ import annotations

import contextlib
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from numba.core.errors import NumbaExperimentalFeatureWarning

from marketmakerl.backtesting.layout import MEMORY, NEVER, PARAMS, STATE, Stop, new_record
from marketmakerl.backtesting.portfolio_step import ACCOUNT, MEMBER, advance_together
from marketmakerl.core.errors import ConfigError
from marketmakerl.models.contract import CONTEXT, MAX_INSTRUMENTS
from marketmakerl.risk.limits import RISK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from marketmakerl.backtesting.engine import Engine
    from marketmakerl.data.tape import EventTape


class PortfolioEngine:
    """Tick engines that share cash and risk budget.

    Attributes:
        engines: one an instrument, in the order in which they go at equal times.
        account: the ACCOUNT record.
    """

    def __init__(self, engines: list[Engine], opening_equity: list[float]) -> None:
        """Put fresh engines on one account.

        Args:
            engines: 1 to `MAX_INSTRUMENTS`, each opened with its share of the cash.
            opening_equity: what each brings along, until its first two-sided book values it: cash, and on spot the
                inventory at the price it was bought at.

        Raises:
            ConfigError: none, or too many engines.
        """
        if not 1 <= len(engines) <= MAX_INSTRUMENTS:
            raise ConfigError(f"a portfolio takes 1 to {MAX_INSTRUMENTS} instruments, got {len(engines)}")
        n = len(engines)
        self.engines = engines
        self._records = [np.zeros(n, dtype).view(np.recarray) for dtype in (STATE, MEMORY, PARAMS, RISK, CONTEXT)]
        for j, engine in enumerate(engines):
            engine.move_to([records[j : j + 1] for records in self._records], j)
        params = self._records[2]
        params["shared"] = int(n > 1)
        for j, engine in enumerate(engines):
            params[j].decisions_meet = int(n > 1 and engine.decisions_read_account)
            params[j].requests_meet = int(n > 1 and engine.sends_need_cash)
        self._members = np.zeros(n, MEMBER).view(np.recarray)
        self._members["opening_equity"] = opening_equity
        self.account = new_record(ACCOUNT)
        self.account.n = n
        parameters = [engine.model_params for engine in engines]
        ends = np.cumsum([len(one) for one in parameters])
        self._members["params_end"] = ends
        self._members["params_first"][1:] = ends[:-1]
        self._model_params = np.concatenate(parameters)
        kernels = [engine.kernel for engine in engines]
        self._kernels = tuple(kernels + kernels[:1] * (MAX_INSTRUMENTS - n))

    def run(self, tapes: list[EventTape]) -> None:
        """Go through one whole tape an engine, and end the session; each ends with its own tape.

        Raises:
            DataFormatError: a row no tick tape may have.
        """
        for engine, tape, member in zip(self.engines, tapes, self._members, strict=True):
            engine.begin(tape)
            member["until_ns"] = int(engine.state.last_ns)
        go_on: Any = advance_together
        while True:
            with self._asking(), warnings.catch_warnings():
                # numba calls functions as arguments experimental, but only where they come in a tuple.
                warnings.simplefilter("ignore", NumbaExperimentalFeatureWarning)
                stop = go_on(self.account, *self._records, self._members, self._kernels, self._model_params)
            if stop == Stop.DONE:
                break
            self.engines[int(self.account.at)].carry_on(stop)
        for engine in self.engines:
            engine.state.due.limit_ns = NEVER
            engine.state.due.may_act = 1
            engine.end()
            engine.finish()

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        """Call the kernel within: what a model raises comes out as a `ModelError`; who, the account knows then."""
        try:
            yield
        except Exception as error:
            with self.engines[int(self.account.at)].asking():
                raise error  # noqa: TRY201  (within the context that names the model)
