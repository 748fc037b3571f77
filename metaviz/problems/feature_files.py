"""Embeddings of images that somebody has computed: arrays in one file, or LEO's pickles."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from metaviz.files.archives import DataError, shown
from metaviz.files.foreign import ForeignError, read_bytes
from metaviz.files.npy import read_member
from metaviz.files.platform import reason_of
from metaviz.images.unpickle import unpickle

SPLITS = ("train", "validation", "test")
_MOST_BYTES = 4_000_000_000
_ALIASES = {"val": "validation", "valid": "validation", "validate": "validation"}
_ARRAYS = (
    *("embeddings", "labels", "splits"),
    *(f"{split}_{kind}" for split in (*SPLITS, *_ALIASES) for kind in ("embeddings", "labels")),
)
_LEO = re.compile(r"(train|val|test)_embeddings\.pkl")
_KEY_PARTS = 3
_MATRIX = 2


@dataclass(frozen=True)
class FeatureSplit:
    """Features of one split, class by class: class c has rows starts[c] to starts[c + 1].

    Shapes: z (n, d) float32; starts (classes + 1,).
    """

    names: tuple[str, ...]
    starts: np.ndarray
    z: np.ndarray

    @property
    def counts(self) -> np.ndarray:
        """The number of examples of each class."""
        return np.diff(self.starts)


def read_features(path: Path) -> dict[str, FeatureSplit]:
    """Read features from an .npz file, or from a folder with LEO's {split}_embeddings.pkl.

    The file has arrays `embeddings` (n, d), `labels` (n,) and `splits` (n,) texts, or for each
    split `train_embeddings` (n, d) and `train_labels` (n,), and so on. Labels are whole numbers or
    texts. Raises: DataError with one sentence.
    """
    found = _leo(path) if path.is_dir() else _npz(path)
    lengths = {split: part.z.shape[1] for split, part in found.items()}
    if len(set(lengths.values())) > 1:
        text = ", ".join(f"{split} {length}" for split, length in lengths.items())
        raise DataError(f"{path.name} holds features of differing length ({text})")
    _check_disjoint(found, path.name)
    return {split: found[split] for split in SPLITS if split in found}


def _check_disjoint(found: Mapping[str, FeatureSplit], name: str) -> None:
    """Refuse names of classes that two splits share; numbers may count anew in each."""
    seen: dict[str, str] = {}
    for split, part in found.items():
        for label in part.names:
            if label in seen and not label.lstrip("-").isdecimal():
                raise DataError(
                    f"{name} has the class {shown(label)!r} in {seen[label]} and in {split}: "
                    "classes of two splits must differ"
                )
            seen[label] = split


def sorted_by_class(z: np.ndarray, labels: list[str], what: str) -> FeatureSplit:
    """Return features class by class, classes in the order of their names.

    Raises: DataError where there are not as many labels as features, or a number is not finite.
    """
    if z.ndim != _MATRIX or not z.size or z.dtype.kind != "f":
        raise DataError(f"{what} is no matrix of numbers, one row for each example")
    if len(labels) != len(z):
        raise DataError(f"{what} has {len(z)} features and {len(labels)} labels")
    if not np.isfinite(z).all():
        raise DataError(f"{what} holds a number that is not finite")
    names = sorted(set(labels), key=_in_order)
    place = {name: number for number, name in enumerate(names)}
    numbers = np.array([place[label] for label in labels])
    order = numbers.argsort(kind="stable")
    starts = np.concatenate([[0], np.bincount(numbers, minlength=len(names)).cumsum()])
    return FeatureSplit(tuple(names), starts, np.ascontiguousarray(z[order], np.float32))


def _in_order(name: str) -> tuple[int, str]:
    """Return what sorts whole numbers by size, and texts after them."""
    return (int(name), "") if re.fullmatch(r"-?\d{1,18}", name) else (2**62, name)


def _npz(path: Path) -> dict[str, FeatureSplit]:
    try:
        data = read_bytes(path, _MOST_BYTES)
        arrays = {name: array for name in _ARRAYS if (array := read_member(data, name)) is not None}
    except OSError as error:
        raise DataError(f"{path} cannot be read: {reason_of(error)}") from error
    except ForeignError as error:
        raise DataError(f"{path.name} is not a readable .npz file: {error}") from error
    if {"embeddings", "labels", "splits"} <= arrays.keys():
        return _divided(arrays, path.name)
    found = {}
    for name, z in arrays.items():
        split, _, kind = name.partition("_")
        if kind == "embeddings" and _ALIASES.get(split, split) in SPLITS:
            if f"{split}_labels" not in arrays:
                raise DataError(f"{path.name} has {name} and no {split}_labels")
            labels = _texts(arrays[f"{split}_labels"], f"{split}_labels")
            found[_ALIASES.get(split, split)] = sorted_by_class(z, labels, name)
    if not found:
        raise DataError(
            f"{path.name} has neither the arrays embeddings, labels and splits, nor "
            "train_embeddings with train_labels and so on"
        )
    return found


def _divided(arrays: Mapping[str, np.ndarray], name: str) -> dict[str, FeatureSplit]:
    z, labels = arrays["embeddings"], _texts(arrays["labels"], "labels")
    splits = [_ALIASES.get(one, one) for one in _texts(arrays["splits"], "splits")]
    if not len(z) == len(labels) == len(splits):
        raise DataError(
            f"{name} has {len(z)} embeddings, {len(labels)} labels and {len(splits)} splits"
        )
    unknown = sorted(set(splits) - set(SPLITS))
    if unknown:
        raise DataError(f"{name} has the split {shown(unknown[0])!r}; use {', '.join(SPLITS)}")
    found = {}
    for split in SPLITS:
        rows = [row for row, one in enumerate(splits) if one == split]
        if rows:
            found[split] = sorted_by_class(z[rows], [labels[row] for row in rows], split)
    return found


def _texts(values: np.ndarray, what: str) -> list[str]:
    """Return labels as texts. Raises: DataError where they are none."""
    if values.ndim != 1 or values.dtype.kind not in "iuSU":
        raise DataError(f"{what} is no row of whole numbers or texts")
    return [_text(one) for one in values.tolist()]


def _text(value: Any) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else str(value)


def _leo(folder: Path) -> dict[str, FeatureSplit]:
    """Read LEO's published embeddings: a table of `embeddings` (n, d) and keys x-<class>-<file>."""
    found = {}
    for path in sorted(folder.iterdir()):
        named = _LEO.fullmatch(path.name)
        if named is None:
            continue
        try:
            held = unpickle(read_bytes(path, _MOST_BYTES), path.name)
        except (ForeignError, OSError) as error:
            raise DataError(f"{path.name} cannot be read: {error}") from error
        table = {_text(key): value for key, value in held.items()} if isinstance(held, dict) else {}
        z, keys = table.get("embeddings"), table.get("keys")
        if not isinstance(z, np.ndarray) or not isinstance(keys, list | tuple | np.ndarray):
            raise DataError(f"{path.name} has no `embeddings` and `keys`, as LEO's files have")
        labels = [_class_of(_text(key), path.name) for key in keys]
        found[_ALIASES.get(named[1], named[1])] = sorted_by_class(z, labels, path.name)
    if not found:
        raise DataError(f"{folder} holds no {{train,val,test}}_embeddings.pkl, as LEO's files are")
    return found


def _class_of(key: str, name: str) -> str:
    parts = key.split("-")
    if len(parts) < _KEY_PARTS:
        raise DataError(
            f"{name} has the key {shown(key)!r}, which names no class: x-<class>-<file>"
        )
    return parts[1]
