"""The offline venue: Binance's public REST protocol on 127.0.0.1, for the unmodified ccxt client.

    with ExchangeSim.embedded(seed=7) as sim:
        client = PublicClient("sim", base_url=sim.base_url)      # or "binance", "binanceusdm"

The venue's clock is a `Clock`. A `ManualClock` stands still until its owner moves it (`sim.step`), so a session polls
as fast as it can and sees the same market every time; a `MarketClock` runs with the wall clock, faster if told to.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import orjson

from marketmakerl.core.clock import NS_PER_MS, NS_PER_S, Clock, ManualClock, SystemClock
from marketmakerl.core.errors import ConfigError
from marketmakerl.core.rng import generator
from marketmakerl.data.tape import Kind
from marketmakerl.realtime.sim_market import SimMarket
from marketmakerl.realtime.sim_protocol import BinanceRest, Reply
from marketmakerl.realtime.sim_server import STOP_WITHIN_S, Server
from marketmakerl.realtime.sim_synthetic import synthetic_markets

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from marketmakerl.data.tape import EventTape

HISTORY_BARS: Final = 1440
_SYNTHETIC_INTERVAL_MS: Final = 60_000


class MarketClock:
    """Time that starts at `start_ns` and runs `speed` times as fast as another clock."""

    def __init__(self, start_ns: int, speed: float = 1.0, base: Clock | None = None) -> None:
        if not 0 < speed <= 1e6:
            raise ConfigError(f"the speed of the venue's clock must be from 0 (excluded) to 1000000, got {speed!r}")
        self._base = base or SystemClock()
        self._base_start_ns = self._base.now_ns()
        self._start_ns = start_ns
        self._speed = speed

    def now_ns(self) -> int:
        """Return the venue's time in nanoseconds UTC."""
        elapsed_ns = self._base.now_ns() - self._base_start_ns
        return self._start_ns + (elapsed_ns if self._speed == 1 else round(elapsed_ns * self._speed))


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong on purpose; nothing by default. Shares are of all requests, drawn in order from `seed`.

    Args:
        latency_ms: added to every answer.
        error_rate: share answered with HTTP 503, as a venue under maintenance does.
        malformed_rate: share whose body is cut in the middle.
        disconnect_rate: share whose connection is closed without an answer.
        throttle_rate: share answered with HTTP 429, "too many requests".
        seed: names the stream the draws come from.

    Raises:
        ConfigError: a share outside 0..1, their sum above 1, or a latency below 0.
    """

    latency_ms: float = 0.0
    error_rate: float = 0.0
    malformed_rate: float = 0.0
    disconnect_rate: float = 0.0
    throttle_rate: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        shares = (self.error_rate, self.malformed_rate, self.disconnect_rate, self.throttle_rate)
        if not all(0 <= share <= 1 for share in shares) or sum(shares) > 1 + 1e-9:
            raise ConfigError(f"the shares of faults must be from 0 to 1 and at most 1 together, got {shares}")
        if not 0 <= self.latency_ms <= 600_000:
            raise ConfigError(f"the latency must be from 0 to 600000 ms, got {self.latency_ms!r}")


class ExchangeSim:
    """An exchange in a thread of this process.

    Args:
        markets: what is traded there.
        clock: the venue's time; None: a `ManualClock` at the end of the first bar.
        host, port: where it listens; port 0 takes a free one. Only addresses of this machine make sense: it has no
            password, as public market data has none.
        faults: see `Faults`.

    Attributes:
        clock: the venue's time.
        requests: how many requests were answered.

    Raises:
        ConfigError: no markets, or the port is taken.
    """

    def __init__(
        self,
        markets: Sequence[SimMarket],
        *,
        clock: Clock | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        faults: Faults | None = None,
    ) -> None:
        self._rest = BinanceRest(markets)
        first = markets[0]
        self.clock = clock or ManualClock((first.start_ms + first.interval_ms) * NS_PER_MS)
        self.requests = 0
        self._address = (host, port)
        self._faults = faults or Faults()
        self._draws = generator(self._faults.seed, "exchange sim", "faults")
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._server: Server | None = None
        self._thread: threading.Thread | None = None

    @classmethod
    def embedded(
        cls, seed: int = 0, *, history_bars: int = HISTORY_BARS, clock: Clock | None = None, **options: Any
    ) -> ExchangeSim:
        """Return the venue of the synthetic market, spot BTC/USDT and perpetual BTC/USDT:USDT.

        Args:
            seed: of the market.
            history_bars: bars that have closed when the venue opens.
            clock: None: a `ManualClock` that stands at the end of the history, on 2024-01-02 unless told otherwise.
                Otherwise the history ends at the clock's present time, cut to the minute.
            options: of `ExchangeSim`.
        """
        _check_history(history_bars)
        start_ms = None if clock is None else _start_ms(clock, history_bars, _SYNTHETIC_INTERVAL_MS)
        markets = synthetic_markets(seed, n_bars=2 * history_bars, start_ms=start_ms)
        return cls(markets, clock=clock or _end_of_history(markets[0], history_bars), **options)

    @classmethod
    def of_tape(
        cls,
        tape: EventTape,
        seed: int = 0,
        *,
        history_bars: int = HISTORY_BARS,
        clock: Clock | None = None,
        **options: Any,
    ) -> ExchangeSim:
        """Return the venue of one recorded series of bars; its market ends with the tape.

        Args:
            tape: compiled from bars of a spot or linear instrument.
            seed: of the trades inside the bars.
            history_bars: as for `embedded`; half of the tape if it is no longer than that.
            clock: as for `embedded`; None keeps the recorded times, otherwise they are moved to the clock's present.
            options: of `ExchangeSim`.
        """
        _check_history(history_bars)
        bars = int((tape.kind == Kind.BAR_CLOSE).sum())
        history_bars = history_bars if history_bars < bars else max(1, bars // 2)
        start_ms = None
        if clock is not None and tape.is_bars:
            start_ms = _start_ms(clock, history_bars, tape.interval_ns // NS_PER_MS)
        market = SimMarket.from_tape(tape, seed=seed, start_ms=start_ms)
        return cls([market], clock=clock or _end_of_history(market, history_bars), **options)

    @property
    def base_url(self) -> str:
        """Return the URL to give to a client as `base_url`; the venue must have been started."""
        if self._server is None:
            raise ConfigError("the offline venue is not running; start it, or use it in a `with` statement")
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    def step(self, seconds: float) -> None:
        """Move a venue whose clock is a `ManualClock` on by so many seconds of market time.

        Raises:
            ConfigError: its clock runs by itself.
        """
        if not isinstance(self.clock, ManualClock):
            raise ConfigError("this venue's clock runs by itself and cannot be stepped")
        self.clock.advance(round(seconds * NS_PER_S))

    def wait(self) -> None:
        """Wait until somebody stops the venue; Ctrl-C interrupts."""
        self._stopping.wait()

    def start(self) -> Self:
        """Listen and answer, in a thread; does nothing if it does already."""
        if self._server is None:
            try:
                self._server = Server(self._address, self._answer)
            except (OSError, OverflowError) as error:
                host, port = self._address
                raise ConfigError(f"cannot listen on {host}:{port} ({error}); name another port (--port 0)") from error
            self._stopping.clear()
            self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
            self._thread.start()
        return self

    def stop(self) -> None:
        """Stop listening, close every connection and wait for the threads."""
        server, thread = self._server, self._thread
        if server is None or thread is None:
            return
        self._stopping.set()
        server.shutdown()
        server.server_close()
        thread.join(STOP_WITHIN_S)
        self._server = self._thread = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _answer(self, method: str, target: str) -> Reply | None:
        """Return the answer to one request; None: hang up."""
        faults = self._faults
        with self._lock:
            self.requests += 1
            draw = float(self._draws.random())
            reply = self._rest.reply(method, target, self.clock.now_ns())
        if faults.latency_ms:
            self._stopping.wait(faults.latency_ms / 1000)
        for rate, fault in (
            (faults.disconnect_rate, lambda _: None),
            (faults.malformed_rate, lambda r: r._replace(body=r.body[: len(r.body) // 2])),
            (faults.error_rate, lambda _: _failure(503, -1001, "Internal error; unable to process your request.")),
            (faults.throttle_rate, lambda _: _failure(429, -1003, "Too many requests.")),
        ):
            if draw < rate:
                return fault(reply)
            draw -= rate
        return reply


def _check_history(bars: int) -> None:
    if bars < 1:
        raise ConfigError(f"the venue needs a history of at least one bar, got {bars}")


def _start_ms(clock: Clock, history_bars: int, interval_ms: int) -> int:
    """Return the time of the first bar of a history that ends at the clock's present, cut to a whole bar."""
    return (clock.now_ns() // NS_PER_MS // interval_ms - history_bars) * interval_ms


def _end_of_history(market: SimMarket, bars: int) -> ManualClock:
    return ManualClock((market.start_ms + bars * market.interval_ms) * NS_PER_MS)


def _failure(status: int, code: int, message: str) -> Reply:
    return Reply(status, orjson.dumps({"code": code, "msg": message}), {"Retry-After": "1"} if status == 429 else {})
