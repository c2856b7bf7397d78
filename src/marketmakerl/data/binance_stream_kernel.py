"""Compiled: Binance market data lines in the form the exchange writes them, read straight from the bytes.

Reads what is plain and refuses nothing: a line that is not plain JSON, has a number of another form, a price off the
tick, or that is wrong in any way, is only noted, and `marketmakerl.data.binance_payload` decides on it. What both can
read they read alike, which the tests hold them to.
"""

from __future__ import annotations

import enum
from typing import Any

import numpy as np
from numba import types

from marketmakerl.core.jit import njit
from marketmakerl.data.captured_messages import HASH_PRIME, MAX_NS, MIN_NS, Field, Heard
from marketmakerl.data.decimal_steps import BYTES, NOT_PLAIN, POWER_TABLE, byte_at, is_digit, parse_steps
from marketmakerl.data.grid import MAX_PRICE_TICKS, MAX_QTY_LOTS


class Slot(enum.IntEnum):
    """What stands where in the state (int64)."""

    LINES = 0  # read so far
    MESSAGES = 1
    LEVELS = 2
    UNPLAIN = 3  # lines left to the slow reader


STATE_SIZE = len(Slot)

# What one line says; -1: nothing. Numbers, then decimals, then how many levels, then where texts begin and end.
_E, _T, _U_FIRST, _U, _PU, _ID, _AGG, _LAST_ID, _EVENT, _MARKET, _MAKER = range(11)
_BID_PX, _BID_QTY, _ASK_PX, _ASK_QTY, _PX, _QTY = range(11, 17)
_BIDS, _ASKS, _LONG_NAMES, _OFF_GRID, _STREAM, _SYMBOL, _SYMBOL_END = range(17, 24)
_VALUES = 24
_DEPTH, _TRADE, _AGG_TRADE, _BOOK_TICKER = 1, 2, 3, 4
_F_LINE, _F_HEARD, _F_TS, _F_LOCAL, _F_SEQ, _F_FIRST, _F_PREV, _F_START, _F_SIZE = (int(field) for field in Field)
_DIFF, _SNAPSHOT, _BUY, _SELL, _AGG_BUY, _AGG_SELL, _BBO, _OTHER_DIFF, _OTHER = (int(heard) for heard in Heard)
_S_LINES, _S_MESSAGES, _S_LEVELS, _S_UNPLAIN = (int(slot) for slot in Slot)
_LAST_SAFE = (2**63 - 1) // 10  # one more digit may not fit
_LOW, _HIGH = int(MIN_NS), int(MAX_NS)
_QUOTE, _COMMA, _COLON, _OPEN, _CLOSE, _BRACE, _END_BRACE, _ESCAPE, _LINE_FEED = b'",:[]{}\\\n'
_LAST = (108, 97, 115, 116)
_LETTER_T, _LETTER_F, _LETTER_N = b"tfn"

_INTS = types.int64[::1]
_ROWS = types.Tuple((types.boolean[::1], _INTS, _INTS))


def _code(text: str) -> int:
    """Return the last eight letters of a key as one number."""
    return int.from_bytes(text.encode()[-8:], "big")


_K_STREAM, _K_DATA, _K_BIDS, _K_ASKS, _K_LAST_ID, _K_PU, _K_SYMBOL = (
    _code(text) for text in ("stream", "data", "bids", "asks", "lastUpdateId", "pu", "symbol")
)
_K_E, _K_T, _K_U_FIRST, _K_U, _K_ID, _K_A, _K_B, _K_B_QTY, _K_A_QTY, _K_P, _K_Q, _K_S, _K_EVENT, _K_MAKER, _K_MARKET = (
    b"ETUutabBApqsemX"
)
_N_DEPTH, _N_TRADE, _N_AGG, _N_BOOK, _N_MARKET = (
    _code(text) for text in ("depthUpdate", "trade", "aggTrade", "bookTicker", "MARKET")
)


@njit(types.UniTuple(types.int64, 2)(BYTES, types.int64))
def _whole(text: Any, at: Any) -> Any:
    """Read digits; return the number (-1: none, not as JSON writes it, or too long) and the place after them."""
    begin = at
    value = np.int64(0)
    while is_digit(byte_at(text, at)):
        if value >= _LAST_SAFE:
            return -1, at
        value = value * 10 + (np.int64(byte_at(text, at)) - 48)
        at += 1
    if at == begin or (byte_at(text, begin) == 48 and at - begin > 1):
        return -1, at
    return value, at


