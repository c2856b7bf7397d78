"""Errors go from worker processes to their parent by pickle, and must arrive as what they were."""

import ast
import builtins
import importlib
import pickle
from pathlib import Path

import pytest

import marketmakerl
from marketmakerl.data.quality import Finding

TEXT = "half a line, where, and how to mend it: 5 %"
MADE_OF = {  # the classes that are made of more than a text
    "UnknownNameError": ("symbol", "BTCUSD", {"BTC/USDT", "ETH/USDT"}, "(see mml data)"),
    "DataQualityError": (TEXT, [Finding("time", "error", 3, 7, "runs backwards")]),
    "RefusedError": ("price", TEXT),
    "_Refusal": (-1121, TEXT, 418),
}


def every_error():
    """Return the modules and names of all exceptions; read, for importing every module takes minutes."""
    known = {name for name, kind in vars(builtins).items() if isinstance(kind, type) and issubclass(kind, Exception)}
    root, found = Path(marketmakerl.__file__).parent, {}
    classes = [
        (path.relative_to(root.parent).with_suffix("").as_posix().replace("/", "."), node)
        for path in sorted(root.rglob("*.py"))
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef)
    ]
    while more := {n.name: m for m, n in classes if n.name not in found and known & {ast.unparse(b) for b in n.bases}}:
        found |= more
        known |= set(more)
    return [(module, name) for name, module in found.items()]


ERRORS = every_error()


def test_all_of_them_are_found():
    assert len(ERRORS) >= 18
    assert {name for _, name in ERRORS} >= {"MarketMakerLError", "ExchangeUnreachableError", *MADE_OF}


@pytest.mark.parametrize(("module", "name"), ERRORS, ids=lambda text: text.rpartition(".")[2])
def test_an_error_arrives_as_it_was_sent(module, name):
    kind = getattr(importlib.import_module(module), name)
    sent = kind(*MADE_OF.get(name, (TEXT,)))
    sent.add_note("while it was asked")
    got = pickle.loads(pickle.dumps(sent))
    assert type(got) is kind
    assert (str(got), got.args, vars(got)) == (str(sent), sent.args, vars(sent))
    assert vars(pickle.loads(pickle.dumps(got))) == vars(sent)  # and sent on
