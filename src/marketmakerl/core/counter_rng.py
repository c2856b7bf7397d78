"""Random numbers of compiled kernels: a counter-based generator, so that a draw depends on its place and nothing else.

Draw number c of a stream is the SplitMix64 output function applied to key + (c + 1) * 0x9E3779B97F4A7C15 (Steele, Lea
& Flood 2014, "Fast splittable pseudorandom number generators"): any draw can be made at any time by any thread. The
key comes from the experiment's seed and the stream's name as in `core.rng`.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt

from marketmakerl.core.jit import njit
from marketmakerl.core.rng import generator

# numba declares a type; compiled code calls it to convert.
uint64: Final[Any] = numba.uint64

WEYL = uint64(0x9E3779B97F4A7C15)
_MIX_1, _MIX_2 = uint64(0xBF58476D1CE4E5B9), uint64(0x94D049BB133111EB)
_S27, _S30, _S31, _S32 = uint64(27), uint64(30), uint64(31), uint64(32)
_LOW_32 = uint64(0xFFFFFFFF)
_SIGNED_55 = 2.0**-55
_UNIT_53 = 2.0**-53

# The ziggurat of Marsaglia & Tsang (2000) with 256 layers of equal area, as Doornik (2005, "An improved ziggurat
# method to generate normal random samples") states it: the layer from bits that the value does not use.
_LAYERS = 256
_TAIL = 3.6541528853610088
_SQRT_TAU = math.sqrt(2.0 * math.pi)


def _layers() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the layers' right edges and, of each, the share that lies under the next one."""
    area = _TAIL * math.exp(-0.5 * _TAIL**2) + _SQRT_TAU * 0.5 * math.erfc(_TAIL / math.sqrt(2.0))
    edge = np.zeros(_LAYERS + 1)
    edge[0] = area * math.exp(0.5 * _TAIL**2)
    edge[1] = _TAIL
    for i in range(2, _LAYERS):
        edge[i] = math.sqrt(-2.0 * math.log(area / edge[i - 1] + math.exp(-0.5 * edge[i - 1] ** 2)))
    return edge, edge[1:] / edge[:-1]


_EDGE, _INSIDE = _layers()


def stream_key(seed: int, *stream: str | int) -> np.uint64:
    """Return the key of the stream named `stream` under `seed`.

    Raises:
        ConfigError: the seed is not an integer in [0, 2**63).
    """
    return np.uint64(generator(seed, *stream).integers(0, 2**64, dtype=np.uint64))


@njit(inline="always")
def mix(state: Any) -> Any:
    """Return 64 random bits for a counter's state: key + (c + 1) * WEYL."""
    state = (state ^ (state >> _S30)) * _MIX_1
    state = (state ^ (state >> _S27)) * _MIX_2
    return state ^ (state >> _S31)


@njit(inline="always")
def draw(key: Any, counter: Any) -> Any:
    """Return the 64 random bits at place `counter` (uint64) of the stream `key` (uint64)."""
    return mix(key + (counter + uint64(1)) * WEYL)


@njit(inline="always")
def high_32(bits: Any) -> float:
    """Return the upper half as a whole number in [0, 2**32)."""
    return float(bits >> _S32)


@njit(inline="always")
def low_32(bits: Any) -> float:
    """Return the lower half as a whole number in [0, 2**32)."""
    return float(bits & _LOW_32)


@njit(inline="always")
def unit(bits: Any) -> float:
    """Return a number in (0, 1)."""
    return (float(bits >> uint64(11)) + 0.5) * _UNIT_53


@njit()
def _beyond(bits: Any, signed: float, layer: int) -> float:
    """Return the normal where the first look (98.8 % of draws) did not settle it; further bits follow from `bits`."""
    state = bits
    while True:
        if layer == 0:
            while True:
                state += WEYL
                x = -math.log(unit(mix(state))) / _TAIL
                state += WEYL
                if -2.0 * math.log(unit(mix(state))) > x * x:
                    return -_TAIL - x if signed < 0.0 else _TAIL + x
        x = signed * _EDGE[layer]
        low = math.exp(-0.5 * (_EDGE[layer] * _EDGE[layer] - x * x))
        high = math.exp(-0.5 * (_EDGE[layer + 1] * _EDGE[layer + 1] - x * x))
        state += WEYL
        if low + unit(mix(state)) * (high - low) < 1.0:
            return x
        state += WEYL
        again = mix(state)
        layer = int(again & uint64(0xFF))
        signed = float(np.int64(again) >> np.int64(8)) * _SIGNED_55
        if abs(signed) < _INSIDE[layer]:
            return signed * _EDGE[layer]


@njit(inline="always")
def normal(bits: Any) -> float:
    """Return a standard normal number made of 64 random bits."""
    layer = int(bits & uint64(0xFF))
    signed = float(np.int64(bits) >> np.int64(8)) * _SIGNED_55
    if abs(signed) < _INSIDE[layer]:
        return signed * _EDGE[layer]
    return _beyond(bits, signed, layer)
