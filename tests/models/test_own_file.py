"""Models by path.py:name: what a name stands for, what its parameters set, and what is refused."""

import hashlib
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest

import marketmakerl as mml
from marketmakerl.backtesting.session import Prepared, Session
from marketmakerl.backtesting.tick_session import needs_estimate
from marketmakerl.core.errors import ConfigError, ModelError, UnknownNameError
from marketmakerl.core.fees import Fees
from marketmakerl.core.pool import run_tasks
from marketmakerl.models.bar_calibration import BarEstimate
from marketmakerl.models.own_file import check_unchanged, is_own, moved, own_model, pinned, record_of
from marketmakerl.models.registry import calibrated_model, model_of

ESTIMATE = BarEstimate(sigma=2.0, k=4.0, arrival_rate=3.0, bars=100)
FILE = """
import math
from dataclasses import dataclass

import numpy as np
from numba import njit

import marketmakerl as mml
from marketmakerl.models.contract import QuotingModel

DEFAULTS = {"half_spread": 0.5, "lean": 0.1}


@njit
def leaning(context, params):
    return params[0] + params[1] * context.q, params[0] - params[1] * context.q


def plain(context, params):
    return params[0], params[1]


def alone(context):
    return 0.5, None


@njit
def greedy(context, params):
    return params[0], params[2]


@dataclass(frozen=True)
class Wide(QuotingModel):
    half: float = 1.0

    def __post_init__(self):
        if self.half <= 0:
            raise ValueError("half must be above 0")

    @property
    def kernel(self):
        return leaning

    def params(self):
        return np.array([self.half, 0.0])


@dataclass(frozen=True)
class Bound(Wide):
    kernel = leaning


wide, builtin = Wide(2.0), mml.GLFT(0.1, 1.5, 2.0, 10.0)
custom = mml.CustomModel(leaning, (0.7, 0.2), horizon_s=60.0)
ladder = mml.Ladder(mml.Symmetric(1.0), 3)


def measured(estimate, scale=1.0, horizon_s=5.0, word="no"):
    assert word in ("no", "yes"), word
    return mml.CustomModel(leaning, (scale / estimate.k, 0.0), horizon_s=horizon_s)


def function_of(estimate):
    half = 1.0 / estimate.k

    def quote(context):
        return half, half

    return quote


def nothing(estimate):
    return 3


class Remembers:
    def __init__(self, estimate, scale=1.0):
        self.half, self.seen = scale / estimate.k, []

    def __call__(self, context):
        self.seen.append(context.mid)
        return self.half, self.half


class Needs:
    def __init__(self, half):
        self.half = half

    def __call__(self, context):
        return self.half, self.half


class NotAModel:
    pass


class Wrapped(Wide):
    kernel = NotAModel()


def lists(estimate):
    return [1.0, NotAModel()]


thing, number = Needs(0.25), 3
print("loaded")
"""


@pytest.fixture
def quotes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quotes.py").write_text(FILE)
    return "quotes.py"


def asked(model, q=0.0):
    return model.offsets(q)


@pytest.mark.parametrize(
    ("name", "fixed", "answer"),
    [
        ("leaning", {}, (0.7, 0.3)),
        ("leaning", {"lean": 0.2}, (0.9, 0.1)),
        ("leaning", {"half_spread": 2.0, "lean": 0.0}, (2.0, 2.0)),
        ("leaning", {"0": 2.0, "1": 0.0}, (2.0, 2.0)),
        ("plain", {"half_spread": 2.0}, (2.0, 0.1)),
        ("wide", {}, (2.0, 2.0)),
        ("wide", {"half": 3.0}, (3.0, 3.0)),
        ("Wide", {}, (1.0, 1.0)),
        ("Wide", {"half": 3.0}, (3.0, 3.0)),
        ("custom", {}, (1.1, 0.3)),
        ("custom", {"lean": 0.0}, (0.7, 0.7)),
        ("custom", {"1": 0.0}, (0.7, 0.7)),
        ("measured", {}, (0.25, 0.25)),
        ("measured", {"scale": 2.0, "word": "yes"}, (0.5, 0.5)),
        ("function_of", {}, (0.25, 0.25)),
        ("Remembers", {"scale": 3.0}, (0.75, 0.75)),
        ("Needs", {"half": 3.0}, (3.0, 3.0)),
        ("thing", {}, (0.25, 0.25)),
        ("ladder", {"levels": 2.0}, (1.0, 1.0)),
    ],
)
def test_what_a_name_stands_for_and_what_its_parameters_set(quotes, name, fixed, answer):
    model = own_model(f"{quotes}:{name}", ESTIMATE, fixed=fixed)
    assert asked(model, 2.0) == pytest.approx(answer)
    assert calibrated_model(f"{quotes}:{name}", ESTIMATE, fixed=fixed).as_dict().keys() == model.as_dict().keys()