@njit(types.int64(BYTES, types.int64))
def _text_end(text: Any, at: Any) -> Any:
    """Return where the text that begins at `at` (after the quote) has its closing quote; -1: not plain ASCII."""
    while True:
        letter = byte_at(text, at)
        if letter == _QUOTE:
            return at
        if letter < 32 or letter > 126 or letter == _ESCAPE:
            return -1
        at += 1


@njit(types.int64(BYTES, types.int64, types.int64))
def _packed(text: Any, begin: Any, end: Any) -> Any:
    """Return the last eight letters as one number."""
    value = np.int64(0)
    for at in range(max(begin, end - 8), end):
        value = (value << 8) | np.int64(byte_at(text, at))
    return value


@njit(types.int64(BYTES, types.int64, types.int64))
def _key(text: Any, begin: Any, end: Any) -> Any:
    """Return a key as one number; of the long ones, which have the same number as others, only lastUpdateId."""
    number = _packed(text, begin, end)
    if end - begin <= 8:
        return number
    if number != _K_LAST_ID or end - begin != 12:
        return 0
    for at in range(4):
        if byte_at(text, begin + at) != _LAST[at]:
            return 0
    return number


@njit(types.int64(types.int64))
def _to_ns(value: Any) -> Any:
    """Return a time in ms, us or ns as nanoseconds, -1 if it is none."""
    if 10**12 <= value < 10**13:
        value *= 1_000_000
    elif 10**15 <= value < 10**16:
        value *= 1_000
    elif value < 10**18:
        return -1
    return value if _LOW <= value <= _HIGH else -1


@njit(types.int64(BYTES, types.int64, _INTS, POWER_TABLE, _ROWS, types.int64, types.boolean, _INTS))
def _levels(text: Any, at: Any, grid: Any, powers: Any, levels: Any, row: Any, is_bid: Any, value: Any) -> Any:
    """Read [["price","quantity"],...] from the bracket at `at` into rows from `row` on.

    Returns the place after it, -1 if it is not plain; the number of levels goes into `value`.
    """
    bid, price, qty = levels
    slot = _BIDS if is_bid else _ASKS
    if value[slot] != -1:
        return -1
    first = row
    at += 1
    if byte_at(text, at) == _CLOSE:
        value[slot] = 0
        return at + 1
    while True:
        if byte_at(text, at) != _OPEN:
            return -1
        ticks, at = parse_steps(text, at + 1, grid[0], grid[1], powers)
        if ticks == NOT_PLAIN or byte_at(text, at) != _COMMA:
            return -1
        lots, at = parse_steps(text, at + 1, grid[2], grid[3], powers)
        if lots == NOT_PLAIN or byte_at(text, at) != _CLOSE:
            return -1
        if ticks <= 0 or ticks >= MAX_PRICE_TICKS or lots < 0 or lots >= MAX_QTY_LOTS:
            value[_OFF_GRID] = 1
        level = np.uint64(row)
        bid[level], price[level], qty[level] = is_bid, ticks, lots
        row += 1
        at += 1
        if byte_at(text, at) == _CLOSE:
            value[slot] = row - first
            return at + 1
        if byte_at(text, at) != _COMMA:
            return -1
        at += 1


@njit(types.int64(types.int64))
def _number_slot(key: Any) -> Any:
    """Return where the whole number of a key goes, -1 for a key without one."""
    if key == _K_E:
        return _E
    if key == _K_T:
        return _T
    if key == _K_U_FIRST:
        return _U_FIRST
    if key == _K_U:
        return _U
    if key == _K_PU:
        return _PU
    if key == _K_ID:
        return _ID
    if key == _K_A:
        return _AGG
    if key == _K_LAST_ID:
        return _LAST_ID
    return -1


@njit(types.int64(types.int64))
def _decimal_slot(key: Any) -> Any:
    """Return where the decimal of a key goes, -1 for a key without one."""
    if key == _K_B:
        return _BID_PX
    if key == _K_B_QTY:
        return _BID_QTY
    if key == _K_A:
        return _ASK_PX
    if key == _K_A_QTY:
        return _ASK_QTY
    if key == _K_P:
        return _PX
    if key == _K_Q:
        return _QTY
    return -1


@njit(types.int64(BYTES, types.int64, types.int64))
def _event(text: Any, begin: Any, end: Any) -> Any:
    """Return which event a name is, 0 for one that is left to the slow reader."""
    packed, length = _packed(text, begin, end), end - begin
    if (
        packed == _N_DEPTH
        and length == 11
        and byte_at(text, begin) == 100
        and byte_at(text, begin + 1) == 101
        and byte_at(text, begin + 2) == 112
    ):
        return _DEPTH
    if packed == _N_TRADE:
        return _TRADE
    if packed == _N_AGG and length == 8:
        return _AGG_TRADE
    if packed == _N_BOOK and length == 10 and byte_at(text, begin) == 98 and byte_at(text, begin + 1) == 111:
        return _BOOK_TICKER
    return 0


