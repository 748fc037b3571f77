"""Whatever bytes data hold, reading them ends in a sentence, or in what they say."""

import io
import json
import warnings
import zipfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metaviz.files.archives import DataError
from metaviz.images.decoding import decode_image
from metaviz.images.layouts import recognise
from metaviz.problems.omniglot_files import read_omniglot
from tests.unit.image_data import SHORT, SIX, images
from tests.unit.test_data_cases_arrays import WRITTEN, hdf5
from tests.unit.test_data_cases_formats import LOSSLESS, sixteen
from tests.unit.test_data_cases_lists import FLAT, FOLDERS, TABLES, TEXTS, easyfsl, pairs
from tests.unit.test_omniglot_files import files as drawings
from tests.unit.test_omniglot_files import pack, unpack

QUICK = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
JSONS = {
    "easyfsl": {f"{SHORT[split]}.json": json.dumps(easyfsl(split)).encode() for split in SIX},
    "one": {"split.json": json.dumps({SHORT[split]: pairs(split) for split in SIX}).encode()},
}
PIECES = [b"\n", b",", b'"', b"\0", b"\r", b"/", b"..", b"#", b"[", b"{", b"null", b"9" * 20, b"\t"]
edits = st.lists(
    st.tuples(
        st.floats(0, 1, exclude_max=True),
        st.integers(0, 20),
        st.sampled_from(PIECES) | st.binary(max_size=8),
    ),
    min_size=1,
    max_size=6,
)


def edited(data: bytes, changes: list[tuple[float, int, bytes]]) -> bytes:
    """Return bytes of which some places were replaced."""
    for place, count, piece in changes:
        at = int(place * len(data))
        data = data[:at] + piece + data[at + count :]
    return data


def read(root: Path, kept: Mapping[str, bytes], spoilt: Mapping[str, bytes]) -> None:
    unpack(root, {**kept, **spoilt})
    try:
        with ExitStack() as opened:
            assert recognise(root, opened).splits
    except DataError as error:
        assert "\n" not in str(error)
    for name in spoilt:
        (root / name).unlink()


def spoilt(
    held: Mapping[str, bytes], place: int, changes: list[tuple[float, int, bytes]]
) -> dict[str, bytes]:
    """Return files of which one was changed."""
    name = sorted(held)[place % len(held)]
    return {**held, name: edited(held[name], changes)}


@QUICK
@given(how=st.sampled_from(list(TABLES)), place=st.integers(0, 9), changes=edits)
def test_tables_of_any_bytes(tmp_path: Path, how: str, place: int, changes: list) -> None:
    read(tmp_path, FLAT, spoilt(TABLES[how], place, changes))


@QUICK
@given(how=st.sampled_from([*TEXTS, *JSONS]), place=st.integers(0, 9), changes=edits)
def test_text_and_json_of_any_bytes(tmp_path: Path, how: str, place: int, changes: list) -> None:
    kept = FOLDERS if how in TEXTS else images("imgs/{name}/{row}.png")
    read(tmp_path / str(how in TEXTS), kept, spoilt((TEXTS | JSONS)[how], place, changes))


@QUICK
@given(how=st.sampled_from(list(WRITTEN)), place=st.integers(0, 9), changes=edits)
def test_pickles_of_any_bytes(tmp_path: Path, how: str, place: int, changes: list) -> None:
    read(tmp_path, {}, spoilt(WRITTEN[how], place, changes))


@QUICK
@given(place=st.integers(0, 9), changes=edits)
def test_hdf5_of_any_bytes(tmp_path: Path, place: int, changes: list) -> None:
    if not (tmp_path / "whole").exists():
        hdf5(tmp_path / "whole", classes=SIX)
    whole = {path.name: path.read_bytes() for path in (tmp_path / "whole").iterdir()}
    read(tmp_path / "spoilt", {}, spoilt(whole, place, changes))


@QUICK
@given(form=st.sampled_from([*LOSSLESS, "16 bits", "TIFF, 16 bits"]), changes=edits)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_images_of_any_bytes(form: str, changes: list) -> None:
    kind = "TIFF" if "TIFF" in form else "PNG"
    data = edited(LOSSLESS.get(form) or sixteen(kind), changes)
    try:
        assert decode_image(data, "it", "RGB", ("JPEG", "PNG"), 64_000_000).mode == "RGB"
    except DataError as error:
        assert "\n" not in str(error)


@QUICK
@given(omniglot=st.booleans(), changes=edits)
def test_archives_of_any_bytes(tmp_path: Path, changes: list, *, omniglot: bool) -> None:
    contents = drawings() if omniglot else images("{split}/{name}/{row}.png")
    path = pack(tmp_path / "a.zip", contents)
    path.write_bytes(edited(path.read_bytes(), changes))
    try:
        if omniglot:
            assert read_omniglot(path).names
        else:
            with ExitStack() as opened:
                assert recognise(path, opened).splits
    except DataError as error:
        assert "\n" not in str(error)


@QUICK
@given(names=st.lists(st.text(max_size=12), min_size=1, max_size=6))
def test_members_of_any_names(tmp_path: Path, names: list[str]) -> None:
    data = images("{split}/{name}/{row}.png")
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w") as archive:
        warnings.simplefilter("ignore")  # about names that become one
        for name, image in {**dict(zip(names, data.values(), strict=False)), **data}.items():
            archive.writestr(zipfile.ZipInfo(name), image)
    (tmp_path / "a.zip").write_bytes(buffer.getvalue())
    try:
        with ExitStack() as opened:
            assert recognise(tmp_path / "a.zip", opened).splits
    except DataError as error:
        assert "\n" not in str(error)
