"""How compiled functions see a `State`: one pointer to the addresses of its arrays.

numba passes an array as its shape, strides, size and address, so a NamedTuple of eleven arrays is some eighty arguments of
every call, and an access to a row multiplies by a shape and tests for a negative index. Here a State is one argument, a field
of it one address; rows have the width that they have, indices are not negative, and accesses to different fields are known not
to overlap (TBAA). Without the compiler nothing of this applies: functions then index NumPy arrays, with the same syntax.

Indexing: `field[i]` for one dimension, `field[i, j]` for two, `field[i]` of two is its row. Nothing else; no slices.
"""

import operator
from collections.abc import Callable
from typing import Any, TypeVar

from llvmlite import ir
from numba import extending as _extending
from numba.core import cgutils as _cgutils
from numba.core import types as _types
from numba.core.datamodel import models as _models
from numba.core.typing import templates as _templates
from numba.np import arrayobj as _arrayobj
from numba.np import numpy_support as _numpy_support

from agewalk.engine.compiler.jit import COMPILED

T = TypeVar("T")
# numba is annotated in part, and not for this use
extending: Any = _extending
cgutils: Any = _cgutils
types: Any = _types
models: Any = _models
templates: Any = _templates
make_array: Callable[..., Any] = _arrayobj.make_array
from_dtype: Callable[..., Any] = _numpy_support.from_dtype


class Cells(types.Type):  # type: ignore[misc]
    """A field of a State, or a row of one. columns: width of a row, 0 for one dimension."""

    def __init__(self, field: str, dtype: Any, columns: int) -> None:
        self.field, self.dtype, self.columns = field, dtype, columns
        super().__init__(name=f"Cells({field}, {dtype}, {columns})")


class StateType(types.Type):  # type: ignore[misc]
    """A State. fields: (name, type of its elements, columns or 0) in order."""

    def __init__(self, fields: tuple[tuple[str, Any, int], ...]) -> None:
        self.fields = fields
        self.place = {name: i for i, (name, _, _) in enumerate(fields)}
        super().__init__(name=f"State({', '.join(f'{n} {d} {c}' for n, d, c in fields)})")


@extending.register_model(Cells)
class _CellsModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, dmm: Any, fe_type: Cells) -> None:
        super().__init__(dmm, fe_type, dmm.lookup(fe_type.dtype).get_data_type().as_pointer())


@extending.register_model(StateType)
class _StateModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, dmm: Any, fe_type: StateType) -> None:
        super().__init__(dmm, fe_type, ir.IntType(8).as_pointer().as_pointer())


def _type_of(state: Any, _context: Any) -> StateType:
    fields = []
    for name in state._fields:
        array = getattr(state, name)
        if not (array.flags.c_contiguous and array.ndim in (1, 2)):
            raise TypeError(f"State.{name} is not a contiguous array of one or two dimensions")
        fields.append((name, from_dtype(array.dtype), array.shape[1] if array.ndim == 2 else 0))
    return StateType(tuple(fields))


def one_argument(record: type[T]) -> type[T]:
    """Let compiled functions take a NamedTuple of arrays in this way."""
    if COMPILED:
        extending.typeof_impl.register(record)(_type_of)
    return record


@extending.unbox(StateType)
def _unbox_state(typ: StateType, obj: Any, c: Any) -> Any:
    byte = ir.IntType(8).as_pointer()
    block = cgutils.alloca_once(c.builder, byte, size=len(typ.fields))
    failed = cgutils.alloca_once_value(c.builder, cgutils.false_bit)
    for i, (name, dtype, columns) in enumerate(typ.fields):
        array_type = types.Array(dtype, 2 if columns else 1, "C")
        member = c.pyapi.object_getattr_string(obj, name)
        native = c.unbox(array_type, member)
        with c.builder.if_then(native.is_error, likely=False):
            c.builder.store(cgutils.true_bit, failed)
        data = make_array(array_type)(c.context, c.builder, native.value).data
        place = c.builder.gep(block, [c.context.get_constant(types.intp, i)])
        c.builder.store(c.builder.bitcast(data, byte), place)
        c.pyapi.decref(member)  # the State holds on to it
    return extending.NativeValue(block, is_error=c.builder.load(failed))


@templates.infer_getattr
class _Fields(templates.AttributeTemplate):  # type: ignore[misc]
    key = StateType

    def generic_resolve(self, typ: StateType, name: str) -> Cells | None:
        return Cells(*typ.fields[typ.place[name]]) if name in typ.place else None


