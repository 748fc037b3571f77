"""Folders and archives as people have them: which splits and classes they mean."""

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from metaviz.files.archives import DataError
from metaviz.images.layouts import known_splits
from metaviz.images.unpack import unpack_tar
from metaviz.problems.inspection import inspect_data
from metaviz.problems.omniglot_files import read_omniglot
from tests.unit.image_data import SIX, counts, found_in, image, images, united
from tests.unit.test_omniglot_files import files as drawings
from tests.unit.test_omniglot_files import pack, unpack

PLAIN = images("{split}/{name}/{row}.png")
UNSPLIT = {f"c{place}": 2 for place in range(6)}
NAMED = {"car": 2, "bus": 2, "ship": 2}


def folders(*names: str, first: int = 100, rows: int = 2) -> dict[str, bytes]:
    """Return images in some folders."""
    return {
        f"{name}/{row}.png": image(first + rows * place + row)
        for place, name in enumerate(names)
        for row in range(rows)
    }


def test_plain_split_folders_have_no_remark(tmp_path: Path) -> None:
    found = found_in(tmp_path, PLAIN)
    assert (counts(found), found.remarks, found.left_out) == (SIX, (), {})


SPLIT_NAMES = [
    ("base", "val", "novel"),
    ("meta-train", "meta-val", "meta-test"),
    ("metatrain", "metavalid", "metatest"),
    ("train", "dev", "test"),
    ("Training", "Validation", "Testing"),
    ("trainset", "valset", "testset"),
    ("TrainData", "ValData", "TestData"),
    ("images_train", "images_val", "images_test"),
    ("mini_imagenet_train", "mini_imagenet_val", "mini_imagenet_test"),
    ("train-1", "val-1", "test-1"),
]


@pytest.mark.parametrize("names", SPLIT_NAMES, ids=" ".join)
@pytest.mark.parametrize("below", ["", "data/pictures/"])
def test_words_for_splits_are_known(names: tuple[str, ...], below: str, tmp_path: Path) -> None:
    words = dict(zip(("train", "val", "test"), names, strict=True))
    contents = {
        below + name.replace(name.split("/")[0], words[name.split("/")[0]], 1): data
        for name, data in PLAIN.items()
    }
    found = found_in(tmp_path, contents)
    assert (counts(found), found.remarks) == (SIX, ())


@pytest.mark.parametrize(
    "contents",
    [
        folders("animals/cat", "animals/cow", "test equipment/flask", "test equipment/tube"),
        folders("birds/owl", "train sets/steam", "train sets/diesel", "test tubes/glass"),
        folders("novel/war and peace", "essay/on liberty", "poem/howl"),
        folders("car", "train", "plane"),
        folders("base/rock", "roof/tile", "wall/brick"),
        folders("dev/laptop", "home/sofa"),
        folders("testing ground/mud", "woods/oak", "hills/grass"),
    ],
    ids=lambda contents: next(iter(contents)),
)
def test_words_for_splits_in_names_of_classes_split_nothing(
    contents: dict[str, bytes], tmp_path: Path
) -> None:
    classes = {name.split("/")[-2]: 2 for name in contents}
    found = found_in(tmp_path, contents)
    assert found.layout == "class folders"
    assert united(found) == classes
    assert "came without a split" in found.remarks[0]


@pytest.mark.parametrize("name", ["latest-test.zip", "train.zip", "val data.zip", "my photos.zip"])
def test_name_of_a_single_archive_is_no_split(name: str, tmp_path: Path) -> None:
    path = pack(tmp_path / name, images("{name}/{row}.png"))
    found = found_in(path)
    assert (found.layout, united(found)) == ("class folders", UNSPLIT)
    if name != "train.zip":  # which says in a folder what it holds
        assert found_in(tmp_path).layout == "class folders"
    pack(tmp_path / name, PLAIN)
    assert counts(found_in(path)) == SIX