def test_options_of_a_custom_model_and_those_of_the_session(quotes):
    model = own_model(f"{quotes}:leaning", ESTIMATE, fixed={"horizon_s": 60.0, "levels": 3.0, "grid_ticks": 2.0})
    assert (model.horizon_s, model.levels, model.grid_ticks) == (60.0, 3, 2)
    assert own_model(f"{quotes}:custom", ESTIMATE, fixed={"horizon_s": 5.0}).horizon_s == 5.0
    assert own_model(f"{quotes}:measured", ESTIMATE).horizon_s == 5.0
    assert calibrated_model(f"{quotes}:measured", ESTIMATE, horizon_s=900.0).horizon_s == 900.0
    fixed = {"horizon_s": 7.0}
    assert calibrated_model(f"{quotes}:measured", ESTIMATE, horizon_s=900.0, fixed=fixed).horizon_s == 7.0
    assert own_model(f"{quotes}:ladder", None).levels == 3


def test_each_run_is_given_an_object_of_its_own(quotes):
    one, two = (own_model(f"{quotes}:Remembers", ESTIMATE) for _ in range(2))
    asked(one)
    assert (len(one.function.seen), len(two.function.seen)) == (1, 0)
    assert one.as_dict() == two.as_dict()  # and nothing of its address is written down


def test_from_parameters_alone(quotes):
    estimate = {"sigma": 2.0, "k": 4.0, "arrival_rate": 1.0}
    assert asked(model_of(f"{quotes}:measured", estimate | {"scale": 2.0})) == (0.5, 0.5)
    assert asked(model_of(f"{quotes}:leaning", {})) == (0.5, 0.5)
    with pytest.raises(ConfigError, match="makes a model of an estimate of the market: add --param sigma=number"):
        model_of(f"{quotes}:measured", {})
    with pytest.raises(ConfigError, match="k must be a number, got 'four'"):
        model_of(f"{quotes}:measured", estimate | {"k": "four"})


@pytest.mark.parametrize(
    ("name", "fixed", "error", "text"),
    [
        ("number", {}, ConfigError, r"quotes\.py: number is no model but int; name a function"),
        ("math", {}, ConfigError, "math is no model but module"),
        ("leanin", {}, UnknownNameError, r"unknown model in quotes\.py: 'leanin'; did you mean leaning"),
        (
            "leaning",
            {"spread": 1.0},
            UnknownNameError,
            r"unknown parameter of quotes\.py:leaning 'spread'.*half_spread",
        ),
        ("leaning", {"2": 1.0}, UnknownNameError, "unknown parameter"),
        ("leaning", {"lean": "much"}, ConfigError, "parameter lean must be a number, got 'much'"),
        ("leaning", {"levels": 0.0}, ConfigError, "levels must be a whole number"),
        ("measured", {"size": 1.0}, UnknownNameError, "unknown parameter of quotes.py:measured 'size'"),
        ("measured", {"word": "what"}, ModelError, r"could not make a model: AssertionError: what.* \(line \d+\)"),
        ("wide", {"size": 1.0}, UnknownNameError, "'size'; known: half"),
        ("Wide", {"half": 0.0}, ModelError, "could not make a model: ValueError: half must be above 0"),
        ("builtin", {"gamma": -1.0}, ConfigError, "glft: gamma must be"),
        ("Needs", {}, ModelError, "could not make a model: TypeError: .*half"),
        ("nothing", {}, ConfigError, "must make a quoting model or a quote function, it made 3"),
        ("NotAModel", {}, ConfigError, r"^quotes\.py:NotAModel must make .*, it made an object of type NotAModel$"),
        ("lists", {}, ConfigError, r"^quotes\.py:lists must make .*, it made \[1\.0, an object of type NotAModel\]$"),
        ("Wrapped", {}, ConfigError, r"^quotes\.py:Wrapped: kernel must be .*, got an object of type NotAModel$"),
        ("greedy", {}, ConfigError, r"reads more params than the 2 it is given: set them"),
        ("Bound", {}, ConfigError, "kernel must be a property that returns what njit made"),
    ],
)
def test_what_is_no_model_and_no_parameter(quotes, name, fixed, error, text):
    with pytest.raises(error, match=text) as refused:
        own_model(f"{quotes}:{name}", ESTIMATE, fixed=fixed)
    assert refused.value.exit_code == 2
    assert "\n" not in str(refused.value)
    assert " at 0x" not in str(refused.value)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("1 / 0", r"bad\.py cannot be loaded: ZeroDivisionError: division by zero \(line 1\)"),
        ("\nimport nowhere_to_be_found", r"ModuleNotFoundError: No module named 'nowhere_to_be_found' \(line 2\)"),
        ("def f(:", r"SyntaxError: invalid syntax"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("raise ValueError('one\\ntwo')", r"ValueError: one two \(line 1\)"),
        ("import marketmakerl as mml\nf = mml.Symmetric(-1)", "cannot be loaded: ConfigError: symmetric: half_spread"),
        (
            "DEFAULTS = [1.0]\ndef f(context, params):\n    return 1.0, 1.0",
            "DEFAULTS must be a dict of names and numbers",
        ),
        ("\0", "cannot be loaded: "),
    ],
)
def test_a_file_that_cannot_be_loaded(tmp_path, monkeypatch, source, text):
    monkeypatch.chdir(tmp_path)
    Path("bad.py").write_text(source)
    before = dict(sys.modules)
    with pytest.raises(ConfigError, match=text) as refused:
        own_model("bad.py:f", ESTIMATE)
    assert "\n" not in str(refused.value)
    assert [name for name in sys.modules if name not in before and "bad" in name] == [] or "DEFAULTS" in source