@extending.lower_getattr_generic(StateType)
def _field(context: Any, builder: Any, typ: StateType, value: Any, name: str) -> Any:
    place = builder.gep(value, [context.get_constant(types.intp, typ.place[name])])
    address = builder.load(place)
    address.set_metadata("invariant.load", builder.module.add_metadata([]))
    return builder.bitcast(address, context.get_value_type(Cells(*typ.fields[typ.place[name]])))


def _ranks(index: Any) -> int:
    """How many integers an index is; 0 if it is something else."""
    if isinstance(index, types.Integer):
        return 1
    if isinstance(index, types.BaseTuple) and all(isinstance(x, types.Integer) for x in index):
        return len(index)
    return 0


def _is_cell(cells: Any, index: Any) -> bool:
    return isinstance(cells, Cells) and _ranks(index) == (2 if cells.columns else 1)


@templates.infer_global(operator.getitem)
class _Load(templates.AbstractTemplate):  # type: ignore[misc]
    def generic(self, args: Any, kws: Any) -> Any:
        cells, index = args
        if _is_cell(cells, index):
            return templates.signature(cells.dtype, cells, index)
        if isinstance(cells, Cells) and _ranks(index) == 1:
            return templates.signature(Cells(cells.field, cells.dtype, 0), cells, index)
        return None


@templates.infer_global(operator.setitem)
class _Store(templates.AbstractTemplate):  # type: ignore[misc]
    def generic(self, args: Any, kws: Any) -> Any:
        cells, index, _ = args
        return templates.signature(types.none, cells, index, cells.dtype) if _is_cell(cells, index) else None


def _address(context: Any, builder: Any, cells: Cells, index_type: Any, pointer: Any, index: Any) -> Any:
    """Of an element, or of a row."""
    kinds, values = [index_type], [index]
    if isinstance(index_type, types.BaseTuple):
        kinds, values = list(index_type), cgutils.unpack_tuple(builder, index)
    wide = [context.cast(builder, v, k, types.intp) for v, k in zip(values, kinds, strict=True)]
    at = wide[0]
    if cells.columns:
        at = builder.mul(at, context.get_constant(types.intp, cells.columns), flags=("nsw",))
    if len(wide) == 2:
        at = builder.add(at, wide[1], flags=("nsw",))
    return builder.gep(pointer, [at], inbounds=True)


def _tag(builder: Any, access: Any, field: str) -> None:
    """Type-based alias analysis: one type a field."""
    module = builder.module
    root = module.add_metadata([ir.MetaDataString(module, "agewalk State")])
    zero = ir.Constant(ir.IntType(64), 0)
    kind = module.add_metadata([ir.MetaDataString(module, field), root, zero])
    access.set_metadata("tbaa", module.add_metadata([kind, kind, zero]))


@extending.lower_builtin(operator.getitem, Cells, types.Any)
def _load(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    cells, index_type = sig.args
    address = _address(context, builder, cells, index_type, *args)
    if isinstance(sig.return_type, Cells):
        return address
    value = context.unpack_value(builder, cells.dtype, address)
    _tag(builder, value, cells.field)
    return value


@extending.lower_builtin(operator.setitem, Cells, types.Any, types.Any)
def _store(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    cells, index_type, _ = sig.args
    address = _address(context, builder, cells, index_type, *args[:2])
    _tag(builder, builder.store(args[2], address), cells.field)
    return context.get_dummy_value()


def _prefetch(_context: Any, cells: Any, index: Any) -> Any:
    """llvm.prefetch of the row `index` of two dimensions, or the element of one, to read, into all levels of the cache."""

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        cells, index_type = sig.args
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        address = builder.bitcast(_address(context, builder, cells, index_type, *args), byte)
        kind = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(function, [address, word(0), word(3), word(1)])
        return context.get_dummy_value()

    return templates.signature(types.void, cells, index), lower


def _lanes(builder: Any, cells: Cells, pointer: Any, every: int, bit: Any) -> Any:
    """int64: bit i says whether element i * every has any bit of `bit` set, for i below 64."""
    kind = ir.IntType(cells.dtype.bitwidth)
    word = ir.IntType(64)
    mask = word(0)
    step = 64 // every  # so many lanes from 64 elements that follow one another
    some = ir.VectorType(kind, step)
    for part in range(every):
        place = builder.bitcast(builder.gep(pointer, [word(part * 64)]), ir.VectorType(kind, 64).as_pointer())
        lanes = builder.load(place, align=1)
        _tag(builder, lanes, cells.field)
        if every > 1:
            chosen = ir.Constant(ir.VectorType(ir.IntType(32), step), list(range(0, 64, every)))
            lanes = builder.shuffle_vector(lanes, ir.Constant(lanes.type, ir.Undefined), chosen)
        one = builder.insert_element(ir.Constant(some, ir.Undefined), builder.trunc(bit, kind), ir.IntType(32)(0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), step), [0] * step)
        wanted = builder.shuffle_vector(one, ir.Constant(some, ir.Undefined), zeros)
        found = builder.icmp_unsigned("!=", builder.and_(lanes, wanted), ir.Constant(some, [0] * step))
        bits = builder.zext(builder.bitcast(found, ir.IntType(step)), word)
        mask = builder.or_(mask, builder.shl(bits, word(part * step)))
    return mask


def _which(_context: Any, cells: Any, first: Any, count: Any, bits: Any) -> Any:
    """Vectors, whatever the count."""

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        cells, first_type, count_type, bits_type = sig.args
        pointer = _address(context, builder, cells, first_type, *args[:2])
        found = _lanes(
            builder, cells, pointer, max(cells.columns, 1), context.cast(builder, args[3], bits_type, types.int64)
        )
        word = ir.IntType(64)
        spare = builder.sub(word(64), context.cast(builder, args[2], count_type, types.int64))
        return builder.and_(found, builder.lshr(word(-1), spare))

    return templates.signature(types.int64, cells, first, count, bits), lower


def _which_plain(cells: Any, first: Any, count: Any, bits: Any) -> int:
    column = cells[first : first + count]
    return sum(1 << i for i, x in enumerate(column if column.ndim == 1 else column[:, 0]) if int(x) & bits)


def _window(_context: Any, low: Any, high: Any, shift: Any, count: Any) -> Any:
    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        word = ir.IntType(64)
        wide = [context.cast(builder, v, k, types.int64) for v, k in zip(args, sig.args, strict=True)]
        funnel = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(word, [word, word, word]), "llvm.fshr.i64"
        )
        found = builder.call(funnel, [wide[1], wide[0], wide[2]])
        return builder.and_(found, builder.lshr(word(-1), builder.sub(word(64), wide[3])))

    return templates.signature(types.int64, low, high, shift, count), lower