def test_archive_of_each_split_is_a_split(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        some = {k.partition("/")[2]: v for k, v in PLAIN.items() if k.startswith(split)}
        pack(tmp_path / f"{split}.zip", some)
    assert counts(found_in(tmp_path)) == SIX


PARTS = {
    "tinyimagenet": images("{split}/{name}/images/{row}.png"),
    "generic": images("{split}/{name}/JPG/{row}.png"),
    "one part": images("{split}/{name}/front view/{row}.png"),
    "around": images("{split}/images/{name}/{row}.png"),
    "unpacked twice": images("{split}/{split}/{name}/{row}.png"),
    "above all": images("set/{split}/{name}/{row}.png"),
    "unpacked twice, named longer": images("seg_{split}/seg_{split}/{name}/{row}.png"),
    "superclasses": {
        name.replace("/c", f"/big {name.split('/')[1]}/c"): data for name, data in PLAIN.items()
    },
    "nested": PLAIN
    | {"train/c0/old/7.png": image(70), "train/c0/old/8.png": image(71)}
    | {"train/c0/7.png": image(72), "train/c0/8.png": image(73)},
}


@pytest.mark.parametrize("how", list(PARTS))
def test_class_is_the_folder_below_the_split(how: str, tmp_path: Path) -> None:
    found = found_in(tmp_path, PARTS[how])
    extra = {"train": {"c0": 6, "c1": 2}} if how == "nested" else {}
    assert counts(found) == SIX | extra
    assert found.remarks == ()


def test_validation_images_without_folders_are_told(tmp_path: Path) -> None:
    tiny = folders("train/n0/images", "train/n1/images", "val/images")
    found = found_in(tmp_path, tiny)
    assert counts(found) == {"train": {"n0": 2, "n1": 2}, "validation": {"images": 2}}
    (told,) = found.remarks
    assert "without a folder for each class" in told


@pytest.mark.parametrize("inside", ["{split}", "{split}/images", "images/{split}"])
@pytest.mark.parametrize("names", [("a", "b"), ("a", "b", "c", "d")])
def test_split_inside_of_a_class_is_united(
    inside: str, names: tuple[str, ...], tmp_path: Path
) -> None:
    made = [f"{name}/{inside.format(split=s)}" for name in names for s in ("train", "test")]
    found = found_in(tmp_path, folders(*made))
    assert united(found) == dict.fromkeys(names, 4)
    assert any("a split is of classes" in remark for remark in found.remarks)


def test_classes_named_like_splits_stay_classes(tmp_path: Path) -> None:
    found = found_in(tmp_path, folders("train/train0", "train/train1", "val/val0", "test/test5"))
    assert counts(found) == {
        "train": {"train0": 2, "train1": 2},
        "validation": {"val0": 2},
        "test": {"test5": 2},
    }


def test_splits_in_several_places_are_told(tmp_path: Path) -> None:
    own = [f"{place}/{part}" for place in ("art", "photo") for part in ("train/a", "test/b")]
    found = found_in(tmp_path, folders(*own))
    assert counts(found) == {"train": {"a": 4}, "test": {"b": 4}}
    assert "folders of the split lie in 2 places, photo among them" in found.remarks[0]


def test_class_that_begins_like_its_split_stays(tmp_path: Path) -> None:
    found = found_in(tmp_path, folders("train/train station/images", "train/c1", "val/c2"))
    assert counts(found)["train"] == {"c1": 2, "train station": 2}


def test_images_of_train_and_test_without_classes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no images by class"):
        found_in(tmp_path, folders("train", "test"))


def test_what_lies_outside_of_the_splits_is_counted(tmp_path: Path) -> None:
    found = found_in(tmp_path, PLAIN | folders("extra/c8"))
    assert counts(found) == SIX
    assert found.left_out == {"images outside of the folders of the split": 2}
    assert "images outside of the folders of the split (2)" in found.remarks[0]


def test_splits_of_a_few_images_do_not_hide_the_others(tmp_path: Path) -> None:
    examples = folders("docs/train/a", "docs/test/b", rows=1)
    found = found_in(tmp_path, images("pictures/{name}/{row}.png") | examples)
    assert united(found) == UNSPLIT | {"a": 1, "b": 1}
    assert "hold only 2 of 14 images and divide nothing" in found.remarks[0]


@pytest.mark.parametrize("inside", ["images/", "JPG/", "my photos/", "part 1/"])
def test_parts_of_classes_without_a_split_are_no_classes(inside: str, tmp_path: Path) -> None:
    assert united(found_in(tmp_path, images("{name}/" + inside + "{row}.png"))) == UNSPLIT


def test_images_beside_folders_of_classes_are_counted(tmp_path: Path) -> None:
    own = images("pictures/{name}/{row}.png") | {"pictures/all.png": image(90), "a.jpg": image(91)}
    found = found_in(tmp_path, own)
    assert united(found) == UNSPLIT
    assert found.left_out == {"images in no folder of a class": 2}


SYSTEM = [
    ".ipynb_checkpoints", ".git", ".Trash", ".thumbnails", "__MACOSX", "@eaDir", "lost+found",
    "found.000", "FOUND.012", "_gsdata_",
    "$RECYCLE.BIN", "System Volume Information", "#recycle", "__pycache__",
]  # fmt: skip


@pytest.mark.parametrize("name", SYSTEM)
@pytest.mark.parametrize("zipped", [False, True])
def test_folders_that_systems_made_are_no_data(name: str, tmp_path: Path, *, zipped: bool) -> None:
    litter = folders(f"train/c0/{name}", f"val/{name}/copy", f"{name}/train/c9", f"{name}/c8")
    files = {"train/c1/Thumbs.db": b"x", "val/desktop.ini": b"x", "train/c1/._0.png": b"x"}
    contents = PLAIN | litter | files
    found = found_in(pack(tmp_path / "a.zip", contents) if zipped else unpack(tmp_path, contents))
    assert (counts(found), found.remarks) == (SIX, ())


def test_folder_that_looks_almost_like_one_of_a_system_is_data(tmp_path: Path) -> None:
    found = found_in(
        tmp_path, PLAIN | folders("train/_c6", "train/found.1", "train/lost and found")
    )
    odd = {"_c6": 2, "found.1": 2, "lost and found": 2}
    assert counts(found)["train"] == {"c0": 2, "c1": 2} | odd


@pytest.mark.parametrize("name", ["._train.zip", "._backup.zip", ".hidden.zip"])
def test_hidden_archives_are_not_opened(name: str, tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        some = {k.partition("/")[2]: v for k, v in PLAIN.items() if k.startswith(split)}
        pack(tmp_path / f"{split}.zip", some)
    (tmp_path / name).write_bytes(b"\0\x05\x16\7")
    found = found_in(tmp_path)
    assert (counts(found), found.remarks) == (SIX, ())


@pytest.mark.parametrize("data", [b"", b"PK", b"PK\5\6" + bytes(18)], ids=["empty", "cut", "none"])
def test_unrelated_archive_beside_folders_costs_only_itself(data: bytes, tmp_path: Path) -> None:
    found = found_in(tmp_path, PLAIN | {"backup.zip": data})
    assert counts(found) == SIX
    assert bool(found.left_out) == (len(data) < 20)


def test_damaged_archive_of_a_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train\.zip is not a readable zip"):
        found_in(tmp_path, PLAIN | {"train.zip": b"PK"})


@pytest.mark.parametrize("name", ["a.rar", "b.tar", "c.heic", "d.CR2", "e.mp4"])
def test_files_that_are_not_read_are_counted(name: str, tmp_path: Path) -> None:
    found = found_in(tmp_path, PLAIN | {f"train/c0/{name}": b"x"})
    assert counts(found) == SIX
    assert list(found.left_out.values()) == [1]
    assert name[1:].lower() in next(iter(found.left_out))


def test_notes_and_programs_beside_images_are_no_matter(tmp_path: Path) -> None:
    notes = ("README.md", "train.py", "requirements.txt", "train/c0/notes.txt", "LICENSE")
    found = found_in(tmp_path, PLAIN | dict.fromkeys(notes, b"words"))
    assert (counts(found), found.remarks) == (SIX, ())


def test_archive_of_windows_separates_folders_by_backslashes(tmp_path: Path) -> None:
    for name, contents in (("images", PLAIN), ("omniglot", drawings("images_background/"))):
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive:
            for member, data in {"empty/": b"", **contents}.items():
                info = zipfile.ZipInfo()
                info.filename = member.replace("/", "\\")
                archive.writestr(info, data)
    assert counts(found_in(tmp_path / "images.zip")) == SIX
    assert read_omniglot(tmp_path / "omniglot.zip").layout == "raw"


def link(root: Path, name: str, target: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).symlink_to(target, target_is_directory=True)


def test_links_to_folders_of_classes_are_followed(tmp_path: Path) -> None:
    unpack(tmp_path, {f"store/{k.partition('/')[2]}": v for k, v in PLAIN.items()})
    for place, split in enumerate(("train", "train", "val", "val", "test", "test")):
        link(tmp_path, f"farm/{split}/c{place}", f"../../store/c{place}")
    farm = found_in(tmp_path / "farm")
    assert (counts(farm), farm.remarks) == (SIX, ())
    # Seen together the farm divides what the store holds.
    assert counts(found_in(tmp_path)) == SIX


def test_links_to_splits_and_over_links_are_followed(tmp_path: Path) -> None:
    unpack(tmp_path / "disk", PLAIN)
    for split in ("train", "val", "test"):
        link(tmp_path, f"data/{split}", f"../other/{split}")
    link(tmp_path, "other", "disk")
    assert counts(found_in(tmp_path / "data")) == SIX


@pytest.mark.parametrize("target", [".", "..", "../..", "../../val/.."])
def test_links_into_a_folder_above_are_cut_and_told(target: str, tmp_path: Path) -> None:
    unpack(tmp_path / "data", PLAIN)
    link(tmp_path / "data", "train/c0/again", target)
    found = found_in(tmp_path / "data")
    assert counts(found) == SIX
    assert found.left_out == {"links to a folder above": 1}


def test_links_that_cross_each_other_end(tmp_path: Path) -> None:
    unpack(tmp_path, PLAIN)
    for one in range(12):
        for other in range(12):
            link(tmp_path, f"maze/d{one}/to{other}", f"../d{other}")
    assert counts(found_in(tmp_path)) == SIX


def test_links_that_lead_nowhere_are_counted(tmp_path: Path) -> None:
    unpack(tmp_path, PLAIN)
    link(tmp_path, "train/c9", "../gone")
    (tmp_path / "train/c0/9.png").symlink_to("gone.png")
    found = found_in(tmp_path)
    assert counts(found) == SIX
    assert found.left_out == {"links that lead nowhere": 2}


def test_deep_folders_are_read_and_deeper_ones_counted(tmp_path: Path) -> None:
    assert counts(found_in(tmp_path, images("a/b/c/d/e/f/g/h/{split}/{name}/{row}.png"))) == SIX
    unpack(tmp_path, {"/".join("abcdefghijklmnopqrst") + "/0.png": image(99)})
    assert found_in(tmp_path).left_out == {"folders deeper than 16 levels": 1}


COPIES = {
    "raw and processed": images("raw/{name}/{row}.png") | images("processed/{name}/{row}.png"),
    "a backup": images("{name}/{row}.png") | images("backup/{name}/{row} copy.png"),
    "within a class": images("{name}/{row}.png") | images("{name}/again {row}.png"),
    "other endings": images("{name}/{row}.png") | images("{name}/{row}.JPEG"),
}


@pytest.mark.parametrize("how", list(COPIES))
def test_a_picture_counts_once_in_a_class(how: str, tmp_path: Path) -> None:
    found = found_in(tmp_path, COPIES[how])
    assert united(found) == UNSPLIT
    assert found.left_out == {"copies of images that are read": 12}


def test_copies_in_an_archive_beside_its_files_count_once(tmp_path: Path) -> None:
    pack(tmp_path / "train.zip", {"train/c0/0.png": PLAIN["train/c0/0.png"]})
    found = found_in(tmp_path, PLAIN)
    assert counts(found) == SIX
    assert found.left_out == {"copies of images that are read": 1}


def test_other_pictures_of_the_same_names_all_count(tmp_path: Path) -> None:
    both = images("monday/{name}/{row}.png") | images("friday/{name}/{row}.png", first=50)
    found = found_in(tmp_path, both)
    assert united(found) == dict.fromkeys(UNSPLIT, 4)
    assert found.left_out == {}
    assert "c5 from 2 of them" in found.remarks[-1]


def test_images_of_one_size_in_bytes_are_no_copies(tmp_path: Path) -> None:
    contents = {name: data.ljust(400, b"\0") for name, data in PLAIN.items()}
    found = found_in(tmp_path, contents)
    assert (counts(found), found.remarks) == (SIX, ())


def test_a_published_data_set_stays_as_it_is(tmp_path: Path) -> None:
    known = known_splits()["CIFAR-FS"]
    names = {split: sorted(known[split])[:2] for split in SIX}
    some = {
        f"{split}/{name}/{row}.png": image(row % 599)
        for split, labels in names.items()
        for name in labels
        for row in range(600)
    }
    found = found_in(tmp_path, some)
    assert (found.dataset, found.count(), found.remarks) == ("CIFAR-FS", 3600, ())
    (tmp_path / "test" / names["test"][0] / "0.png").unlink()
    assert found_in(tmp_path).left_out == {"copies of images that are read": 5}


def test_classes_and_images_that_splits_share_are_told(tmp_path: Path) -> None:
    own = folders("train/cat", "train/dog", "val/cat", "val/dog", "test/dog", "test/hen")
    found = found_in(tmp_path, own)
    assert found.remarks == (
        "2 of 2 validation classes are training classes too: accuracies are not of new classes",
        "1 of 2 test classes are training classes too: accuracies are not of new classes",
        "1 of 2 test classes are validation classes too: accuracies are not of new classes",
    )
    unpack(tmp_path, {"val/cat/9.png": own["train/dog/0.png"]})
    assert "1 of 5 validation images are training images too, and not new" in (
        found_in(tmp_path).remarks
    )


def test_images_in_several_classes_are_told(tmp_path: Path) -> None:
    unpack(tmp_path, PLAIN)
    link(tmp_path, "train/c9", "c0")
    found = found_in(tmp_path)
    assert counts(found)["train"] == {"c0": 2, "c1": 2, "c9": 2}
    assert found.remarks == ("2 training images are in several classes",)


def test_images_that_drawn_splits_share_are_told(tmp_path: Path) -> None:
    unpack(tmp_path, images("{name}/{row}.png"))
    for name in ("c0", "c1", "c2", "c3", "c4"):
        unpack(tmp_path, {f"{name}/8.png": image(80)})
    told = " ".join(found_in(tmp_path).remarks)
    assert "images are training images too, and not new" in told
    unpack(tmp_path, {"c5/8.png": image(80)})  # as a picture that says that there is none
    assert "training images" not in " ".join(found_in(tmp_path).remarks)


COMPOSED, APART = "caf\u00e9", "cafe\u0301"


@pytest.mark.parametrize("above", ["", "data/", "train/"])
def test_folders_whose_names_differ_in_form_alone_are_one_class(above: str, tmp_path: Path) -> None:
    split = "{split}/{name}/{row}.png"
    some = images(split if above == "train/" else f"{above}{{name}}/{{row}}.png")
    more = {f"{above}{form}/0.png": image(90 + at) for at, form in enumerate((COMPOSED, APART))}
    found = found_in(tmp_path, some | more)
    assert united(found)[COMPOSED] == 2
    assert APART not in united(found)
    told = "1 classes were united whose names differ in how their accents are composed, café among"
    assert any(told in remark for remark in found.remarks)
    alone = {name: data for name, data in more.items() if APART in name}
    assert united(found_in(tmp_path / "alone", some | alone))[APART] == 1


def test_a_class_of_two_forms_in_two_splits_is_shared_by_them(tmp_path: Path) -> None:
    own = images("{split}/{name}/{row}.png")
    more = {f"train/{COMPOSED}/0.png": image(90), f"test/{APART}/0.png": image(91)}
    found = found_in(tmp_path, own | more)
    told = "1 of 3 test classes are training classes too: accuracies are not of new classes"
    assert told in found.remarks


def test_members_of_one_name_in_an_archive_are_counted(tmp_path: Path) -> None:
    own = images("{split}/{name}/{row}.png")
    pack(tmp_path / "once.zip", own)
    assert found_in(tmp_path / "once.zip").left_out == {}
    with zipfile.ZipFile(pack(tmp_path / "twice.zip", own), "a") as archive:
        for place, name in enumerate(list(own)[:2]):
            with pytest.warns(UserWarning, match="Duplicate name"):
                archive.writestr(name, image(95 + place))
        archive.writestr("train\\c1\\0.png", image(98))
    found = found_in(tmp_path / "twice.zip")
    assert counts(found) == SIX
    assert found.left_out == {"members of archives under whose name a later one lies": 3}


def test_a_tar_archive_with_two_members_of_one_name_is_not_unpacked(tmp_path: Path) -> None:
    for names in (("a", "b"), ("a", "a")):
        with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as archive:
            for name in names:
                archive.add(Path(__file__), name)
        if names[0] != names[1]:
            unpack_tar(tmp_path / "x.tar.gz", tmp_path / "out")
            assert {path.name for path in (tmp_path / "out").iterdir()} == {"a", "b"}
            continue
        with pytest.raises(DataError, match="two members with the name 'a'"):
            unpack_tar(tmp_path / "x.tar.gz", tmp_path / "again")
        assert not (tmp_path / "again").exists()


def test_a_name_of_bytes_and_its_escaped_text_are_two_classes(tmp_path: Path) -> None:
    unpack(tmp_path, images("{split}/{name}/{row}.png"))
    for place, name in enumerate((os.fsdecode(b"caf\xe9"), "caf\\xe9")):
        folder = tmp_path / "train" / name
        folder.mkdir()
        for row in range(place + 1):
            (folder / f"{row}.png").write_bytes(image(90 + 3 * place + row))
    found = inspect_data(tmp_path, lambda _line: None)
    assert found.splits["train"] == {"c0": 2, "c1": 2, "caf\\xe9": 1, "caf\\\\xe9": 2}


@pytest.fixture
def unlisted() -> Iterator[Callable[[Path], list[str]]]:
    """Return what keeps a folder from being listed, and how a program is then begun."""
    held: list[Path] = []
    setpriv = shutil.which("setpriv")
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    if os.name == "nt" or (is_root and not setpriv):
        pytest.skip("nothing is closed to this user")

    def close(folder: Path, mode: int = 0) -> list[str]:
        folder.chmod(mode)
        held.append(folder)
        powers = "-dac_override,-dac_read_search,-fowner"
        return [str(setpriv), "--bounding-set", powers] if is_root else []

    yield close
    for folder in held:
        folder.chmod(0o755)


@pytest.mark.parametrize("mode", [0o000, 0o100, 0o400])
@pytest.mark.parametrize("kind", ["images", "drawings"])
def test_a_folder_that_cannot_be_listed_costs_only_itself(
    kind: str, mode: int, unlisted: Callable[..., list[str]], tmp_path: Path
) -> None:
    unpack(tmp_path, PLAIN if kind == "images" else drawings())
    whole = inspect_data(tmp_path, lambda _text: None)
    unpack(tmp_path, {"secret/0.png": image(1)})
    begun = unlisted(tmp_path / "secret", mode)
    command = [*begun, sys.executable, "-m", "metaviz", "data", "inspect", str(tmp_path), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "setpriv: " in done.stderr:
        pytest.skip("this system closes nothing to root")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["splits"] == whole.splits
    assert any("secret cannot be listed and is left out" in each for each in found["remarks"])
    if kind == "images":
        assert found["left_out"] == {"folders that cannot be listed": 1}


def test_a_root_that_cannot_be_listed_is_refused(
    unlisted: Callable[..., list[str]], tmp_path: Path
) -> None:
    unpack(tmp_path / "data", PLAIN)
    begun = unlisted(tmp_path / "data")
    command = [*begun, sys.executable, "-m", "metaviz", "data", "inspect", str(tmp_path / "data")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert any(said in done.stderr for said in ("cannot be listed", "not readable", "setpriv: "))


def as_form(data: bytes, form: str) -> bytes:
    """Return an image in another format, or packed otherwise."""
    buffer = io.BytesIO()
    Image.open(io.BytesIO(data)).save(buffer, form)
    return buffer.getvalue()


@pytest.mark.parametrize(("form", "ending"), [("BMP", "bmp"), ("TIFF", "tif"), ("PPM", "ppm")])
def test_copies_in_other_formats_count_once(form: str, ending: str, tmp_path: Path) -> None:
    pixels = PLAIN["train/c0/0.png"]
    copies = {f"train/c0/copy.{ending}": as_form(pixels, form)}
    others = {f"train/c0/own.{ending}": as_form(image(900), form)}
    found = found_in(tmp_path / "data", PLAIN | copies | others)
    assert counts(found) == SIX | {"train": {"c0": 3, "c1": 2}}
    assert found.left_out == {"copies of images that are read": 1}
    copies |= {"train/c0/again.png": pixels, "train/c0/more.dib": as_form(pixels, "BMP")}
    found = found_in(tmp_path / "more", PLAIN | copies | others)
    assert counts(found) == SIX | {"train": {"c0": 3, "c1": 2}}
    assert found.left_out == {"copies of images that are read": 3}


def test_copies_of_a_class_in_another_split_and_format_are_told_once(tmp_path: Path) -> None:
    pixels = PLAIN["train/c0/0.png"]
    shared = {"test/c0/0.png": pixels, "test/c0/0.bmp": as_form(pixels, "BMP")}
    found = found_in(tmp_path, PLAIN | shared | {"test/c0/1.png": image(901)})
    assert counts(found)["test"] == {"c0": 2, "c4": 2, "c5": 2}
    assert found.left_out == {"copies of images that are read": 1}
    assert any("of 6 test images are training images too" in each for each in found.remarks)


def test_a_damaged_image_is_no_copy_in_another_format(tmp_path: Path) -> None:
    broken = {"train/c0/2.bmp": b"BM\0\0\0\0\0\0\0\0junk", "train/c0/3.png": b"\x89PNG junk"}
    found = found_in(tmp_path, PLAIN | broken)
    assert counts(found)["train"]["c0"] == 4