@pytest.mark.parametrize(
    ("model_id", "text"),
    [
        ("nowhere.py:f", r"cannot read nowhere\.py: No such file"),
        (".py:f", "named path.py:name"),
        ("quotes.py", "named path.py:name"),
        ("quotes.py:", "named path.py:name"),
        ("quotes.py:a b", "named path.py:name"),
        ("quotes.py:3", "named path.py:name"),
        ("folder.py:f", "cannot read folder.py: Is a directory"),
    ],
)
def test_what_names_no_file(tmp_path, monkeypatch, model_id, text):
    monkeypatch.chdir(tmp_path)
    Path("folder.py").mkdir()
    for ask in (pinned, lambda it: own_model(it, ESTIMATE)):
        with pytest.raises(ConfigError, match=text) as refused:
            ask(model_id)
        assert refused.value.exit_code == 2


def test_a_pin_is_the_start_of_the_files_sha256(quotes):
    assert not is_own("glft")
    assert pinned("glft") == "glft"
    model_id = pinned(f"{quotes}:leaning")
    digest = hashlib.sha256(Path(quotes).read_bytes()).hexdigest()
    assert model_id == f"quotes.py:leaning@{digest[:16]}"
    assert pinned(model_id) == model_id
    model = own_model(model_id, ESTIMATE)
    assert record_of(model_id, model) == model.as_dict() | {
        "file": "quotes.py", "name": "leaning", "digest": digest[:16]
    }  # fmt: skip
    assert record_of("symmetric", mml.Symmetric(1.0)) == {"id": "symmetric", "half_spread": 1.0}
    with pytest.raises(UnknownNameError, match="'leanin'"):
        pinned(f"{quotes}:leanin")


def test_a_file_that_changed_is_refused_at_the_start_and_goes_on_in_the_middle(quotes):
    model_id = pinned(f"{quotes}:leaning")
    check_unchanged(model_id)
    Path(quotes).write_text(FILE.replace('"half_spread": 0.5', '"half_spread": 5.0'))
    with pytest.raises(
        ConfigError, match=r"quotes\.py, or a module beside it, has changed.*--model quotes\.py:leaning"
    ):
        check_unchanged(model_id)
    with pytest.raises(ConfigError, match="has changed"):
        Session(fees=Fees(0.0, 0.0), model=model_id).check()
    assert asked(own_model(model_id, ESTIMATE)) == (0.5, 0.5)  # what has been loaded for work under way
    assert asked(own_model(f"{quotes}:leaning", ESTIMATE)) == (5.0, 5.0)
    assert pinned(f"{quotes}:leaning") != model_id
    Path(quotes).write_text(FILE)
    check_unchanged(model_id)
    Path("else").mkdir()
    Path(quotes).rename("else/quotes.py")
    with pytest.raises(ConfigError, match=r"cannot read quotes\.py"):
        check_unchanged(model_id)
    there = moved(model_id, "else/quotes.py:leaning")
    assert there == model_id.replace("quotes.py", "else/quotes.py")
    check_unchanged(there)
    for old, to in ((model_id, "else/quotes.py:plain"), ("glft", "else/quotes.py:leaning")):
        with pytest.raises(ConfigError, match="leave out --model"):
            moved(old, to)


