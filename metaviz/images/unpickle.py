"""Reading pickles of strangers: arrays, containers and numbers, and nothing that runs.

A pickle is a program of a small machine. The standard library's own machine in Python is used, as
its instructions can be replaced one by one: those that call, import or allocate are checked
here, so that a pickle takes memory and time in proportion to its size.
"""

import io
import math
import pickle
import re
import struct
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from inspect import signature
from typing import Any, ClassVar

import numpy as np

from metaviz.files.archives import DataError
from metaviz.files.foreign import LIBRARY_ERRORS

_ARRAY_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")
_NUMERIC_MODULES = ("numpy.core.numeric", "numpy._core.numeric")
_BUILTINS = ("builtins", "__builtin__")
_FREE_BYTES = 16_000_000
_COPIES = 4
"""All that calls make may take so many times the size of the pickle, and _FREE_BYTES besides."""
_POINTER = 8
_CONTAINERS = (list, tuple, set, frozenset, dict, str, bytes, bytearray, range)
_MOST_IN_KEY = 16
_KIND = re.compile(r"[<>=|]?(?:[?bBhHiIlLqQefdgFDGSUVaOuc]\d{0,5})")
_MOST_ITEM_BYTES = 1 << 20
# Instructions that import, call or allocate in other ways than those that are checked here.
_REFUSED = (
    *(pickle.INST, pickle.OBJ, pickle.NEWOBJ, pickle.NEWOBJ_EX, pickle.EXT1, pickle.EXT2),
    *(pickle.EXT4, pickle.PERSID, pickle.BINPERSID, pickle.NEXT_BUFFER, pickle.READONLY_BUFFER),
)


class _DamagedError(pickle.UnpicklingError):
    """The bytes of a pickle are not what they were."""


_Machine: Any = pickle._Unpickler


class _Array:
    """Stands for the class of arrays, which makes any shape where it is called."""


