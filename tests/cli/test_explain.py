"""`mml explain` as a user meets it."""

import orjson
import pytest

from marketmakerl import GLFT, QuoteContext
from marketmakerl.cli.main import run

GIVEN = ["--param", "gamma=0.01", "--param", "k=0.3", "--param", "sigma=0.3", "--param", "arrival_rate=0.9"]
ARGV = ["explain", "--model", "glft", *GIVEN, "--q", "3", "--mid", "100", "--tick-size", "0.01"]


def test_the_document_is_what_python_says(capsys):
    assert run([*ARGV, "--param", "variant=exact", "--param", "horizon_s=600", "--json"]) == 0
    document = orjson.loads(capsys.readouterr().out)
    model = GLFT(0.01, 0.3, 0.3, 0.9, variant="exact", horizon_s=600.0)
    assert document["parts"] == model.explain(QuoteContext(100.0, 3.0, tick_size=0.01))
    assert document["model"] == model.as_dict()
    assert document["context"]["q"] == 3.0


def test_the_table_shows_every_part(capsys):
    assert run([*ARGV, "--param", "fee_per_unit=0.02"]) == 0
    out = capsys.readouterr().out
    for text in ("market making", "3.2789823", "fee", "0.02", "skew: inventory", "-0.204", "rounding", "96.46", "Mid"):
        assert text in out


def test_a_book_and_a_side_that_is_not_quoted(capsys):
    book = ["--best-bid", "99", "--best-ask", "101", "--best-bid-qty", "3", "--best-ask-qty", "1"]
    argv = ["explain", "--model", "glft_microprice", *GIVEN, "--param", "weight=1", "--q", "30", *book]
    assert run(argv) == 0
    assert "not quoted" in capsys.readouterr().out
    assert run([*argv, "--json"]) == 0
    parts = orjson.loads(capsys.readouterr().out)["parts"]
    assert parts["bid"] is None
    assert parts["book_skew"] == -0.5


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["explain", "--model", "gltf"], "did you mean glft"),
        (["explain", "--model", "glft", "--param", "gamma=1"], "glft needs k, sigma, arrival_rate"),
        ([*ARGV, "--param", "gamma=-1"], "gamma must be a finite number > 0"),
        ([*ARGV, "--param", "variant=exact"], "needs a horizon_s"),
        ([*ARGV, "--param", "gamma"], "is not name=number"),
        ([*ARGV, "--mid", "0"], "mid must be a finite number > 0"),
        ([*ARGV, "--time-left-s", "-1"], "time_left_s must be >= 0"),
    ],
)
def test_bad_input_is_one_line(capsys, argv, text):
    assert run(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert text in err
