"""A table of quotes: what it takes, and what it leaves alone."""

import numpy as np
import pytest

import marketmakerl as mml
from marketmakerl.core.errors import ConfigError


def test_it_keeps_a_copy_and_leaves_the_caller_s_table_alone():
    table = np.full((1, 5), 0.7)
    policy = mml.TablePolicy(table, table)
    table[:] = 9.0
    assert policy.offsets(0) == (0.7, 0.7)
    assert not policy.bid.flags.writeable


@pytest.mark.parametrize("table", [[["a", "b", "c"]], [[1.0, 2.0, 3.0], [1.0]], None])
def test_what_is_no_table_of_numbers(table):
    with pytest.raises(ConfigError, match="table: bid and ask must"):
        mml.TablePolicy(table, [[1.0, 1.0, 1.0]])