def test_modules_beside_it_are_found_and_nobody_elses_are_hidden(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder, half in (("one", "1.0"), ("two", "2.0")):
        Path(folder).mkdir()
        Path(folder, "halves.py").write_text(f"HALF = {half}")
        Path(folder, "json.py").write_text("raise AssertionError('Python has one of this name')")
        Path(folder, "numpy.py").write_text("raise AssertionError('there is another')")
        Path(folder, "parts").mkdir()
        Path(folder, "parts", "__init__.py").write_text("from parts.more import MORE")
        Path(folder, "parts", "more.py").write_text("MORE = 0.5")
        Path(folder, "own.py").write_text(
            "import json\nimport numpy\nfrom halves import HALF\nfrom parts import MORE\n"
            "def quote(context):\n    return HALF + MORE, HALF"
        )
    path, names = list(sys.path), set(sys.modules)
    pins = {}
    for folder, answer in (("one", (1.5, 1.0)), ("two", (2.5, 2.0))):
        pins[folder] = pinned(f"{folder}/own.py:quote")
        assert asked(own_model(pins[folder], ESTIMATE)) == answer
        assert not list(Path(folder).rglob("__pycache__"))
    assert sys.path == path
    assert not {"halves", "parts", "parts.more", "own"} & set(sys.modules)
    assert {name for name in set(sys.modules) - names if not name.startswith("_own_")} == set()
    assert pins["one"][-16:] != pins["two"][-16:]  # of files that are the same, beside modules that are not
    Path("one", "parts", "more.py").write_text("MORE = 0.7")
    with pytest.raises(ConfigError, match=r"or a module beside it, has changed"):
        check_unchanged(pins["one"])
    assert asked(own_model("one/own.py:quote", ESTIMATE)) == (1.7, 1.0)


def test_a_file_beside_the_package_itself_leaves_it_alone(tmp_path):
    """The folder of the file is on the path already, as with `python script.py`, and holds what others import too."""
    source = Path(mml.__file__).resolve().parents[1]
    (tmp_path / "helper.py").write_text("HALF = 1.0")
    (tmp_path / "own.py").write_text("import marketmakerl as mml\nfrom helper import HALF\nm = mml.Symmetric(HALF)")
    (tmp_path / "go.py").write_text(
        "import sys\nfrom marketmakerl.models.own_file import own_model, pinned\n"
        "import marketmakerl.core.errors as before\n"
        "assert own_model(pinned('own.py:m'), None).half_spread == 1.0\n"
        "assert sys.modules['marketmakerl.core.errors'] is before and 'helper' in sys.modules\n"
    )
    (tmp_path / "marketmakerl").symlink_to(source / "marketmakerl")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "go.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_what_a_file_prints_leaves_stdout_alone(quotes, capsys):
    Path(quotes).write_text(FILE + "\n# another\n")
    own_model(f"{quotes}:leaning", ESTIMATE)
    out, err = capsys.readouterr()
    assert (out, err) == ("", "loaded\n")


@pytest.mark.parametrize(("name", "estimated"), [("leaning", False), ("wide", False), ("measured", True)])
def test_a_worker_is_sent_no_function_and_loads_the_file(quotes, name, estimated):
    session = Session(fees=Fees(0.0, 0.0), model=f"{quotes}:{name}")
    setup = Prepared(calibrated_model(session.model, ESTIMATE), 1.0, 1.0, {}, session, ESTIMATE)
    sent = pickle.dumps(setup)
    assert b"numba" not in sent
    arrived = pickle.loads(sent)
    assert arrived.model is None
    assert arrived.new_model().as_dict() == setup.model.as_dict()
    outcomes = [outcome for _, outcome in run_tasks(needs_estimate, [session, session, session], 2)]
    assert outcomes == [estimated] * 3


def test_a_worker_that_finds_another_file_says_so(quotes):
    session = Session(fees=Fees(0.0, 0.0), model=f"{quotes}:leaning")
    for change in (lambda: Path(quotes).write_text(FILE + "\n\n"), Path(quotes).unlink):
        change()
        for _, outcome in run_tasks(needs_estimate, [session, session], 2):
            assert isinstance(outcome, ConfigError)
            assert re.search("has changed|cannot read quotes.py", str(outcome))


def test_what_remembers_is_made_anew_for_each_run(quotes):
    session = Session(fees=Fees(0.0, 0.0), model=f"{quotes}:Remembers")
    setup = Prepared(calibrated_model(session.model, ESTIMATE), 1.0, 1.0, {}, session, ESTIMATE)
    asked(setup.model)
    assert setup.new_model().function.seen == []
