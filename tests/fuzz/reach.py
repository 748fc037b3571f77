"""Which lines of a reader ran: what mutations do not reach, they do not test."""

import inspect
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType, ModuleType
from typing import Any

Lines = set[tuple[str, int]]


def name_of(reader: Any) -> str:
    """Return what a reader is called, with its module."""
    if isinstance(reader, ModuleType):
        return reader.__name__
    return f"{reader.__module__}.{reader.__qualname__}"


def lines_of(readers: Iterable[Any]) -> Lines:
    """Return the lines of functions, and of all functions of classes and modules."""
    return {line for reader in readers for code in _codes(reader) for line in _lines(code)}


def _codes(reader: Any) -> Iterator[CodeType]:
    if isinstance(reader, ModuleType | type):
        name = reader.__name__ if isinstance(reader, ModuleType) else reader.__module__
        for member in vars(reader).values():
            inner = getattr(member, "fget", None) or getattr(member, "__func__", member)
            if getattr(inner, "__module__", None) == name and (
                inspect.isfunction(inner) or inspect.isclass(inner)
            ):
                yield from _codes(inner)
    else:
        yield inspect.unwrap(reader).__code__


def _lines(code: CodeType) -> Iterator[tuple[str, int]]:
    first = code.co_firstlineno
    for _, _, line in code.co_lines():
        if line is not None and line != first:
            yield code.co_filename, line
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _lines(inner)


@contextmanager
def reached(lines: Lines) -> Iterator[Lines]:
    """Collect those of the lines that run meanwhile, in this thread and those that begin."""
    found: Lines = set()
    files = {name for name, _ in lines}

    def local(frame: FrameType, event: str, _argument: Any) -> Any:
        if event == "line":
            found.add((frame.f_code.co_filename, frame.f_lineno))
        return local

    def entered(frame: FrameType, _event: str, _argument: Any) -> Any:
        return local if frame.f_code.co_filename in files else None

    before = sys.gettrace()
    sys.settrace(entered)
    threading.settrace(entered)
    try:
        yield found
    finally:
        sys.settrace(before)
        threading.settrace(before)  # type: ignore[arg-type]
        found &= lines
