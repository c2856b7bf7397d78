"""The scenarios of `marketmakerl.data.tape_scenarios` in a model world, as far as a world has what they change.

A world has a mid, orders that arrive, a fee and a delay of quotes. It has no feed that could fail, no messages and
nothing that an exchange could reject; there the answer is why not, and no stand-in is run.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from marketmakerl.core.errors import ConfigError, UnknownNameError
from marketmakerl.simulation.fill_curves import Empirical, Exponential, FillCurve, Power
from marketmakerl.simulation.mids import Gaussian, Scripted

if TYPE_CHECKING:
    from collections.abc import Callable

    from marketmakerl.simulation.world import World

BASE_LATENCY_S: Final = 0.005  # what is scaled where a world has no delay of its own
AT: Final = 0.25  # share of the run at which a scenario begins
_WIDER: Final = 10.0
_SLOWER: Final = 50


def stressed_world(world: World, name: str) -> World:
    """Return a world under a scenario; whoever quotes in it still knows the world of before.

    Args:
        world: the world.
        name: a scenario, see `WORLD_SCENARIOS`.

    Raises:
        UnknownNameError: no such scenario.
        ConfigError: this world cannot show it; the message says why.
    """
    if name in NOT_IN_A_WORLD:
        raise ConfigError(NOT_IN_A_WORLD[name])
    if name not in WORLD_SCENARIOS:
        raise UnknownNameError("scenario", name, (*WORLD_SCENARIOS, *NOT_IN_A_WORLD))
    return WORLD_SCENARIOS[name](world)


def _thin_book(world: World) -> World:
    """A tenth of the orders, and a curve of fills that is ten times as wide."""
    rate = world.arrival_rate / _WIDER
    curve: FillCurve = world.fill_curve
    if isinstance(curve, Exponential):
        return world.replace(arrival_rate=rate, k=world.k / _WIDER)
    if isinstance(curve, Power):
        return world.replace(arrival_rate=rate, curve=replace(curve, scale=curve.scale * _WIDER))
    if isinstance(curve, Empirical):
        far = tuple(distance * _WIDER for distance in curve.distance)
        return world.replace(arrival_rate=rate, curve=replace(curve, distance=far))
    raise ConfigError(f"nobody knows what a wider book does to a curve of fills of kind {curve.id}")


def _scripted(world: World, times_s: tuple[float, ...], offsets: tuple[float, ...]) -> World:
    if not isinstance(world.process, Gaussian):
        raise ConfigError(f"a path is laid on a gaussian mid alone, and this one is {world.process.id}")
    return world.replace(mid=Scripted(times_s, offsets))


def _gap(move: float) -> Callable[[World], World]:
    def jump(world: World) -> World:
        step = round(world.steps * AT)
        if step + 1 > world.steps:
            raise ConfigError(f"a jump needs a run of two steps or more, and this one has {world.steps}")
        return _scripted(world, (step * world.dt_s, (step + 1) * world.dt_s), (0.0, move * world.s0))

    return jump


def _trend(move: float) -> Callable[[World], World]:
    return lambda world: world.replace(drift=world.drift + move * world.s0 / world.horizon_s)


def _flash_crash(world: World) -> World:
    """Down a tenth in a minute and back in five, or in a tenth and a half of the run where it is shorter."""
    begin = AT * world.horizon_s
    turn = begin + min(60.0, 0.1 * world.horizon_s)
    end = turn + min(300.0, 0.5 * world.horizon_s)
    return _scripted(world, (begin, turn, end), (0.0, -0.10 * world.s0, 0.0))


def _slow(world: World) -> World:
    base = world.latency_steps or max(1, round(BASE_LATENCY_S / world.dt_s))
    if base * _SLOWER >= world.steps:
        raise ConfigError(
            f"a quote would stand {base * _SLOWER} steps late, and the run has {world.steps}: none ever would"
        )
    return world.replace(latency_steps=base * _SLOWER)


def _dear(world: World) -> World:
    """Twice the fee; a rebate falls away."""
    if world.fee_per_unit == 0.0:
        raise ConfigError("this world has no fee to double")
    return world.replace(fee_per_unit=max(0.0, 2.0 * world.fee_per_unit))


WORLD_SCENARIOS: Final[dict[str, Callable[[World], World]]] = {
    "thin_book": _thin_book,
    **{f"gap_down_{size}": _gap(-size / 100.0) for size in (5, 10, 20)},
    **{f"gap_up_{size}": _gap(size / 100.0) for size in (5, 10, 20)},
    "trend_down": _trend(-0.20),
    "trend_up": _trend(0.20),
    "flash_crash": _flash_crash,
    "latency_x50": _slow,
    "fees_x2": _dear,
}
NOT_IN_A_WORLD: Final[dict[str, str]] = {
    "feed_outage": "a world has no feed: its maker sees the mid, and quotes can be late throughout alone (latency_x50)",
    "feed_loss": "a world has no feed to lose",
    "message_flood": "a world has no messages",
    "venue_rejects": "a world has no orders that could be rejected, only quotes",
}
