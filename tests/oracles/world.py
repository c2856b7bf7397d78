"""The model world by enumeration: every way that a few steps can go, one by one. Imports nothing from the package."""

import itertools
import math


def fill_chance(distance, rate_dt, share, fill):
    """Probability of a fill at a distance; None is no quote."""
    if distance is None:
        return 0.0
    if fill == "linear":
        return min(1.0, rate_dt * share(distance))
    return 1.0 - math.exp(-rate_dt * share(distance))


def level_outcomes(distances, rate_dt, share, fill, fee):
    """[(probability, levels filled, edge)]: an order that reaches a level takes all nearer ones too."""
    reached = [1.0, *(fill_chance(d, rate_dt, share, fill) for d in distances), 0.0]
    edges = [0.0]
    for d in distances:
        edges.append(edges[-1] + (0.0 if d is None else d - fee))
    return [(reached[n] - reached[n + 1], n, edges[n]) for n in range(len(distances) + 1)]


def leaves(steps, quotes, *, rate_dt, share, fill="linear", fee=0.0, size=1.0, adverse=0.0):
    """Yield (probability, edge, [units carried through each step], q) of every way the fills can go.

    quotes(step, q) -> (bid distances, ask distances), nearest first; `edge` includes what the mid moves with fills.
    """

    def walk(step, q, weight, edge, held):
        if step == steps:
            yield weight, edge, held, q
            return
        bids, asks = quotes(step, q)
        ways = itertools.product(
            level_outcomes(bids, rate_dt, share, fill, fee), level_outcomes(asks, rate_dt, share, fill, fee)
        )
        for (p_bid, b, bid_edge), (p_ask, a, ask_edge) in ways:
            if p_bid * p_ask == 0.0:
                continue
            after = q + b - a
            gained = size * (bid_edge + ask_edge) + size * after * adverse * (a - b)
            yield from walk(step + 1, after, weight * p_bid * p_ask, edge + gained, [*held, size * after])

    yield from walk(0, 0, 1.0, 0.0, [])


def moments(found, mean, variance):
    """Mean and standard deviation of edge + sum of units x moves with the given mean and variance."""
    first = second = 0.0
    for weight, edge, held, _ in found:
        centre = edge + mean * sum(held)
        first += weight * centre
        second += weight * (centre**2 + variance * sum(h * h for h in held))
    return first, math.sqrt(second - first**2)


def certainty_equivalent(found, gamma, mgf):
    """-(1/gamma) ln E[exp(-gamma profit)], `mgf(theta)` being that of one move."""
    total = 0.0
    for weight, edge, held, _ in found:
        factor = 1.0
        for h in held:
            factor *= mgf(-gamma * h)
        total += weight * math.exp(-gamma * edge) * factor
    return -math.log(total) / gamma


def penalised(found, phi, alpha, dt, size, mean):
    """E[profit - alpha q^2 - phi sum q^2 dt], q in units."""
    return sum(
        weight * (edge + mean * sum(held) - alpha * (size * q) ** 2 - phi * dt * sum(h * h for h in held))
        for weight, edge, held, q in found
    )
