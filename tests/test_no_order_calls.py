"""Proof by reading: no line of this program places an order, moves money, or uses a key.

Every source file is parsed. Five things are looked for, and each search is shown to find what it is for.

1. An attribute, import or text that names a private method of ccxt (`x.create_order`, `getattr(x, "withdraw")`).
2. A path of an exchange's private REST interface in a text.
3. An import that can reach a network or another program, in a file that is not known to need it.
4. A name of a credential: read from the environment, set on a client, or written into a text.
5. Code made at run time, in which the first four could hide.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import ccxt
import pytest

from marketmakerl.data.public_door import CREDENTIALS, PUBLIC_METHODS

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "marketmakerl"
SOURCES = sorted([*PACKAGE.rglob("*.py"), *(ROOT / "scripts").glob("*.py")])

# Compared without case and underscores: ccxt has every method in two spellings.
ORDER_METHOD = re.compile(
    r"(create|edit|cancel)[a-z]*orders?[a-z]*|cancelall[a-z]*|closeposition[a-z]*|closeallpositions"
    r"|withdraw(ws)?|transfer(in|out)?|futurestransfer|deposit|createdepositaddress|createsubaccount"
    r"|borrow[a-z]*margin|repay[a-z]*margin|(add|reduce)margin|setmargin[a-z]*|setleverage|setpositionmode"
    r"|createconverttrade|createvault|createtwaporder|redeemgiftcode|creategiftcode|verifygiftcode"
    r"|[a-z0-9]*private[a-z]*(get|post|put|delete|patch)[a-z0-9]*|(s|w|p)api(v[0-9])?(get|post|put|delete)[a-z0-9]*"
    r"|lightersign[a-z]*|signin|loadmarketsandsignin|checkrequiredcredentials|setsandboxmode|enabledemotrading"
    r"|fetch(balance|mytrades|openorders?|closedorders?|orders?|positions?|accounts|ledger|deposits?|withdrawals?)"
)
PRIVATE_PATH = re.compile(
    r"/(sapi|wapi|papi)/|/v[0-9]+/(\w+/)*(order|orders|allOrders|openOrders|batchOrders|account|balance|leverage|myTrades)\b"
)
CREDENTIAL = re.compile(
    r"\w*(api_?key|secret|passphrase|password|private_?key|wallet_?address|access_?token)\w*", re.IGNORECASE
)

PATHS_ALLOWED = {"realtime/sim_protocol.py"}  # the offline venue refuses them by name
CREDENTIALS_ALLOWED = {"data/public_door.py"}  # blanks them by name
# What reaches outside this process, and who may: public data, the offline venue, and questions about this machine.
IMPORTS_ALLOWED = {
    "ccxt": {"data/public_door.py", "data/real_market_data.py", "data/fee_check.py", "data/instrument_refresh.py"},
    "socket": {"realtime/sim_server.py"},
    "socketserver": {"realtime/sim_server.py"},
    "http": {"realtime/sim_server.py"},
    # kernels.py starts this interpreter on modules of the package, which compiles them.
    "subprocess": {"core/artifacts.py", "agents/doctor.py", "agents/kernels.py"},
}
NEVER_IMPORTED = {
    *("aiohttp", "asyncio", "ctypes", "ftplib", "httpcore", "httpx", "imaplib", "paramiko", "poplib", "pycurl"),
    *("requests", "runpy", "smtplib", "ssl", "telnetlib", "tornado", "urllib.request", "urllib3", "websocket"),
    *("websockets", "xmlrpc"),
}
MADE_CODE = {"eval", "exec", "compile", "__import__"}


def name_in_package(path):
    return path.relative_to(PACKAGE).as_posix() if path.is_relative_to(PACKAGE) else path.relative_to(ROOT).as_posix()


def plain(name):
    return name.replace("_", "").lower()


def texts(nodes):
    """Yield the text constants that are not docstrings, with their lines."""
    docstrings = {
        id(node.value) for node in nodes if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.lineno, node.value


def names(nodes):
    """Yield attributes and names that are imported, with their lines."""
    for node in nodes:
        if isinstance(node, ast.Attribute):
            yield node.lineno, node.attr
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.keyword) and node.arg:
            yield node.value.lineno, node.arg


def imports(nodes):
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, node.module or ""
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def may_import(module, file):
    if any(module == never or module.startswith(f"{never}.") for never in NEVER_IMPORTED):
        return False
    return file in IMPORTS_ALLOWED.get(module.partition(".")[0], {file})


def makes_code(node):
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in MADE_CODE


def findings(source, file):
    """Return what is wrong with a source file, one line each."""
    nodes = list(ast.walk(ast.parse(source)))
    words = [*names(nodes), *((line, text) for line, text in texts(nodes) if text.isidentifier())]
    found = [(line, f"{name} is a private method") for line, name in words if ORDER_METHOD.fullmatch(plain(name))]
    if file not in CREDENTIALS_ALLOWED:
        found += [(line, f"{name} is a credential") for line, name in words if CREDENTIAL.fullmatch(name)]
    if file not in PATHS_ALLOWED:
        found += [(line, f"{text!r} is a private path") for line, text in texts(nodes) if PRIVATE_PATH.search(text)]
    found += [
        (line, f"imports {module}; if it must, say so in IMPORTS_ALLOWED")
        for line, module in imports(nodes)
        if not may_import(module, file)
    ]
    found += [(node.lineno, "makes code at run time") for node in nodes if makes_code(node)]
    return [f"{file}:{line}: {what}" for line, what in found]


@pytest.mark.parametrize("path", SOURCES, ids=name_in_package)
def test_no_order_is_placed_here(path):
    assert findings(path.read_text(encoding="utf-8"), name_in_package(path)) == []


def test_every_source_file_was_read():
    assert len(SOURCES) > 40
    assert PACKAGE / "data" / "public_door.py" in SOURCES


def test_the_lists_of_exceptions_name_files_that_exist_and_need_them():
    for module, files in IMPORTS_ALLOWED.items():
        for file in files:
            nodes = list(ast.walk(ast.parse((PACKAGE / file).read_text(encoding="utf-8"))))
            assert module in {name.partition(".")[0] for _, name in imports(nodes)}, f"{file} does not need {module}"
    for file in PATHS_ALLOWED | CREDENTIALS_ALLOWED:
        assert (PACKAGE / file).is_file()


@pytest.mark.parametrize(
    "line",
    [
        "client.create_order('BTC/USDT', 'limit', 'buy', 1, 1)",
        "client.createOrder()",
        "place = exchange.create_limit_buy_order",
        "exchange.create_market_order_with_cost(1)",
        "exchange.edit_order()",
        "exchange.editOrderWs()",
        "exchange.cancel_order()",
        "exchange.cancel_all_orders_after()",
        "exchange.cancelAllOrders()",
        "exchange.withdraw('BTC', 1, 'x')",
        "exchange.transfer('BTC', 1, 'spot', 'swap')",
        "exchange.set_leverage(20)",
        "exchange.setMarginMode('cross')",
        "exchange.close_all_positions()",
        "exchange.borrow_cross_margin('BTC', 1)",
        "exchange.fetch_balance()",
        "exchange.fetch_my_trades()",
        "exchange.private_post_order({})",
        "exchange.fapiPrivatePostOrder({})",
        "exchange.v5_private_post_order_create({})",
        "exchange.sapi_post_margin_order({})",
        "exchange.sapiV3PostAsset({})",
        "exchange.sign_in()",
        "getattr(exchange, 'create_order')()",
        "operator.methodcaller('createOrder')(exchange)",
        "METHOD = 'withdraw'",
        "from broker import create_order",
        "exchange.apiKey = 'x'",
        "ccxt_class(apiKey='x')",
        "config = {'secret': value}",
        "os.environ['BINANCE_API_KEY']",
        "os.environ.get('EXCHANGE_SECRET')",
        "Settings.api_key",
        "post('https://api.binance.com/api/v3/order')",
        "url = base + '/fapi/v1/batchOrders'",
        "url = f'{base}/api/v5/account/balance'",
        "url = '/sapi/v1/capital/withdraw/apply'",
        "import ccxt",
        "import ccxt.pro",
        "from ccxt import binance",
        "from ccxt.async_support import binance",
        "import requests",
        "import aiohttp",
        "import websockets.client",
        "from urllib.request import urlopen",
        "from urllib import request",
        "import urllib.request",
        "from http import client",
        "import http.client",
        "import socket",
        "import subprocess",
        "eval('x')",
        "exec(text)",
        "__import__('ccxt')",
    ],
)
def test_one_line_of_mischief_is_found(line):
    for file in ("backtesting/step.py", "realtime/paper.py"):
        for source in (line, f"def f():\n    {line}\n", f"class A:\n    async def f(self):\n        {line}\n"):
            assert findings(source, file), source


@pytest.mark.parametrize("file", ["data/real_market_data.py", "data/public_door.py", "realtime/sim_protocol.py"])
@pytest.mark.parametrize("line", ["exchange.create_order()", "getattr(exchange, 'createOrder')", "client.withdraw()"])
def test_no_file_may_call_a_private_method(file, line):
    assert findings(line, file)


@pytest.mark.parametrize(
    "line",
    [
        "state.order_id = 1",
        "self.cancel(order)",
        "own.cancel_ns",
        "client.order_book('BTC/USDT')",
        "client.fetch_order_book('BTC/USDT')",
        "signal.signal(signal.SIGINT, stop)",
        "sign = side * qty",
        "from urllib.parse import urlsplit",
        "'the order is cancelled when it crosses'",
        '"""Docstrings may speak of create_order and of /api/v3/order."""',
        "frame['position']",
        "model.transfer_function",
        "token = line.split()",
    ],
)
def test_honest_lines_pass(line):
    assert findings(line, "backtesting/step.py") == []


def test_the_pattern_knows_what_ccxt_can_do_with_orders_and_money():
    """Whatever ccxt's base class offers under these verbs is covered, by whichever spelling."""
    verbs = re.compile(
        r"(create|edit|cancel)_?\w*order|withdraw$|^transfer$|set_?(leverage|margin|position)|^close_?\w*position",
        re.IGNORECASE,
    )
    asking = re.compile(r"fetch|parse|handle|request|is_|safe")
    offered = {name for name in dir(ccxt.binance) if verbs.search(name) and not asking.search(name)}
    offered = {name for name in offered if callable(getattr(ccxt.binance, name))}
    assert len(offered) > 60
    assert {name for name in offered if not ORDER_METHOD.fullmatch(plain(name))} == set()
    for name in CREDENTIALS:
        assert CREDENTIAL.fullmatch(name) or name in {"uid", "accountId", "login", "twofa", "token"}


def test_no_public_method_is_caught_by_mistake():
    assert [name for name in PUBLIC_METHODS if ORDER_METHOD.fullmatch(plain(name))] == []