@njit(types.int64(BYTES, types.int64, types.int64, _INTS, _INTS, POWER_TABLE))
def _quoted(text: Any, at: Any, key: Any, value: Any, grid: Any, powers: Any) -> Any:
    """Read the quoted value of a key; return the place after it, -1 if it is not plain."""
    slot = _decimal_slot(key)
    if slot >= 0:
        is_price = slot == _BID_PX or slot == _ASK_PX or slot == _PX
        of = 0 if is_price else 2
        steps, at = parse_steps(text, at, grid[of], grid[of + 1], powers)
        if steps == NOT_PLAIN:
            return -1
        if steps <= 0 or steps >= (MAX_PRICE_TICKS if is_price else MAX_QTY_LOTS):
            value[_OFF_GRID] = 1
        value[slot] = steps
        return at
    end = _text_end(text, at + 1)
    if end < 0 or _number_slot(key) >= 0 or key == _K_MAKER:
        return -1
    if key == _K_S:
        value[_SYMBOL], value[_SYMBOL_END] = at + 1, end
    elif key == _K_EVENT:
        value[_EVENT] = _event(text, at + 1, end)
        if value[_EVENT] == 0:
            return -1
    elif key == _K_MARKET:
        value[_MARKET] = 1 if _packed(text, at + 1, end) == _N_MARKET else 0
    return end + 1


@njit(types.int64(BYTES, types.int64, types.int64, _INTS))
def _literal(text: Any, at: Any, key: Any, value: Any) -> Any:
    """Read true, false or null; return the place after it, -1 if it is something else or says nothing for the key."""
    if _number_slot(key) >= 0 or _decimal_slot(key) >= 0 or key == _K_S or key == _K_EVENT or key == _K_MARKET:
        return -1
    if (
        byte_at(text, at) == _LETTER_T
        and byte_at(text, at + 1) == 114
        and byte_at(text, at + 2) == 117
        and byte_at(text, at + 3) == 101
    ):
        if key == _K_MAKER:
            value[_MAKER] = 1
        return at + 4
    if (
        byte_at(text, at) == _LETTER_F
        and byte_at(text, at + 1) == 97
        and byte_at(text, at + 2) == 108
        and byte_at(text, at + 3) == 115
    ):
        if byte_at(text, at + 4) != 101:
            return -1
        if key == _K_MAKER:
            value[_MAKER] = 0
        return at + 5
    null = (
        byte_at(text, at) == _LETTER_N
        and byte_at(text, at + 1) == 117
        and byte_at(text, at + 2) == 108
        and byte_at(text, at + 3) == 108
    )
    return at + 4 if null and key != _K_MAKER else -1


@njit(types.int64(BYTES, types.int64, types.int64, types.int64, _INTS, _INTS, POWER_TABLE, _ROWS, types.int64))
def _value(text: Any, at: Any, key: Any, length: Any, value: Any, grid: Any, powers: Any, levels: Any, row: Any) -> Any:
    """Read the value of a payload's key; return the place after it, -1 if it is not plain."""
    letter = byte_at(text, at)
    if letter == _QUOTE:
        return _quoted(text, at, key, value, grid, powers)
    if letter == _OPEN:
        if key == _K_BIDS or key == _K_ASKS:
            value[_LONG_NAMES] = 1
        elif key != _K_B and key != _K_A:
            return -1
        more = max(value[_BIDS], 0) + max(value[_ASKS], 0)
        return _levels(text, at, grid, powers, levels, row + more, key == _K_B or key == _K_BIDS, value)
    if is_digit(letter):
        number, at = _whole(text, at)
        slot = _number_slot(key)
        if number < 0 or number > 1 << 62:
            return -1
        if slot >= 0:
            if length > 1 and value[slot] != -1:
                return -1
            value[slot] = number
        elif (
            (_decimal_slot(key) >= 0 and key != _K_B)
            or key == _K_S
            or key == _K_EVENT
            or key == _K_MARKET
            or key == _K_MAKER
        ):  # the buyer's order id in old trades
            return -1
        return at
    return _literal(text, at, key, value)


