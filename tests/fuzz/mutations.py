"""Files with something wrong: bytes, fields of TOML and JSON, cells of databases, members of zips.

All take a `random.Random`, so that a seed names what was done.
"""

import io
import json
import math
import random
import sqlite3
import tomllib
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import tomli_w

Mutation = Callable[[bytes, random.Random], bytes]

ODD: tuple[Any, ...] = (
    *(True, False, 0, 1, -1, 2**31, 2**63 - 1, -(2**63), 99, 0.5, -0.5, 1e308, 1e-320),
    *(math.nan, math.inf, "", "x", "maml", "nan", "\x1b[31m", "../../x", "=1+1", "<b>", "x" * 5000),
    *("\ud7ff", "\u202e", "con", "2026-01-01", [], [1], ["a", [2]], {}, {"a": 1}, {"": {"b": []}}),
)
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
    values = [*(one for one in ODD if isinstance(one, str | int | float)), None, b"\0\xff", b""]
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
                    new.writestr(f"{name}.extra", b"")
                else:
                    new.writestr(name, chance.choice(inside)(held, chance))
        return stream.getvalue()

    return change


def written(path: Path, mutation: Mutation, chance: random.Random) -> None:
    """Change a file in place."""
    path.write_bytes(mutation(path.read_bytes(), chance))
