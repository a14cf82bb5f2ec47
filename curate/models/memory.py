"""Asking for memory before it is needed, which numba has no function for."""

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

_TO_READ, _KEEP, _DATA = 0, 3, 1  # arguments of LLVM's instruction


@intrinsic
def prefetch(_context: Any, array: types.Array, row: types.Integer) -> Any:
    """Start to load the line of the cache in which a row of an array begins, and do not wait for it.

    For a kernel that knows what it will read some hundred steps later: an ordinary load holds up what comes after it
    when it takes long, this does not. Of a row that is out of bounds nothing is loaded, and nothing fails.

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
        view = context.make_array(signature.args[0])(context, builder, arguments[0])
        address, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        strides = cgutils.unpack_tuple(builder, view.strides)
        offset = builder.mul(builder.zext(arguments[1], strides[0].type), strides[0])
        place = builder.gep(builder.bitcast(view.data, address), [offset])
        kind = ir.FunctionType(ir.VoidType(), [address, number, number, number])
        load = builder.module.declare_intrinsic("llvm.prefetch", [address], kind)
        builder.call(load, [place, number(_TO_READ), number(_KEEP), number(_DATA)])
        return context.get_dummy_value()

    return types.void(array, row), generate
