"""Reading pickles of strangers: arrays, containers and numbers, and nothing that runs."""

import codecs
import pickle
import struct
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, BinaryIO, ClassVar

import numpy as np

from metaviz.files.archives import DataError

_ARRAY_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")
_NUMERIC_MODULES = ("numpy.core.numeric", "numpy._core.numeric")


_ARRAY = object()
"""Stands for numpy.ndarray, which by itself would make an array of any size."""


def _counted(kind: Callable[..., Any]) -> Callable[..., Any]:
    """Return a maker of bytes that makes none from a number, which may be any."""

    def make(*arguments: Any) -> Any:
        if any(isinstance(argument, int) for argument in arguments):
            raise pickle.UnpicklingError("it makes bytes from a number")
        return kind(*arguments)

    return make


def _encoded(text: str, encoding: str) -> bytes:
    """Turn text into bytes, as pickles of Python 2 strings ask `codecs.encode` to."""
    if encoding not in {"latin1", "latin-1"}:
        raise pickle.UnpicklingError(f"it asks for the codec {encoding!r}")
    return codecs.encode(text, "latin1")


def _reconstruct(kind: object, shape: tuple[int, ...], code: Any) -> np.ndarray:
    """Make the empty array that a pickle then fills."""
    if kind is not _ARRAY or shape != (0,):
        raise pickle.UnpicklingError("it builds an array of an unknown kind")
    return np.ndarray.__new__(np.ndarray, shape, code)


def _scalar(kind: np.dtype[Any], data: bytes = b"") -> Any:
    if kind.hasobject:
        raise pickle.UnpicklingError("it holds a number of an unknown kind")
    return np.frombuffer(data, kind)[0]


def _from_buffer(
    data: bytes, kind: Any, shape: tuple[int, ...], order: str, axes: Any = None
) -> np.ndarray:
    """Make an array of the bytes that protocol 5 keeps it in."""
    kind = np.dtype(kind)
    if kind.hasobject or order not in {"C", "F", "K"}:
        raise pickle.UnpicklingError("it builds an array of an unknown kind")
    if order == "K" and axes is not None:
        return np.frombuffer(data, kind).reshape(shape).transpose(axes)
    return np.frombuffer(data, kind).reshape(shape, order="F" if order == "F" else "C")


def _default_dict(kind: type | None = None, *pairs: Any) -> dict[Any, Any]:
    """Make a dictionary; what it would give for keys that it lacks is not asked for here."""
    if kind not in {None, list, dict, set, int, float, str, tuple}:
        raise pickle.UnpicklingError("it holds a dictionary of an unknown kind")
    return dict(*pairs)


# What a pickle raises whose bytes are not what they were.
_DAMAGED = (
    EOFError,
    OSError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    ImportError,
    OverflowError,
    MemoryError,
    RecursionError,
    AssertionError,
    struct.error,
)
_ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("collections", "defaultdict"): _default_dict,
    ("_codecs", "encode"): _encoded,
    ("numpy", "ndarray"): _ARRAY,
    ("numpy", "dtype"): np.dtype,
    **{(module, "_reconstruct"): _reconstruct for module in _ARRAY_MODULES},
    **{(module, "scalar"): _scalar for module in _ARRAY_MODULES},
    **{(module, "_frombuffer"): _from_buffer for module in _NUMERIC_MODULES},
    **{
        (module, name): kind
        for module in ("builtins", "__builtin__")
        for name, kind in (
            ("list", list),
            ("dict", dict),
            ("tuple", tuple),
            ("set", set),
            ("frozenset", frozenset),
            ("slice", slice),
            ("complex", complex),
            ("bool", bool),
            ("int", int),
            ("long", int),
            ("float", float),
            ("str", str),
            ("bytes", _counted(bytes)),
            ("bytearray", _counted(bytearray)),
        )
    },
}


# The one in C takes memory for as many objects as a file of ten bytes may claim.
class _Careful(pickle._Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Return one of the harmless names; refuse all others."""
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"it asks for {module}.{name}, which is never run"
            ) from None

    def load_build(self) -> None:
        """Fill an array or a type; nothing else has a state."""
        filled = self.stack[-2]  # type: ignore[attr-defined]
        if not isinstance(filled, np.ndarray | np.dtype):
            raise pickle.UnpicklingError("it changes an object of an unknown kind")
        super().load_build()  # type: ignore[misc]

    dispatch: ClassVar[Any] = {**pickle._Unpickler.dispatch, pickle.BUILD[0]: load_build}


def unpickle(stream: BinaryIO, label: str) -> Any:
    """Read a pickle of plain containers and numpy arrays, also one written by Python 2.

    Raises: DataError, in one sentence, if the file is damaged or asks for anything else.
    """
    try:
        return _Careful(stream, encoding="latin1").load()
    except pickle.UnpicklingError as error:
        raise DataError(
            f"{label} is not a pickle of plain arrays: {error}; use the original file"
        ) from error
    except _DAMAGED as error:
        raise DataError(
            f"{label} is a damaged pickle ({type(error).__name__}); copy the original file again"
        ) from error
