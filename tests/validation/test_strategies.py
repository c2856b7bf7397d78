from marketmakerl.core.fees import Fees
from marketmakerl.models.registry import BOOK_MODEL_IDS, MODEL_IDS
from marketmakerl.validation.strategies import strategy_formats
from marketmakerl.validation.study import Study


def test_every_model_that_bars_can_tell_apart_has_a_format_of_its_own_name():
    formats = {strategy.name: strategy for strategy in strategy_formats()}
    for model in set(MODEL_IDS) - set(BOOK_MODEL_IDS):
        assert formats[model].model == model
    assert {"glft", "cartea_jaimungal"} <= set(formats)
    assert not set(BOOK_MODEL_IDS) & set(formats)  # without a book they are glft once more


def test_names_are_unique_and_sorted():
    names = [strategy.name for strategy in strategy_formats()]
    assert names == sorted(set(names))


def test_no_two_formats_quote_alike():
    settings = [tuple(strategy.as_dict().items())[1:] for strategy in strategy_formats()]
    assert len(set(settings)) == len(settings)


def test_every_format_can_be_traded():
    for strategy in strategy_formats():
        Study().session(strategy, 1_000.0, Fees(2, 5)).check()


def test_a_session_has_the_settings_of_its_format():
    for strategy in strategy_formats():
        session = Study().session(strategy, 1_000.0, Fees(2, 5))
        assert {name: getattr(session, name) for name in strategy.as_dict() if name != "name"} == {
            name: value for name, value in strategy.as_dict().items() if name != "name"
        }
