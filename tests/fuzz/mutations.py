"""Files with something wrong: bytes, fields of TOML and JSON, cells of databases, members of zips.

All take a `random.Random`, so that a seed names what was done.
"""

import io
import json
import math
import pickle
import random
import sqlite3
import tomllib
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tomli_w
import torch

Mutation = Callable[[bytes, random.Random], bytes]

ODD: tuple[Any, ...] = (
    *(True, False, 0, 1, -1, 2**31, 2**63 - 1, -(2**63), 99, 0.5, -0.5, 1e308, 1e-320),
    *(math.nan, math.inf, "", "x", "maml", "nan", "\x1b[31m", "../../x", "=1+1", "<b>", "x" * 5000),
    *("\ud7ff", "\u202e", "con", "2026-01-01", [], [1], ["a", [2]], {}, {"a": 1}, {"": {"b": []}}),
)
NAMES = (
    *(f"__builtin__\n{name}" for name in ("list", "dict", "set", "tuple", "int", "float", "str")),
    *(f"builtins\n{name}" for name in ("bytes", "bytearray", "range", "frozenset", "bool", "eval")),
    *("collections\nOrderedDict", "collections\ndefaultdict", "_codecs\nencode", "numpy\ndtype"),
    *("numpy\nndarray", "numpy.core.multiarray\n_reconstruct", "numpy.core.multiarray\nscalar"),
    *("numpy._core.numeric\n_frombuffer", "os\nsystem"),
)
"""What a pickle may ask for, and what it may not."""
STATES = ("running", "done", "diverged", "waiting")
_LONGEST = 4096


def harmed(data: bytes, chance: random.Random) -> bytes:
    """Return a file with bytes changed, doubled, cut out or cut off."""
    found = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        place = chance.randrange(len(found) + 1)
        length = chance.choice((1, 4, 64, _LONGEST))
        kind = chance.randrange(4)
        if kind == 0:
            found[place : place + length] = chance.randbytes(length)
        elif kind == 1:
            del found[place : place + length]
        elif kind == 2:
            found[place:place] = found[place : place + length]
        else:
            del found[place:]
    return bytes(found)


def junk(_data: bytes, chance: random.Random) -> bytes:
    """Return bytes that mean nothing."""
    return chance.randbytes(chance.choice((0, 1, 16, 300)))


def changed_fields(values: Any, chance: random.Random) -> Any:
    """Return a tree of values of which some are odd, missing, or under another name."""
    if isinstance(values, dict) and values:
        found = dict(values)
        for _ in range(chance.randint(1, 2)):
            key = chance.choice(list(found) or [""])
            kind = chance.randrange(5)
            if kind == 0:
                found.pop(key, None)
            elif kind == 1:
                found[key] = chance.choice(ODD)
            elif kind == 2:
                found[chance.choice(("x", "", key.upper(), f"{key}s"))] = found.get(key, 0)
            else:
                found[key] = changed_fields(found.get(key), chance)
        return found
    if isinstance(values, list) and values and chance.random() < 0.7:
        place = chance.randrange(len(values))
        return [*values[:place], changed_fields(values[place], chance), *values[place + 1 :]]
    return chance.choice(ODD)


def changed_toml(data: bytes, chance: random.Random) -> bytes:
    """Return TOML with other fields."""
    try:
        return tomli_w.dumps(changed_fields(tomllib.loads(data.decode()), chance)).encode()
    except (TypeError, ValueError, AttributeError):
        return harmed(data, chance)


def changed_json(data: bytes, chance: random.Random) -> bytes:
    """Return JSON with other fields."""
    return json.dumps(changed_fields(json.loads(data), chance)).encode()


def changed_pickle(data: bytes, chance: random.Random) -> bytes:
    """Return a pickle of other values, or one whose every name is asked for by other arguments."""
    if chance.random() < 0.5:
        odd = (*ODD, b"x", bytearray(b"ab"), {1, 2}, frozenset({(1, "a")}), np.arange(6), 2**200)
        held = pickle.loads(data)
        for key in held if isinstance(held, dict) else ():
            if chance.random() < 0.4:
                held[key] = chance.choice((*odd, np.array(["a", "b"]), np.float32(1), range(3)))
        return pickle.dumps(held, protocol=chance.randrange(6))
    arguments = (
        "",
        "I3\n",
        "S'ab'\n",
        "S'latin1'\n",
        "(I0\ntp9\n",
        "]",
        "N",
        "S'u1'\n",
        "I0\nI1\n",
    )
    given = "".join(chance.choices(arguments, k=chance.randrange(4)))
    function = "c" + chance.choice(NAMES) + "\n(" + given + "tR"
    end = chance.choice((".", "(I1\n(I3\ntN NI0\nS'x'\ntb.", "p1\nS'a'\nI1\ns.", "(S'a'\nI1\nu."))
    return (chance.choice(("", "}S'image_data'\n", "(lp3\n")) + function + end).encode()


def changed_hdf5(data: bytes, chance: random.Random) -> bytes:
    """Return an HDF5 file whose groups, arrays or links are others."""
    stream = io.BytesIO(data)
    with h5py.File(stream, "r+") as file:
        group = file["datasets"]
        name, kind = chance.choice(list(group)), chance.randrange(9)
        if kind != 0:
            del group[name]
        if kind == 1:
            group[name] = h5py.SoftLink("/datasets/other")
        elif kind == 2:
            group[name] = h5py.ExternalLink("other.hdf5", "/x")
        elif kind == 3:
            group.create_group(name)
        elif kind == 4:
            group.create_dataset(name, data=np.arange(6.0))
        elif kind == 5:
            group.create_dataset(name, (10**6, 64, 64, 3), "u1", chunks=(1, 64, 64, 3))
        elif kind == 6:
            made = group.create_dataset(name, (3,), h5py.vlen_dtype(np.uint8))
            made[0] = np.frombuffer(b"\x89PNG", np.uint8)
        elif kind == 7:
            del file["datasets"]
            file["datasets"] = np.arange(3)
        elif kind == 8:
            file.move("datasets", "data")
    return stream.getvalue()


