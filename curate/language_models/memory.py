"""Two instructions that numba does not offer: prefetch memory, and read eight bytes at once."""

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

_TO_READ, _KEEP, _DATA = 0, 3, 1  # arguments of LLVM's prefetch instruction


def _prefetch(_context: Any, array: types.Array, row: types.Integer) -> Any:
    """Start to load the cache line in which a row of an array begins, without waiting for it.

    Use it in a kernel that knows what it will read some hundred steps later. An ordinary load that takes long delays
    the instructions after it; a prefetch does not. A row out of bounds loads nothing and is no error.

    Examples
    --------
    >>> import numba, numpy as np
    >>> @numba.njit
    ... def last(rows, array):
    ...     prefetch(array, rows[-1])
    ...     return array[rows[-1]]
    >>> last(np.array([2, 0, 1]), np.array([5, 6, 7]))
    6
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = _place(context, builder, signature.args[0], *arguments)
        address, number = place.type, ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [address, number, number, number])
        load = builder.module.declare_intrinsic("llvm.prefetch", [address], kind)
        builder.call(load, [place, number(_TO_READ), number(_KEEP), number(_DATA)])
        return context.get_dummy_value()

    return types.void(array, row), generate


prefetch: Any = intrinsic(_prefetch)


def _eight_bytes(_context: Any, data: types.Array, position: types.Integer) -> Any:
    """Read the eight bytes from a position of a byte array as one uint64, the first byte in the lowest bits.

    The position is not checked: the array must have eight bytes from there.

    Examples
    --------
    >>> import numba, numpy as np
    >>> first = numba.njit(lambda data: eight_bytes(data, 1))
    >>> hex(first(np.arange(9, dtype=np.uint8)))
    '0x807060504030201'
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = _place(context, builder, signature.args[0], *arguments)
        return builder.load(builder.bitcast(place, ir.IntType(64).as_pointer()), align=1)

    return types.uint64(data, position), generate


eight_bytes: Any = intrinsic(_eight_bytes)


def _place(context: Any, builder: Any, kind: types.Array, array: Any, row: Any) -> Any:
    """Address of a row of an array."""
    view = context.make_array(kind)(context, builder, array)
    stride = cgutils.unpack_tuple(builder, view.strides)[0]
    offset = builder.mul(builder.zext(row, stride.type), stride)
    return builder.gep(builder.bitcast(view.data, ir.IntType(8).as_pointer()), [offset])
