"""The counter-based generator: the published sequence, the right distributions, streams that do not meet."""

import numpy as np
import pytest
from scipy import stats

from marketmakerl.core.counter_rng import draw, high_32, low_32, mix, normal, stream_key, uint64, unit
from marketmakerl.core.errors import ConfigError
from marketmakerl.core.jit import njit


@njit()
def normals(out, key, first):
    for i in range(len(out)):
        out[i] = normal(draw(key, uint64(first + i)))


@njit()
def uniforms(out, key, kind):
    for i in range(len(out)):
        bits = draw(key, uint64(i))
        if kind == 0:
            out[i] = unit(bits)
        elif kind == 1:
            out[i] = (high_32(bits) + 0.5) / 2.0**32
        else:
            out[i] = (low_32(bits) + 0.5) / 2.0**32


@njit()
def bits_of(key, count):
    return [draw(key, uint64(i)) for i in range(count)]


def test_it_is_the_published_splitmix64():
    published = [
        6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821,
    ]  # fmt: skip
    assert [int(bits) for bits in bits_of(np.uint64(1234567), 5)] == published


def test_mixing_is_a_bijection_on_a_sample():
    states = np.arange(100_000, dtype=np.uint64)
    assert len({int(mix(state)) for state in states[:5_000]}) == 5_000


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_uniforms_are_uniform(kind):
    out = np.empty(1_000_000)
    uniforms(out, stream_key(11, "test", kind), kind)
    assert stats.kstest(out, "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(out[1:], out[:-1])[0, 1]) < 4 / np.sqrt(len(out))
    assert 0.0 < out.min() < out.max() < 1.0


def test_normals_are_normal_to_their_tails():
    out = np.empty(4_000_000)
    normals(out, stream_key(5, "test"), 0)
    n = len(out)
    assert stats.kstest(out, "norm").pvalue > 1e-3
    assert abs(out.mean()) < 4 / np.sqrt(n)
    assert abs(out.var() - 1) < 4 * np.sqrt(2 / n)
    assert abs(stats.skew(out)) < 4 * np.sqrt(6 / n)
    assert abs(stats.kurtosis(out)) < 4 * np.sqrt(24 / n)
    for x in (0.2, 1.0, 2.0, 3.0, 3.5, 3.65, 3.7, 4.0, 4.5):
        for count in ((out > x).sum(), (out < -x).sum()):
            expected = n * stats.norm.sf(x)
            assert abs(count - expected) < 4 * np.sqrt(expected), x
    assert abs(np.corrcoef(out[1:], out[:-1])[0, 1]) < 4 / np.sqrt(n)


def test_a_draw_depends_on_its_place_alone():
    whole, part = np.empty(1000), np.empty(100)
    key = stream_key(3, "test")
    normals(whole, key, 0)
    normals(part, key, 500)
    assert np.array_equal(whole[500:600], part)


def test_streams_of_seeds_and_names_do_not_meet():
    a, b, c = np.empty(200_000), np.empty(200_000), np.empty(200_000)
    normals(a, stream_key(1, "test"), 0)
    normals(b, stream_key(2, "test"), 0)
    normals(c, stream_key(1, "other"), 0)
    assert max(abs(np.corrcoef(a, b)[0, 1]), abs(np.corrcoef(a, c)[0, 1])) < 4 / np.sqrt(len(a))
    assert not set(a.tolist()) & set(b.tolist())


@pytest.mark.parametrize("seed", [-1, 2**63, 1.5, True, None])
def test_a_bad_seed_is_refused(seed):
    with pytest.raises(ConfigError, match="seed must be an integer"):
        stream_key(seed, "test")