class _Budget:
    """What the calls of one pickle may still allocate."""

    def __init__(self, size: int) -> None:
        """Take the size of the pickle in bytes."""
        self._left = _COPIES * size + _FREE_BYTES

    def take(self, size: int) -> None:
        """Allocate some bytes. Raises: pickle.UnpicklingError where they are too many."""
        self._left -= size
        if size < 0 or self._left < 0:
            raise pickle.UnpicklingError("it unpacks to far more than its size")

    def copied(self, kind: Callable[[Any], Any]) -> Callable[..., Any]:
        """Return what makes a container of the elements of another."""

        def make(elements: Sequence[Any] = ()) -> Any:
            if not isinstance(elements, _CONTAINERS):
                raise pickle.UnpicklingError("it allocates memory of any size")
            self.take(_POINTER * len(elements))
            if kind in {set, frozenset}:
                _check_keys(elements)
            return kind(elements)

        return make

    def ordered(self, pairs: Sequence[Sequence[Any]] = ()) -> OrderedDict[Any, Any]:
        """Return a dictionary of pairs."""
        if isinstance(pairs, dict):
            pairs = list(pairs.items())
        if not isinstance(pairs, list | tuple) or not all(map(_is_pair, pairs)):
            raise pickle.UnpicklingError("it makes a dictionary of what are no pairs")
        self.take(_POINTER * len(pairs))
        _check_keys([key for key, _ in pairs])
        return OrderedDict((key, value) for key, value in pairs)

    def default_dict(self, kind: Any = None) -> dict[Any, Any]:
        """Return a plain dictionary; what it would give for keys it lacks is not asked for."""
        del kind
        return {}

    def encoded(self, text: str, encoding: str = "latin1") -> bytes:
        """Turn text into bytes, as pickles of Python 2 strings ask `codecs.encode` to."""
        if not isinstance(encoding, str) or encoding not in {"latin1", "latin-1"}:
            raise pickle.UnpicklingError(f"it asks for the codec {encoding!r:.40}")
        self.take(len(text) if isinstance(text, str) else 0)
        return _latin1(text)

    def bytes_of(self, *given: Any) -> bytes:
        """Return bytes that are given as such, or as the text that Python 3 writes for Python 2."""
        if not given:
            return b""
        if isinstance(given[0], str):
            return self.encoded(*given[:2])
        if not isinstance(given[0], bytes | bytearray) or len(given) > 1:
            raise pickle.UnpicklingError("it allocates memory of any size")
        self.take(len(given[0]))
        return bytes(given[0])

    def number(self, kind: Callable[[Any], Any]) -> Callable[..., Any]:
        """Return what makes a number of a number, or of a short text."""

        def make(value: Any = 0) -> Any:
            if not isinstance(value, int | float | str):
                raise pickle.UnpicklingError("it holds a number of an unknown kind")
            with _by_library():
                text = str(value)
            if len(text) > _MOST_IN_KEY:
                raise pickle.UnpicklingError("it holds a number of an unknown kind")
            with _by_library():
                return kind(value)

        return make

    def span(self, *ends: int) -> range:
        """Return a range, as long as one that is counted may be."""
        if not all(isinstance(end, int) for end in ends):
            raise pickle.UnpicklingError("it makes a range of what are no whole numbers")
        with _by_library():
            found = range(*ends)
            len(found)
        self.take(_POINTER * len(found))
        return found

    def kind_of(self, text: Any, *_how: bool) -> np.dtype[Any]:
        """Return the type of an array of numbers, letters or bytes; its BUILD says the rest."""
        if isinstance(text, bytes):
            text = text.decode("latin1")
        if not isinstance(text, str) or not _KIND.fullmatch(text):
            raise pickle.UnpicklingError("it holds an array of an unknown kind")
        with _by_library():
            return np.dtype(text, copy=True)

    def empty(self, kind: Any, shape: Any, code: Any = b"b") -> np.ndarray:
        """Return the empty array that a BUILD then fills."""
        del code
        is_empty = isinstance(shape, tuple | list) and list(map(repr, shape)) == ["0"]
        if kind is not _Array or not is_empty:
            raise pickle.UnpicklingError("it builds an array of an unknown kind")
        return np.ndarray((0,), np.int8)

    def scalar(self, kind: Any, data: Any = b"") -> Any:
        """Return one number of its bytes."""
        return self.of_bytes(data, kind, (1,))[0]

    def of_bytes(
        self, data: Any, kind: Any, shape: Any, order: str = "C", axes: Any = None
    ) -> np.ndarray:
        """Return the array of these bytes, in C or Fortran order, or K with the order of axes."""
        data, kind, shape = _checked(data, kind, shape)
        if not isinstance(order, str):
            raise pickle.UnpicklingError("it holds an array of an unknown order")
        with _by_library():
            flat = np.frombuffer(data, kind) if data else np.zeros(0, kind)
            if order == "K" and axes is not None:
                return flat.reshape(shape).transpose(axes)
            return flat.reshape(shape, order="F" if order == "F" else "C")

    def names(self) -> dict[tuple[str, str], Any]:
        """Return what stands for the names that a pickle may ask for, by module and name."""
        plain = {
            **{kind.__name__: self.copied(kind) for kind in (list, tuple, set, frozenset)},
            **{kind.__name__: self.number(kind) for kind in (int, float, bool)},
            "long": self.number(int),
            "complex": lambda real=0, imaginary=0: complex(
                self.number(float)(real), self.number(float)(imaginary)
            ),
            "dict": lambda pairs=(): dict(self.ordered(pairs)),
            "bytes": self.bytes_of,
            "bytearray": lambda *given: bytearray(self.bytes_of(*given)),
            "str": lambda *given: self.bytes_of(*given).decode("latin1"),
            "range": self.span,
            "xrange": self.span,
            "slice": lambda *ends: _slice(ends),
        }
        return {
            ("collections", "OrderedDict"): self.ordered,
            ("collections", "defaultdict"): self.default_dict,
            ("_codecs", "encode"): self.encoded,
            ("numpy", "ndarray"): _Array,
            ("numpy", "dtype"): self.kind_of,
            **{(module, "_reconstruct"): self.empty for module in _ARRAY_MODULES},
            **{(module, "scalar"): self.scalar for module in _ARRAY_MODULES},
            **{(module, "_frombuffer"): self.of_bytes for module in _NUMERIC_MODULES},
            **{(module, name): made for module in _BUILTINS for name, made in plain.items()},
        }