def changed_text(data: bytes, chance: random.Random) -> bytes:
    """Return a text with other cells, separators, line ends or encoding."""
    text = data.decode("utf-8", "replace")
    for _ in range(chance.randint(1, 3)):
        old, new = chance.choice(
            (
                (",", ";"),
                (",", "\t"),
                ("\n", "\r\n"),
                ("\n", "\r"),
                ("\n", ""),
                ("a", "é"),
                (".", "/"),
                ("label", "LABEL "),
                ("filename", "image_name"),
                ("train", "val"),
                ("\n", "\n# note\n"),
                ("\n", ",x\n"),
                ("a0.png", "missing.png"),
                ("a0.png", "b0.png"),
                ("a", "data\\a"),
                (",", " "),
                ("filename,label\n", ""),
                ('"', ""),
                (text[:9], str(chance.choice(ODD))),
            )
        )
        text = text.replace(old or "\0", new)
    try:
        return text.encode(chance.choice(("utf-8", "utf-8-sig", "utf-16", "cp1252", "latin-1")))
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


def changed_database(data: bytes, chance: random.Random) -> bytes:
    """Return a database with odd cells, or without a column, a table or some rows."""
    plain = (one for one in ODD if isinstance(one, str | int | float))
    values = [*plain, *STATES, None, b"\0\xff", b""]
    with closing(sqlite3.connect(":memory:")) as database:
        database.deserialize(data[:18] + b"\1\1" + data[20:])  # without a write-ahead log
        tables = [
            row[0]
            for row in database.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
            )
        ]
        for _ in range(chance.randint(1, 3)):
            table = chance.choice(tables)
            columns = [row[1] for row in database.execute(f'PRAGMA table_info("{table}")')]
            if not columns:
                continue
            column, value = chance.choice(columns), chance.choice(values)
            kind = chance.randrange(8)
            try:
                if kind == 0:
                    database.execute(f'ALTER TABLE "{table}" DROP COLUMN "{column}"')
                elif kind == 1:
                    database.execute(f'DROP TABLE "{table}"')
                elif kind == 2:
                    database.execute(f'DELETE FROM "{table}"')
                else:
                    places = [r[0] for r in database.execute(f'SELECT rowid FROM "{table}"')]
                    place = chance.choice(places or [0])
                    database.execute(
                        f'UPDATE OR REPLACE "{table}" SET "{column}" = ? WHERE rowid = ?',
                        (value, place),
                    )
            except (sqlite3.Error, OverflowError):
                continue
        database.commit()
        return database.serialize()


def changed_zip(*inside: Mutation) -> Mutation:
    """Return a mutation of archives: one member has other contents, another name, or is gone."""

    def change(data: bytes, chance: random.Random) -> bytes:
        if not zipfile.is_zipfile(io.BytesIO(data)):
            return harmed(data, chance)
        stream = io.BytesIO()
        packed = chance.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
        with (
            zipfile.ZipFile(io.BytesIO(data)) as old,
            zipfile.ZipFile(stream, "w", packed if chance.random() < 0.3 else 0) as new,
        ):
            members = old.namelist()
            chosen = chance.choice(members)
            for name in members:
                held, kind = old.read(name), chance.randrange(6)
                if name != chosen:
                    new.writestr(old.getinfo(name), held, packed if kind == 0 else None)
                elif kind == 0:
                    continue
                elif kind == 1:
                    odd = chance.choice(("../x", "/x", "x\\y", "CON", "a:b", "", name.upper()))
                    new.writestr(odd or "x", held)
                elif kind == 2:
                    new.writestr(name, held)
                    _add_odd_member(new, name, chance)
                else:
                    new.writestr(name, chance.choice(inside)(held, chance))
        return stream.getvalue()

    return change


def _add_odd_member(archive: zipfile.ZipFile, name: str, chance: random.Random) -> None:
    """Add a member that is empty, vast, there twice, a link, a folder or said to be encrypted."""
    kind = chance.randrange(6)
    member = zipfile.ZipInfo(name if kind == 2 else f"{name}.extra")
    member.external_attr = 0o120777 << 16 if kind == 3 else 0
    vast = bytes(3_000_000) if kind == 1 else b"x"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about names that are there twice
        archive.writestr(member, vast, zipfile.ZIP_DEFLATED)
    if kind == 4:
        archive.writestr(f"{name}.folder/", b"")
    elif kind == 5:
        member.flag_bits |= 1


def changed_checkpoint(data: bytes, chance: random.Random) -> bytes:
    """Return a checkpoint with other fields, or one that asks for other code."""
    state = torch.load(io.BytesIO(data), weights_only=True)
    stream = io.BytesIO()
    if chance.random() < 0.1:
        torch.save(Counter({"step": 1}), stream)
    else:
        kept = {key: value for key, value in state.items() if chance.random() < 0.8}
        torch.save(chance.choice((kept, {**kept, "step": chance.choice(ODD)}, list(kept))), stream)
    return stream.getvalue()


def written(path: Path, mutation: Mutation, chance: random.Random) -> None:
    """Change a file in place."""
    path.write_bytes(mutation(path.read_bytes(), chance))
