"""One line of a Binance capture, read slowly and with every check: what the compiled reader leaves over.

Fields: https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams and
https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from marketmakerl.data.capture_lines import Grid, split_receipt
from marketmakerl.data.captured_messages import (
    NOT_SAID,
    Heard,
    MessageList,
    OtherKindError,
    RefusedError,
    field_of,
    short,
    symbol_hash,
    time_ns,
    whole,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_PARTIAL: Final = re.compile(r"@depth[0-9]")
_REPLY_KEYS: Final = ({"result", "id"}, {"error", "id"}, {"code", "msg"}, {"error"})


class Payloads:
    """Reads lines of one symbol.

    Args:
        symbol: the exchange's spelling, upper case.
        grid: its tick and lot.
    """

    def __init__(self, symbol: str, grid: Grid) -> None:
        self.symbol = symbol
        self.grid = grid
        self._readers: dict[str, Callable[[dict[str, Any], dict[str, int], MessageList], None]] = {
            "depthUpdate": self._diff,
            "trade": self._trade,
            "aggTrade": self._trade,
            "bookTicker": self._bbo,
        }

    def read(self, line: int, text: bytes, found: MessageList) -> None:
        """Add the message of a line.

        Raises:
            RefusedError: it cannot be used.
            OtherKindError: it is no market data of this symbol.
        """
        number, message = split_receipt(text)
        where = {"line": line, "local": time_ns(number, "time of receipt")}
        stream, message = _unwrapped(message)
        kind = message.get("e", "")
        if not isinstance(kind, str):
            raise RefusedError("bad-shape", f"event {short(kind)} is no text")
        if not kind and {"bids", "asks"} & message.keys():
            self._snapshot(message, stream, where, found)
        elif kind in self._readers or (not kind and {"u", "s"} <= message.keys()):
            if self._is_ours(message, kind, where, found):
                self._readers[kind or "bookTicker"](message, where, found)
        elif kind or any(keys <= message.keys() for keys in _REPLY_KEYS):
            raise OtherKindError(kind[:40] or "reply to a request")
        else:
            raise RefusedError("bad-shape", f"no kind of message known here: fields {', '.join(message)[:60]}")

    def _is_ours(self, message: dict[str, Any], kind: str, where: dict[str, int], found: MessageList) -> bool:
        name = field_of(message, "s", str)
        if name == self.symbol:
            return True
        first, last = message.get("U"), message.get("u")
        if kind == "depthUpdate" and isinstance(first, int) and isinstance(last, int) and 0 <= first <= last < 1 << 62:
            number = symbol_hash(name)
            ids = {"seq": last, "first_seq": first, "prev_seq": number}
            found.add(**where, heard=Heard.OTHER_DIFF, ts=NOT_SAID, **ids, levels=[])
        else:
            found.add(**where, heard=Heard.OTHER, ts=NOT_SAID, levels=[])
        return False

    def _diff(self, message: dict[str, Any], where: dict[str, int], found: MessageList) -> None:
        first, last = whole(field_of(message, "U", int), "U"), whole(field_of(message, "u", int), "u")
        if first > last:
            raise RefusedError("bad-id", f"first id {first} after the last {last}")
        before = whole(message["pu"], "pu") if message.get("pu") is not None else NOT_SAID
        levels = self.grid.levels(field_of(message, "b", list), bid=True)
        levels += self.grid.levels(field_of(message, "a", list), bid=False)
        ts = _sent(message)
        if ts == NOT_SAID:
            raise RefusedError("bad-time", "neither T nor E says when")
        ids = {"seq": last, "first_seq": first, "prev_seq": before}
        found.add(**where, heard=Heard.DIFF, ts=ts, **ids, levels=levels)

    def _snapshot(self, message: dict[str, Any], stream: str, where: dict[str, int], found: MessageList) -> None:
        # An answer of the exchange names no symbol; what recorders add to it does.
        named = message.get("symbol") or message.get("s") or stream.partition("@")[0].upper() or self.symbol
        if named != self.symbol:
            raise OtherKindError("snapshot of another symbol")
        last = whole(field_of(message, "lastUpdateId", int), "lastUpdateId")
        levels = self.grid.levels(field_of(message, "bids", list), bid=True)
        levels += self.grid.levels(field_of(message, "asks", list), bid=False)
        if not levels:
            raise RefusedError("bad-shape", "a snapshot of an empty book")
        found.add(**where, heard=Heard.SNAPSHOT, ts=_sent(message), seq=last, levels=levels)

    def _trade(self, message: dict[str, Any], where: dict[str, int], found: MessageList) -> None:
        kind = message["e"]
        market = message.get("X", "MARKET")
        if market != "MARKET":  # insurance fund and the like: no order of the book was hit
            raise OtherKindError(f"trade of kind {short(market)[:20]}")
        maker = field_of(message, "m", bool)
        price, qty = self.grid.price(message.get("p")), self.grid.qty(message.get("q"), zero=False, whole_lots=True)
        number = whole(field_of(message, "t" if kind == "trade" else "a", int), "trade id")
        buy, sell = (Heard.TRADE_BUY, Heard.TRADE_SELL) if kind == "trade" else (Heard.AGG_BUY, Heard.AGG_SELL)
        ts = time_ns(field_of(message, "T", int), "T")
        found.add(**where, heard=sell if maker else buy, ts=ts, seq=number, levels=[(maker, price, qty)])

    def _bbo(self, message: dict[str, Any], where: dict[str, int], found: MessageList) -> None:
        seq = whole(field_of(message, "u", int), "u")
        levels = [
            (bid, self.grid.price(message.get(price)), self.grid.qty(message.get(qty), zero=False))
            for bid, price, qty in ((True, "b", "B"), (False, "a", "A"))
        ]
        found.add(**where, heard=Heard.BBO, ts=_sent(message), seq=seq, levels=levels)


def _unwrapped(message: Any) -> tuple[str, dict[str, Any]]:
    """Return the stream's name, empty for a message that came alone, and the payload."""
    if not isinstance(message, dict):
        raise RefusedError("bad-shape", f"the message is {short(message)}, not an object")
    if "stream" not in message and "data" not in message:
        return "", message
    stream = field_of(message, "stream", str)
    if isinstance(message.get("data"), list):
        raise OtherKindError(stream.partition("@")[0][:40])  # all markets at once, such as !ticker@arr
    payload: dict[str, Any] = field_of(message, "data", dict)
    if _PARTIAL.search(stream):
        raise OtherKindError("partial books")
    return stream, payload


def _sent(message: dict[str, Any]) -> int:
    """Return when the exchange changed its book (T), else when it said so (E), -1 where it gives neither."""
    for name in ("T", "E"):
        if message.get(name) is not None:
            return time_ns(message[name], name)
    return NOT_SAID
