"""Arrays by address: how compiled code reaches its many arrays without carrying their owners from call to call.

Passing an array to a compiled function costs two atomic reference counts and seven machine words; a kernel of small
functions over a dozen arrays would spend most of its time on that. Here the addresses stand in one record, and a
function that needs an array makes a view of it in no time. Whoever fills the record keeps the arrays alive.

A view has no length: what may be touched is up to the counters that travel in the state.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Callable

_NUMBA: Any = numba
_DISABLED: bool = bool(_NUMBA.config.DISABLE_JIT)
_ROWS = 1 << 32  # more than there can be
_KNOWN: dict[int, Any] = {}  # by address; without a compiler only


def _compiled(dtype: Any) -> Callable[[int], Any]:
    from numba import types  # noqa: PLC0415
    from numba.core import cgutils  # noqa: PLC0415
    from numba.extending import intrinsic  # noqa: PLC0415

    carray: Any = _NUMBA.carray

    @intrinsic
    def make_pointer(_typing_context: Any, _address: Any) -> Any:
        def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            return builder.inttoptr(args[0], cgutils.voidptr_t)

        return types.voidptr(types.int64), generate

    pointer: Any = make_pointer

    @_NUMBA.njit  # type: ignore[untyped-decorator]
    def view(address: int) -> Any:
        return carray(pointer(address), (_ROWS,), dtype)

    return view  # type: ignore[no-any-return]


def viewer(dtype: npt.DTypeLike) -> Callable[[int], Any]:
    """Return a function from an address to a view of the `dtype` rows that lie there, for use in compiled code.

    Under NUMBA_DISABLE_JIT=1 it is plain Python that does the same.
    """
    fixed: Any = np.dtype(dtype)
    if not _DISABLED:
        return _compiled(fixed)

    def view(address: int) -> Any:
        array = _KNOWN[int(address)]()
        if array is None:
            raise ValueError(f"nothing lies at {address} any more")
        return array.view(np.recarray) if fixed.names else array

    return view


def _compiled_copy() -> Callable[[Any, Any], None]:
    from llvmlite import ir  # noqa: PLC0415
    from numba import types  # noqa: PLC0415
    from numba.core import cgutils  # noqa: PLC0415
    from numba.extending import intrinsic  # noqa: PLC0415

    @intrinsic
    def copy(_typing_context: Any, to: Any, source: Any) -> Any:
        def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            cgutils.raw_memcpy(builder, args[0], args[1], ir.Constant(ir.IntType(64), source.size), 1)

        return types.void(to, source), generate

    made: Any = copy
    return made  # type: ignore[no-any-return]


def _copy_in_python(to: Any, source: Any) -> None:
    for name in source.dtype.names:
        to[name] = source[name]


def _compiled_compare() -> Callable[[Any, Any], bool]:
    from llvmlite import ir  # noqa: PLC0415
    from numba import types  # noqa: PLC0415
    from numba.extending import intrinsic  # noqa: PLC0415

    word, wide = ir.IntType(64), 4

    def changed(builder: Any, args: Any, kind: Any, first: int) -> Any:
        """Return which bits differ in the words of `kind` from word `first` on."""
        places = [builder.gep(builder.bitcast(arg, word.as_pointer()), [ir.Constant(word, first)]) for arg in args]
        loads = [builder.load(builder.bitcast(place, kind.as_pointer()), align=8) for place in places]
        return builder.xor(*loads)

    @intrinsic
    def same(_typing_context: Any, one: Any, other: Any) -> Any:
        def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            words = other.size // 8
            blocks = [changed(builder, args, ir.VectorType(word, wide), i) for i in range(1, words - wide + 1, wide)]
            total = blocks[0]
            for block in blocks[1:]:
                total = builder.or_(total, block)
            bits = [builder.extract_element(total, ir.Constant(ir.IntType(32), i)) for i in range(wide)]
            bits += [changed(builder, args, word, i) for i in range(1 + wide * len(blocks), words)]
            all_bits = bits[0]
            for one_word in bits[1:]:
                all_bits = builder.or_(all_bits, one_word)
            return builder.icmp_unsigned("==", all_bits, ir.Constant(word, 0))

        return types.boolean(one, other), generate

    made: Any = same
    return made  # type: ignore[no-any-return]


def _compare_in_python(one: Any, other: Any) -> bool:
    return all(one[name].tobytes() == other[name].tobytes() for name in other.dtype.names[1:])


# copy_record(to, source): copies a record over the head of another, which begins with the same fields.
copy_record: Callable[[Any, Any], None] = _copy_in_python if _DISABLED else _compiled_copy()
# same_but_first(one, other): whether one begins with the bits of the other, all of it words, but for the first word.
same_but_first: Callable[[Any, Any], bool] = _compare_in_python if _DISABLED else _compiled_compare()


def seen_as(dtype: npt.DTypeLike) -> Callable[[Any], Any]:
    """Return a function, for use in compiled code, from a record to the longer one of `dtype` that it is the head of.

    Nothing checks that it is: whoever passes the record sees to it.
    """
    from numba.extending import intrinsic  # noqa: PLC0415

    longer: Any = numba.from_dtype(np.dtype(dtype))

    @intrinsic
    def see(_typing_context: Any, record: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.bitcast(args[0], context.get_value_type(signature.return_type))

        return longer(record), generate

    made: Any = see
    return made  # type: ignore[no-any-return]


def address_of(array: npt.NDArray[Any]) -> int:
    """Return where the data of a C-contiguous array lie. The caller keeps the array."""
    address = int(array.ctypes.data)  # __array_interface__ would describe every field of a record first
    if _DISABLED:
        _KNOWN[address] = weakref.ref(array)
    return address