def _checked(data: Any, kind: Any, shape: Any) -> tuple[bytes, np.dtype[Any], tuple[int, ...]]:
    """Return bytes, type and shape of an array that belong together."""
    if isinstance(data, str):
        data = _latin1(data)
    if not isinstance(kind, np.dtype) or kind.hasobject or not kind.itemsize > 0:
        raise pickle.UnpicklingError("it holds an array of an unknown kind")
    if not isinstance(data, bytes | bytearray) or not isinstance(shape, tuple):
        raise pickle.UnpicklingError("it holds an array without its bytes")
    if not all(isinstance(size, int) and size >= 0 for size in shape):
        raise pickle.UnpicklingError("it holds an array of an unknown shape")
    if math.prod(shape) * kind.itemsize != len(data):
        raise pickle.UnpicklingError("it holds an array of another size than its bytes")
    return bytes(data), kind, shape


@contextmanager
def _by_library() -> Iterator[None]:
    """Turn what the standard library or NumPy raises into UnpicklingError.

    Nothing but their own calls may stand inside: of our own code it would hide mistakes.
    """
    try:
        yield
    except pickle.UnpicklingError:
        raise
    except LIBRARY_ERRORS as error:
        raise _DamagedError(type(error).__name__) from error


def _is_pair(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2  # noqa: PLR2004


def _latin1(text: Any) -> bytes:
    """Return the bytes of a text, each the number of a letter."""
    if not isinstance(text, str):
        raise pickle.UnpicklingError("it encodes what is no text")
    with _by_library():
        return text.encode("latin1")


def _slice(ends: tuple[Any, ...]) -> slice:
    with _by_library():
        return slice(*ends)


def _check_keys(keys: Sequence[Any]) -> None:
    """Refuse what is not hashed at once: the hash of a nest of tuples takes as long as it likes."""
    for key in keys:
        parts = key if isinstance(key, tuple) and len(key) <= _MOST_IN_KEY else (key,)
        if not all(
            isinstance(part, str | bytes | int | float | np.generic | None) for part in parts
        ):
            raise pickle.UnpicklingError(f"it has a key of the type {type(key).__name__}")


class _Held(io.BytesIO):
    """The bytes of a pickle, which say so where they end early."""

    def read(self, size: int | None = -1, /) -> bytes:
        found = super().read(size)
        if size and not found:
            raise _DamagedError("it ends early")
        return found


class _Careful(_Machine):  # type: ignore[misc]
    """Runs the instructions of a pickle, the dangerous ones within limits."""

    dispatch: ClassVar[dict[int, Callable[[Any], None]]]

    def __init__(self, data: bytes) -> None:
        super().__init__(_Held(data), encoding="latin1")
        self._size = len(data)
        self._names = _Budget(len(data)).names()
        functions = [made for made in self._names.values() if made is not _Array]
        self._known = {id(function): signature(function) for function in functions}

    def find_class(self, module: str, name: str) -> Any:
        """Return the name, which `_import` then looks up."""
        return module, name

    def _global(self) -> None:
        self._import(_Machine.load_global)

    def _stack_global(self) -> None:
        self._import(_Machine.load_stack_global)

    def _import(self, instruction: Callable[[Any], None]) -> None:
        """Put what stands for one of the harmless names on the stack; refuse all others."""
        _ordinary(instruction)(self)
        module, name = self.stack[-1]
        if (module, name) not in self._names:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is never run")
        self.stack[-1] = self._names[module, name]

    def _call(self) -> None:
        given, function = self._popped(2)
        known = self._known.get(id(function))
        if known is None or not isinstance(given, tuple):
            raise pickle.UnpicklingError("it calls what is no function")
        with _by_library():
            known.bind(*given)
        self.append(function(*given))

    def _popped(self, count: int) -> list[Any]:
        """Take some values from the stack, the last first."""
        if len(self.stack) < count:
            raise _DamagedError("it uses what is not there")
        return [self.stack.pop() for _ in range(count)]

    def _build(self) -> None:
        state, made = self._popped(2)
        self.append(made)
        if not isinstance(state, tuple):
            raise pickle.UnpicklingError(f"it changes a {type(made).__name__}")
        if isinstance(made, np.ndarray) and len(state) == 5:  # noqa: PLR2004
            version, shape, kind, fortran, data = state
            data, kind, shape = _checked(data, kind, shape)
            whole = (version, shape, kind, bool(fortran), data)
            with _by_library():
                made.__setstate__(whole)  # type: ignore[arg-type]
        elif isinstance(made, np.dtype) and len(state) >= 7:  # noqa: PLR2004
            size = state[5]
            if any(part is not None for part in state[2:5]) or not isinstance(size, int):
                raise pickle.UnpicklingError("it holds an array of an unknown kind")
            if size > _MOST_ITEM_BYTES:
                raise pickle.UnpicklingError("it holds an array of an unknown kind")
            with _by_library():
                made.__setstate__(state)  # type: ignore[attr-defined]
        else:
            raise pickle.UnpicklingError(f"it changes a {type(made).__name__}")

    def _set_item(self) -> None:
        _check_keys(self.stack[-2:-1])
        _ordinary(_Machine.load_setitem)(self)

    def _set_items(self) -> None:
        _check_keys(self.stack[::2])
        _ordinary(_Machine.load_setitems)(self)

    def _make_dict(self) -> None:
        _check_keys(self.stack[::2])
        _ordinary(_Machine.load_dict)(self)

    def _add_items(self) -> None:
        _check_keys(self.stack)
        _ordinary(_Machine.load_additems)(self)

    def _freeze(self) -> None:
        _check_keys(self.stack)
        _ordinary(_Machine.load_frozenset)(self)

    def _byte_array(self) -> None:
        with _by_library():
            (length,) = struct.unpack("<Q", self.read(8))
        if length > self._size:
            raise pickle.UnpicklingError("it unpacks to far more than its size")
        with _by_library():
            held = self.read(length)
        self.append(bytearray(held))

    def _refuse(self) -> None:
        raise pickle.UnpicklingError("it has an instruction that arrays do not need")


def _ordinary(instruction: Callable[[Any], None]) -> Callable[[Any], None]:
    """Return an instruction of the library's machine; whatever it raises, the pickle is damaged."""

    def run(machine: Any) -> None:
        try:  # for every instruction, where a `with` would take as long as that
            instruction(machine)
        except pickle.UnpicklingError:
            raise
        except LIBRARY_ERRORS as error:
            raise _DamagedError(type(error).__name__) from error

    return run


_Careful.dispatch = {
    **dict.fromkeys(range(256), _Careful._refuse),
    **{code: _ordinary(run) for code, run in _Machine.dispatch.items()},
    pickle.GLOBAL[0]: _Careful._global,
    pickle.STACK_GLOBAL[0]: _Careful._stack_global,
    pickle.REDUCE[0]: _Careful._call,
    pickle.BUILD[0]: _Careful._build,
    pickle.SETITEM[0]: _Careful._set_item,
    pickle.SETITEMS[0]: _Careful._set_items,
    pickle.DICT[0]: _Careful._make_dict,
    pickle.ADDITEMS[0]: _Careful._add_items,
    pickle.FROZENSET[0]: _Careful._freeze,
    pickle.BYTEARRAY8[0]: _Careful._byte_array,
    **{code[0]: _Careful._refuse for code in _REFUSED},
}


def unpickle(data: bytes, label: str) -> Any:
    """Read a pickle of plain containers and numpy arrays, also one written by Python 2.

    Raises: DataError, in one sentence, if the file is damaged or asks for anything else.
    """
    machine = _Careful(data)
    try:
        return machine.load()
    except _DamagedError as error:
        raise DataError(
            f"{label} is a damaged pickle ({error}); copy the original file again"
        ) from error
    except pickle.UnpicklingError as error:
        raise DataError(
            f"{label} is not a pickle of plain arrays: {error}; use the original file"
        ) from error
