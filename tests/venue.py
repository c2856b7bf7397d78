"""Stand-ins for an exchange: recorded or invented answers over HTTP, or in the place of ccxt."""

from __future__ import annotations

import re
import threading
from contextlib import contextmanager

import orjson

from marketmakerl.core.clock import NS_PER_MS
from marketmakerl.realtime.sim_protocol import Reply
from marketmakerl.realtime.sim_server import Server

# One of each question, without the prefix of the API.
TARGETS = [
    "klines?symbol=BTCUSDT&interval=1m&limit=100",
    "klines?symbol=BTCUSDT&interval=1h",
    "depth?symbol=BTCUSDT&limit=20",
    "trades?symbol=BTCUSDT&limit=200",
    "aggTrades?symbol=BTCUSDT&limit=200",
    "exchangeInfo",
    "time",
]


@contextmanager
def replaying(answers):
    """Serve recorded bodies: `answers` maps "path" or "path?symbol" to a body, or is a function of (method, target)."""
    requests = []

    def answer(method, target):
        requests.append(target)
        if callable(answers):
            return answers(method, target)
        path, _, query = target.partition("?")
        symbol = re.search(r"symbol=(\w+)", query)
        body = answers.get(f"{path}?{symbol[1]}" if symbol else path, answers.get(path))
        return Reply(404, b"{}", {}) if body is None else Reply(200, body, {})

    server = Server(("127.0.0.1", 0), answer)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", requests
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def with_door(client, call):
    """Put `call(name, *args)` in the place of ccxt."""
    object.__setattr__(client, "_door", client._door._replace(call=call))
    return client


def ask(rest, target, now_ms):
    """Return the document that the offline venue answers with at a time."""
    reply = rest.reply("GET", target, now_ms * NS_PER_MS)
    assert reply.status == 200, reply.body
    return orjson.loads(reply.body)
