import pytest

from marketmakerl.reporting import formats


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1234567.891, "1,234,567.89"),
        (-1234.5, "-1,234.50"),
        (0.0, "0.00"),
        (0.00012, "0.00012"),
        (-0.0049, "-0.0049"),
        (0.005, "0.01"),
        (None, "-"),
    ],
)
def test_money_has_separators_and_never_hides_a_small_amount(value, text):
    assert formats.money(value) == text


def test_headline_money_drops_cents_only_where_they_are_noise():
    assert formats.round_money(99_999.5) == "99,999.50"
    assert formats.round_money(-117_148.79) == "-117,149"
    assert formats.round_money(None) == "-"


def test_fractions_become_percentages():
    assert formats.percent(0.01234) == "1.23"
    assert formats.with_percent_sign(0.4, 0) == "40 %"
    assert formats.percent(-1e-9) == "0.00"  # not "-0.00"
    assert formats.percent(None) == formats.with_percent_sign(None) == "-"


def test_times_are_cut_to_the_minute_and_strangers_left_alone():
    assert formats.minute("2024-08-08T23:54:12.123Z") == "2024-08-08 23:54 UTC"
    assert formats.minute("binance") == "binance"
    assert formats.day(1_704_067_200_000_000_000) == "2024-01-01"
