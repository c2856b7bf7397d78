"""The makers' problems of GLFT and Cartea-Jaimungal as they stand in the papers, solved by brute force.

Nothing of the package is used and nothing of the papers' solutions: the maximum over the distance is searched for at
every moment, and the equation of dynamic programming is integrated as an ordinary differential equation in time.
"""

import numpy as np
from scipy.integrate import solve_ivp


def best_distance(slope, low, high):
    """Return the zeros of a decreasing function of the distance, by bisection, one an inventory."""
    for _ in range(55):
        middle = 0.5 * (low + high)
        rising = slope(middle) > 0
        low, high = np.where(rising, middle, low), np.where(rising, high, middle)
    return 0.5 * (low + high)


def neighbour(values, side):
    """Return the value after a fill of a side; -inf where there is no such inventory."""
    after = np.full_like(values, -np.inf)
    if side > 0:
        after[:-1] = values[1:]
    else:
        after[1:] = values[:-1]
    return after


class CaraMaker:
    """u(t, x, q, s) = -exp(-gamma (x + D q s + theta_q(t))): utility of a maker whose fills move the mid by `xi`.

    A fill buys D units at s - delta less a fee a unit; the mid then falls by xi on all that is held, and rises by xi
    with a sale.
    """

    def __init__(self, gamma, k, sigma, rate, q_max, *, drift=0.0, xi=0.0, fee=0.0, size=1.0):
        self.gamma, self.k, self.rate, self.xi, self.fee, self.size = gamma, k, rate, xi, fee, size
        self.q = np.arange(-q_max, q_max + 1.0)
        held = size * self.q
        self.carry = drift * held - 0.5 * gamma * sigma**2 * held**2

    def distances(self, theta):
        """Return the best distances and the utility's gain of both sides; NaN and 0 where there is no side."""
        out = []
        for side in (1, -1):
            after = neighbour(theta, side)
            # What a fill adds to the exponent besides D delta.
            rest = -side * self.xi * self.size * (self.q + side) - self.fee * self.size + after - theta
            open_side = np.isfinite(rest)
            rest = np.where(open_side, rest, 0.0)

            def slope(delta, rest=rest):
                worse = np.exp(-self.gamma * (self.size * delta + rest))
                return -self.k * (1 - worse) + self.gamma * self.size * worse

            low = -rest / self.size
            delta = best_distance(slope, low, low + 5 / self.k)
            gain = self.rate * np.exp(-self.k * delta) * (1 - np.exp(-self.gamma * (self.size * delta + rest)))
            out.append((np.where(open_side, delta, np.nan), np.where(open_side, gain / self.gamma, 0.0)))
        return out

    def change(self, _tau, theta):
        (_, bid), (_, ask) = self.distances(theta)
        return self.carry + bid + ask

    def solve(self, tau):
        """Return (theta, bid distances, ask distances) with `tau` seconds left."""
        theta = integrate(self.change, np.zeros_like(self.q), tau)
        (bid, _), (ask, _) = self.distances(theta)
        return theta, bid, ask


class PenaltyMaker:
    """h(t, q): expected wealth of a maker who pays phi q^2 a second and alpha q^2 at the end.

    Every market order moves the mid by eps, whether it fills us or not.
    """

    def __init__(self, k, rate, phi, alpha, q_max, *, eps=0.0, fee=0.0):
        self.k, self.rate, self.phi, self.alpha, self.eps, self.fee = k, rate, phi, alpha, eps, fee
        self.q = np.arange(-q_max, q_max + 1.0)

    def distances(self, h):
        out = []
        for side in (1, -1):
            after = neighbour(h, side)
            unfilled = -side * self.eps * self.q
            rest = -self.fee - side * self.eps * (self.q + side) + after - h - unfilled
            open_side = np.isfinite(rest)
            rest = np.where(open_side, rest, 0.0)

            def slope(delta, rest=rest):
                return 1 - self.k * (delta + rest)

            delta = best_distance(slope, -rest, -rest + 5 / self.k)
            gain = np.where(open_side, np.exp(-self.k * delta) * (delta + rest), 0.0)
            out.append((np.where(open_side, delta, np.nan), self.rate * (gain + unfilled)))
        return out

    def change(self, _tau, h):
        (_, bid), (_, ask) = self.distances(h)
        return -self.phi * self.q**2 + bid + ask

    def solve(self, tau):
        """Return (h, bid distances, ask distances) with `tau` seconds left."""
        h = integrate(self.change, -self.alpha * self.q**2, tau)
        (bid, _), (ask, _) = self.distances(h)
        return h, bid, ask


def integrate(change, start, tau):
    found = solve_ivp(change, (0.0, tau), start, method="LSODA", rtol=1e-10, atol=1e-11)
    assert found.success
    return found.y[:, -1]