def _window_plain(low: Any, high: Any, shift: Any, count: Any) -> int:
    return (int(low) | int(high) << 64) >> int(shift) & (1 << int(count)) - 1


def _count(_context: Any, which: Any) -> Any:
    def lower(_lower_context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        return builder.ctpop(args[0])

    return templates.signature(types.int64, which), lower


def _lowest(_context: Any, which: Any) -> Any:
    def lower(_lower_context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.IntType(1)(0))

    return templates.signature(types.int64, which), lower


def _length(_context: Any, _number: Any) -> Any:
    def lower(_lower_context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        return builder.sub(ir.IntType(64)(64), builder.ctlz(args[0], ir.IntType(1)(0)))

    return templates.signature(types.int64, types.int64), lower


def _apart(_context: Any) -> Any:
    def lower(context: Any, builder: Any, _sig: Any, _args: Any) -> Any:
        builder.function.attributes.add("noinline")
        builder.function.attributes.add("cold")
        return context.get_dummy_value()

    return templates.signature(types.void), lower


def _nothing(*_args: Any) -> None:
    """Without the compiler there is nothing to wait for."""


#: fetch_row(page, folio): ask memory for a row, or an element, that is needed soon.
fetch_row: Callable[[Any, Any], None] = extending.intrinsic(_prefetch) if COMPILED else _nothing

#: which_of(touch, first, count, bits): an int whose bit i says whether element first + i (of two dimensions: the first column of
#: that row) has any of `bits` set, for i below count, which is 1 to 64. It reads 64 elements: arrays have room to SPARE.
which_of: Callable[[Any, Any, Any, Any], Any] = extending.intrinsic(_which) if COMPILED else _which_plain

#: window(low, high, shift, count): bits [shift, shift + count) of two words of 64, as an int like that of `which_of`; shift < 64.
window: Callable[[Any, Any, Any, Any], Any] = extending.intrinsic(_window) if COMPILED else _window_plain

#: count_bits(which): how many.
count_bits: Callable[[Any], Any] = extending.intrinsic(_count) if COMPILED else int.bit_count

#: lowest_bit(which): the first of them, as its i.
lowest_bit: Callable[[Any], Any] = (
    extending.intrinsic(_lowest) if COMPILED else lambda which: (int(which) & -int(which)).bit_length() - 1
)

#: bit_length(number): as int's, of a number that is not negative.
bit_length: Callable[[Any], Any] = extending.intrinsic(_length) if COMPILED else lambda number: int(number).bit_length()

#: rarely(), in a kernel: it is called seldom, so its code is kept out of its callers, whose registers it would take.
rarely: Callable[[], None] = extending.intrinsic(_apart) if COMPILED else _nothing