@njit(types.int64(BYTES, types.int64, _INTS, _INTS, POWER_TABLE, _ROWS, types.int64))
def _object(text: Any, at: Any, value: Any, grid: Any, powers: Any, levels: Any, row: Any) -> Any:
    """Read the JSON of a line from its brace on; return the place after it, -1 if it is not plain."""
    inside, left = False, False  # of "data"
    seen = np.int64(0)  # keys of one letter: none may come twice
    at += 1
    while True:
        if byte_at(text, at) != _QUOTE:
            return -1
        begin = at + 1
        end = _text_end(text, begin)
        if end < 0 or byte_at(text, end + 1) != _COLON:
            return -1
        at = end + 2
        key, length = _key(text, begin, end), end - begin
        if key == _K_STREAM:
            at = _text_end(text, at + 1) + 1 if byte_at(text, at) == _QUOTE else 0
            if inside or at == 0 or value[_STREAM] != -1:
                return -1
            value[_STREAM] = end + 3
        elif key == _K_DATA:
            if inside or left or seen or byte_at(text, at) != _BRACE:
                return -1
            inside = True
            at += 1
            continue
        elif key == _K_SYMBOL:
            return -1
        else:
            bit = np.int64(1) << (key - 64) if length == 1 and 64 <= key < 126 else np.int64(1) << 62
            if left or (length == 1 and seen & bit):
                return -1
            seen |= bit
            at = _value(text, at, key, length, value, grid, powers, levels, row)
            if at < 0:
                return -1
        while byte_at(text, at) == _END_BRACE:
            at += 1
            if not inside:
                # A stream's name without its data, or the other way round, is not a combined stream.
                return at if left == (value[_STREAM] != -1) else -1
            inside, left = False, True
        if byte_at(text, at) != _COMMA:
            return -1
        at += 1


@njit(types.boolean(BYTES, types.int64))
def _partial(text: Any, at: Any) -> Any:
    """Return whether a stream's name is that of partial books (@depth5, not @depth or @depth@100ms)."""
    while byte_at(text, at) != _QUOTE:
        if byte_at(text, at) == 64 and byte_at(text, at + 1) == 100:  # @d
            while byte_at(text, at) != _QUOTE and byte_at(text, at) != 104:  # h
                at += 1
            return byte_at(text, at) == 104 and is_digit(byte_at(text, at + 1))
        at += 1
    return False


@njit(types.boolean(BYTES, _INTS, types.Array(types.uint8, 1, "C", readonly=True)))
def _is_ours(text: Any, value: Any, symbol: Any) -> Any:
    begin = value[_SYMBOL]
    if value[_SYMBOL_END] - begin != len(symbol):
        return False
    for at in range(len(symbol)):
        if byte_at(text, begin + at) != symbol[at]:
            return False
    return True


@njit(types.int64(BYTES, _INTS))
def _hash(text: Any, value: Any) -> Any:
    """Return what `symbol_hash` does."""
    number = np.int64(0)
    for at in range(value[_SYMBOL], value[_SYMBOL_END]):
        number = (number * 257 + np.int64(byte_at(text, at))) % HASH_PRIME
    return number


@njit(types.int64(_INTS))
def _heard(value: Any) -> Any:
    """Return what a payload of our symbol, or without a symbol, is; 0 if something is missing or odd."""
    event, whole_book = value[_EVENT], value[_LONG_NAMES] == 1
    if event == _DEPTH:
        ids = value[_U_FIRST] >= 0 and value[_U] >= value[_U_FIRST] and (value[_E] >= 0 or value[_T] >= 0)
        return _DIFF if ids and value[_BIDS] >= 0 and value[_ASKS] >= 0 and not whole_book else 0
    if value[_BIDS] >= 0 or value[_ASKS] >= 0:
        plain = event == -1 and whole_book and value[_BIDS] >= 0 and value[_ASKS] >= 0 and value[_LAST_ID] >= 0
        return _SNAPSHOT if plain and value[_STREAM] == -1 and value[_BIDS] + value[_ASKS] > 0 else 0
    if event == _TRADE or event == _AGG_TRADE:
        number = value[_ID] if event == _TRADE else value[_AGG]
        if number < 0 or value[_T] < 0 or value[_PX] < 0 or value[_QTY] < 0 or value[_MAKER] < 0 or value[_MARKET] == 0:
            return 0
        return (_BUY if event == _TRADE else _AGG_BUY) + value[_MAKER]
    quoted = value[_BID_PX] >= 0 and value[_BID_QTY] >= 0 and value[_ASK_PX] >= 0 and value[_ASK_QTY] >= 0
    return _BBO if quoted and value[_U] >= 0 else 0


