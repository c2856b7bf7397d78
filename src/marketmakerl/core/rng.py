"""Randomness enters the package here and nowhere else.

One integer seed names an experiment; each consumer asks for its own stream by name, so adding a consumer never
shifts the numbers another one sees, and streams of different names are independent.
"""

from __future__ import annotations

import zlib

import numpy as np

from marketmakerl.core.errors import ConfigError

MAX_SEED = 2**63 - 1


def check_seed(seed: int) -> int:
    """Return `seed` if it is an integer in [0, 2**63); raise `ConfigError` otherwise."""
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= int(seed) <= MAX_SEED:
        raise ConfigError(f"seed must be an integer from 0 to {MAX_SEED}, got {seed!r}")
    return int(seed)


def generator(seed: int, *stream: str | int) -> np.random.Generator:
    """Return the generator of the stream named `stream` under `seed`.

    Args:
        seed: the experiment's seed, 0 <= seed < 2**63.
        stream: any path of names and non-negative integers, e.g. ("synthetic", "bars", 3).

    Returns:
        A Philox (counter-based) generator: the same seed and path give the same numbers in every process.
    """
    path = [zlib.crc32(part.encode()) if isinstance(part, str) else int(part) for part in stream]
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(check_seed(seed), spawn_key=path)))