@njit(types.boolean(BYTES, _INTS, types.Array(types.uint8, 1, "C", readonly=True), _INTS, _ROWS, types.int64))
def _note(text: Any, value: Any, symbol: Any, message: Any, levels: Any, row: Any) -> Any:
    """Write the message that a line holds; return False if the slow reader must see it."""
    bid, price, qty = levels
    message[_F_TS:_F_START] = -1
    message[_F_START], message[_F_SIZE] = row, 0
    if value[_STREAM] != -1 and value[_EVENT] == _DEPTH and _partial(text, value[_STREAM]):
        return False
    if value[_SYMBOL] != -1 and not _is_ours(text, value, symbol):
        if value[_EVENT] == -1 and (value[_U] == -1 or value[_LONG_NAMES] == 1):
            return False
        message[_F_HEARD] = _OTHER
        if value[_EVENT] == _DEPTH and value[_U] >= value[_U_FIRST] >= 0:
            message[_F_HEARD] = _OTHER_DIFF
            message[_F_SEQ], message[_F_FIRST], message[_F_PREV] = value[_U], value[_U_FIRST], _hash(text, value)
        return True
    heard = _heard(value)
    if heard == 0 or value[_OFF_GRID] == 1 or (value[_SYMBOL] == -1) != (heard == _SNAPSHOT):
        return False
    sent = value[_T] if value[_T] >= 0 else value[_E]
    message[_F_HEARD], message[_F_TS] = heard, _to_ns(sent)
    if sent >= 0 and message[_F_TS] < 0:
        return False
    if heard == _DIFF or heard == _SNAPSHOT:
        message[_F_SEQ] = value[_U] if heard == _DIFF else value[_LAST_ID]
        if heard == _DIFF:
            message[_F_FIRST], message[_F_PREV] = value[_U_FIRST], value[_PU]
        message[_F_SIZE] = value[_BIDS] + value[_ASKS]
    elif heard == _BBO:
        message[_F_SEQ], message[_F_SIZE] = value[_U], 2
        bid[row], price[row], qty[row] = True, value[_BID_PX], value[_BID_QTY]
        bid[row + 1], price[row + 1], qty[row + 1] = False, value[_ASK_PX], value[_ASK_QTY]
    else:
        message[_F_SEQ] = value[_ID] if heard <= _SELL else value[_AGG]
        message[_F_SIZE] = 1
        bid[row], price[row], qty[row] = heard == _SELL or heard == _AGG_SELL, value[_PX], value[_QTY]
    return True


@njit(
    types.int64(BYTES, types.int64, BYTES, _INTS, POWER_TABLE, types.int64[:, ::1], _ROWS, types.int64[:, ::1], _INTS)
)
def scan(
    text: Any, at: Any, symbol: Any, grid: Any, powers: Any, table: Any, levels: Any, unplain: Any, state: Any
) -> Any:
    """Read lines `<time of receipt> <JSON>` until the text ends or a table is full; return the place after them.

    Args:
        text: uint8[n], whole lines, the last byte is a line feed.
        at: where to begin.
        symbol: uint8[k], the exchange's spelling.
        grid: numerator and digits of the tick, then of the lot, see `DecimalStep`.
        powers: of ten.
        table: int64[m, FIELDS], gets the messages.
        levels: bid, price, qty: room for as many levels as the text can hold (one in ten bytes), and two.
        unplain: int64[m, 3], gets line number, begin and end of each line left to the slow reader.
        state: int64[STATE_SIZE]; LINES goes on from call to call, the others begin at zero.
    """
    value = np.empty(_VALUES, np.int64)
    while at < len(text) and max(state[_S_MESSAGES], state[_S_UNPLAIN]) < len(table):
        begin = at
        value[:] = -1
        number, at = _whole(text, at)
        local = _to_ns(number)
        row = state[_S_LEVELS]
        message = table[state[_S_MESSAGES]]
        fine = local > 0 and byte_at(text, at) == 32 and byte_at(text, at + 1) == _BRACE
        if fine:
            at = _object(text, at + 1, value, grid, powers, levels, row)
            fine = at > 0 and byte_at(text, at) == _LINE_FEED and _note(text, value, symbol, message, levels, row)
        state[_S_LINES] += 1
        if fine:
            message[_F_LINE], message[_F_LOCAL] = state[_S_LINES], local
            state[_S_LEVELS] += message[_F_SIZE]
            state[_S_MESSAGES] += 1
            at += 1
            continue
        at = begin
        while byte_at(text, at) != _LINE_FEED:
            at += 1
        note = unplain[state[_S_UNPLAIN]]
        note[0], note[1], note[2] = state[_S_LINES], begin, at
        state[_S_UNPLAIN] += 1
        at += 1
    return at
