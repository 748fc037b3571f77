"""People's own lists of the split, as spreadsheets, editors and other programs write them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from metaviz.files.archives import DataError
from tests.unit.image_data import SHORT, SIX, SPLIT_OF, counts, found_in, image, images, united
from tests.unit.test_omniglot_files import pack, unpack

FLAT = images("images/{name}_{row}.png")
FOLDERS = images("data/{name}/{row}.png")
UNSPLIT = dict.fromkeys(SPLIT_OF, 2)


def table(split: str, header: str = "filename,label", row: str = "{name}_{row}.png,{name}") -> str:
    """Return the lines of one split's table."""
    names = SIX[split]
    lines = [row.format(name=name, row=each, split=split) for name in names for each in range(2)]
    return "\n".join([header, *lines] if header else lines) + "\n"


def tables(ending: str = ".csv", **how: str) -> dict[str, str]:
    return {f"{SHORT[split]}{ending}": table(split, **how) for split in SIX}


def encoded(texts: dict[str, str], encoding: str = "utf-8") -> dict[str, bytes]:
    return {name: text.encode(encoding) for name, text in texts.items()}


def lines(**how: str) -> dict[str, str]:
    """Return texts with one class a line."""
    pattern = how.get("line", "{name}")
    return {
        f"{SHORT[split]}{how.get('ending', '.txt')}": "".join(
            pattern.format(name=name) + "\n" for name in names
        )
        for split, names in SIX.items()
    }


SEMICOLON = tables(header="filename;label", row="{name}_{row}.png;{name}")
TAB = tables(header="filename\tlabel", row="{name}_{row}.png\t{name}")
ONE = "filename,label,split\n" + "".join(
    table(split, header="", row="{name}_{row}.png,{name}," + SHORT[split]) for split in SIX
)
TABLES: dict[str, dict[str, bytes]] = {
    "one for all": {"labels.csv": ONE.encode()},
    "one for all, in Excel": {"my images.csv": ONE.replace(",", ";").encode("utf-16")},
    "named by Excel": {k: b"sep=;\n" + v for k, v in encoded(SEMICOLON).items()},
    "plain": encoded(tables()),
    "byte-order mark": encoded(tables(), "utf-8-sig"),
    "UTF-16": encoded(tables(), "utf-16"),
    "UTF-16 big-endian": encoded(tables(), "utf-16-be"),
    "UTF-16 without a mark": encoded(tables(), "utf-16-le"),
    "mark and semicolons": encoded(SEMICOLON, "utf-8-sig"),
    "semicolons": encoded(SEMICOLON),
    "tabs": encoded(TAB),
    "tabs, .tsv": {name.replace(".csv", ".tsv"): data for name, data in encoded(TAB).items()},
    "bars": encoded(tables(header="filename|label", row="{name}_{row}.png|{name}")),
    "CR": {k: v.replace(b"\n", b"\r") for k, v in encoded(tables()).items()},
    "CR LF": {k: v.replace(b"\n", b"\r\n") for k, v in encoded(tables()).items()},
    "capitals and a space": encoded(
        tables(header="Filename, Label", row="{name}_{row}.png, {name}")
    ),
    "other words": encoded(tables(header="Image Path,Class Name")),
    "turned round": encoded(tables(header="CLASS,File-Name", row="{name},{name}_{row}.png")),
    "quoted": encoded(tables(header='"filename","label"', row='"{name}_{row}.png","{name}"')),
    "more columns": encoded(
        tables(header="id,filename,width,label", row="7,{name}_{row}.png,8,{name}")
    ),
    "comments": encoded(tables(header="# mine\nfilename,label\n# more")),
    "blank lines": encoded(tables(header="\nfilename,label\n,\n")),
    "without a header": encoded(tables(header="")),
    "below": encoded(tables(row="images/{name}_{row}.png,{name}")),
    "below the list": encoded(tables(row="./images/{name}_{row}.png,{name}")),
    "Windows": encoded(tables(row="images\\{name}_{row}.png,{name}")),
    "absolute": encoded(tables(row="/home/me/few shot/images/{name}_{row}.png,{name}")),
    "absolute, Windows": encoded(tables(row="D:\\data\\images\\{name}_{row}.png,{name}")),
    "without ending": encoded(tables(header="image_id,label", row="{name}_{row},{name}")),
    "other capitals": encoded(tables(row="{name}_{row}.PNG,{name}")),
    "named alike": {
        f"mini_{k.replace('.csv', '_list.csv')}": v for k, v in encoded(tables()).items()
    },
    "in a folder": {f"splits/ravi/{k}": v for k, v in encoded(tables()).items()},
}


@pytest.mark.parametrize("how", list(TABLES))
@pytest.mark.parametrize("zipped", [False, True])
def test_tables_are_read(how: str, tmp_path: Path, *, zipped: bool) -> None:
    contents = FLAT | TABLES[how]
    found = found_in(pack(tmp_path / "a.zip", contents) if zipped else unpack(tmp_path, contents))
    assert (found.layout, counts(found), found.remarks) == ("lists of files (CSV)", SIX, ())


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("ending", [".csv", ".txt"])
def test_letters_of_labels_stay(encoding: str, ending: str, tmp_path: Path) -> None:
    accents = {"c0": "café", "c1": "cafè", "c2": "Übung", "c3": "ñu", "c4": "ÿ", "c5": "plain"}
    if ending == ".csv":
        texts = tables()
        contents = dict(FLAT)
    else:
        texts = lines()
        contents = {}
        for name, data in FOLDERS.items():
            _, label, row = name.split("/")
            contents[f"data/{accents[label]}/{row}"] = data
    for name, text in texts.items():
        told = text
        for label, written in accents.items():
            told = told.replace(f",{label}\n", f",{written}\n")
            told = told.replace(f"{label}\n", f"{written}\n") if ending == ".txt" else told
        contents[name] = told.encode(encoding)
    found = found_in(tmp_path, contents)
    assert counts(found) == {
        split: {accents[name]: 2 for name in sorted(names, key=accents.get)}
        for split, names in SIX.items()
    }


@pytest.mark.parametrize(
    "places",
    [
        "pics/folder{place}/{row}.png",
        "pics/{place}/deep/{row}.png",
        "{place}/{row}.png",
    ],
)
def test_name_that_several_images_have_is_refused(places: str, tmp_path: Path) -> None:
    contents = {
        places.format(place=place, row=row): image(2 * place + row)
        for place in range(6)
        for row in range(2)
    }
    unpack(tmp_path, contents | encoded(tables(row="{row}.png,{name}")))
    with pytest.raises(DataError, match=r"test\.csv in .* '0\.png', and 6 images have that name"):
        found_in(tmp_path)


@pytest.mark.parametrize("places", ["pics/{name}/{row}.png", "pics/{name}/deep/{row}.png"])
def test_name_is_told_apart_by_the_folder_of_its_class(places: str, tmp_path: Path) -> None:
    found = found_in(tmp_path, images(places) | encoded(tables(row="{row}.png,{name}")))
    assert counts(found) == SIX
    held = {
        label: [picture.content() for picture in pictures]
        for classes in found.splits.values()
        for label, pictures in classes.items()
    }
    assert held["c3"] == [image(6), image(7)]


def test_image_of_another_class_is_not_taken_for_one_that_is_missing(tmp_path: Path) -> None:
    contents = images("pics/{name}/{name}-{row}.png") | {"pics/c0/odd.png": image(80)}
    lists = encoded(tables(row="{name}-{row}.png,{name}"))
    unpack(tmp_path, contents | lists)
    assert counts(found_in(tmp_path)) == SIX
    unpack(tmp_path, {"train.csv": lists["train.csv"] + b"odd.png,c1\n"})
    with pytest.raises(DataError, match=r"train\.csv in .*'odd\.png', which is not there"):
        found_in(tmp_path)


def test_all_missing_names_of_a_list_are_counted(tmp_path: Path) -> None:
    lists = encoded(tables(row="{name}-{row}.png,{name}"))
    with pytest.raises(DataError, match=r"lists 'c4-0\.png' and 3 more, which is not there"):
        found_in(tmp_path, FLAT | lists)


def test_image_that_a_list_names_twice_counts_once(tmp_path: Path) -> None:
    twice = {name: text + text.partition("\n")[2] for name, text in tables().items()}
    assert counts(found_in(tmp_path, FLAT | encoded(twice))) == SIX


@pytest.mark.parametrize(
    "others",
    [
        {"test_predictions.csv": "filename,label\n0.png,c0\n"},
        {"test.csv": "filename,label\n0.png,c0\n"},
        {"train_log.csv": "epoch,loss\n1,2\n", "test_log.csv": "epoch,loss\n1,2\n"},
        {"train.csv": "epoch,loss\n1,2\n", "val.csv": "epoch,loss\n1,2\n"},
        {
            "train_results.csv": "image,label\n0.png,c0\n",
            "val_results.csv": "image,label\n0.png,1\n",
        },
        {"test.txt": "c0\n"},
        {"train.json": '{"lr": 0.1}', "val.json": "[1, 2]"},
        {"train.txt": "# nothing yet", "val.txt": ""},
        {"train.json": "{", "val.json": "{"},
    ],
    ids=lambda others: next(iter(others)) + str(len(others)),
)
def test_table_that_is_no_list_of_a_split_hides_nothing(
    others: dict[str, str], tmp_path: Path
) -> None:
    found = found_in(tmp_path, FOLDERS | encoded(others))
    assert found.layout == "class folders"
    assert united(found) == UNSPLIT


def test_columns_of_a_table_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    odd = encoded(tables(header="picture_of,kind_of"))
    with pytest.raises(DataError, match=r"train\.csv in .*its columns are picture_of, kind_of"):
        found_in(tmp_path, {f"{k}x": v for k, v in FLAT.items()} | FLAT | odd)
    mixed = encoded(tables()) | {"val.csv": odd["val.csv"]}
    with pytest.raises(DataError, match=r"val\.csv in .*its columns are picture_of, kind_of"):
        found_in(tmp_path, mixed)


def test_train_and_test_lists_alone_are_honoured(tmp_path: Path) -> None:
    lists = encoded(tables())
    del lists["val.csv"]
    found = found_in(tmp_path, FLAT | lists)
    assert counts(found) == {split: SIX[split] for split in ("train", "test")}
    assert found.left_out == {"images that no list names": 4}


@pytest.mark.parametrize("ending", [".csv", ".txt"])
def test_list_of_train_alone_is_not_replaced_by_chance(ending: str, tmp_path: Path) -> None:
    name = f"train{ending}"
    own = tables(row="data/{name}/{row}.png,{name}") if ending == ".csv" else lines()
    found = found_in(tmp_path, FOLDERS | {name: own[name].encode()})
    assert counts(found) == {"train": SIX["train"]}
    assert found.left_out == {"images that no list names": 8}


@pytest.mark.parametrize("name", ["test.txt", "val.csv", "test.json"])
def test_list_without_train_beside_it_is_told(name: str, tmp_path: Path) -> None:
    found = found_in(tmp_path, FOLDERS | {name: b"c0\n"})
    assert united(found) == UNSPLIT
    assert f"{name} in {tmp_path} is no list of a split without one for train beside it" in (
        found.remarks
    )


@pytest.mark.parametrize("header", ["class", "Class Name", "number,category"])
def test_tables_of_classes_are_read(header: str, tmp_path: Path) -> None:
    rows = lines(line="7,{name}" if "," in header else "{name}", ending=".csv")
    own = {name: f"{header}\n{text}".encode() for name, text in rows.items()}
    found = found_in(tmp_path, FOLDERS | own)
    assert (counts(found), found.remarks) == (SIX, ())


@pytest.mark.parametrize("header", ["filename\tlabel", ""])
def test_tables_in_text_files_are_read(header: str, tmp_path: Path) -> None:
    own = encoded(tables(".txt", header=header, row="{name}_{row}.png\t{name}"), "utf-16")
    found = found_in(tmp_path, FLAT | own)
    assert (counts(found), found.remarks) == (SIX, ())


def test_accents_that_systems_compose_otherwise_are_the_same(tmp_path: Path) -> None:
    apart = {f"data/{n[5:7]}e\u0301/a\u0308{n[8:]}": data for n, data in FOLDERS.items()}
    texts = lines(line="{name}\u00e9")
    listed = tables(row="\u00e4{row}.png,{name}\u00e9")
    for place, how in (("texts", texts), ("tables", listed)):
        found = counts(found_in(tmp_path / place, apart | encoded(how)))
        assert [sum(held.values()) for held in found.values()] == [4, 4, 4]


def test_lists_of_a_few_of_many_classes_are_honoured(tmp_path: Path) -> None:
    many = {
        f"data/d{place}/{row}.png": image(200 + 9 * place + row)
        for place in range(8)
        for row in range(9)
    }
    found = found_in(tmp_path, FOLDERS | many | encoded(lines()))
    assert counts(found) == SIX
    assert found.left_out == {"images that no list names": 72}


TEXTS: dict[str, dict[str, bytes]] = {
    "plain": encoded(lines()),
    "byte-order mark": encoded(lines(), "utf-8-sig"),
    "UTF-16": encoded(lines(), "utf-16"),
    "CR": {k: v.replace(b"\n", b"\r") for k, v in encoded(lines()).items()},
    "CR LF": {k: v.replace(b"\n", b"\r\n") for k, v in encoded(lines()).items()},
    "comments": {k: b"# my split\n\n" + v for k, v in encoded(lines()).items()},
    "spaces around": encoded(lines(line="  {name}  ")),
    "folders before": encoded(lines(line="data/{name}")),
    "folders": encoded(lines(line="./data/{name}/")),
    "Windows": encoded(lines(line="data\\{name}\\")),
    "absolute": encoded(lines(line="/home/me/data/{name}")),
    "named alike": {f"classes_{k}": v for k, v in encoded(lines()).items()},
    "far away": {f"splits/mine/{k}": v for k, v in encoded(lines()).items()},
    "images": encoded(tables(".txt", header="", row="data/{name}/{row}.png")),
    "images and labels": encoded(tables(".txt", header="", row="data/{name}/{row}.png {name}")),
    "images, labels": encoded(tables(".txt", header="", row="data/{name}/{row}.png,{name}")),
}


@pytest.mark.parametrize("how", list(TEXTS))
def test_text_lists_are_read(how: str, tmp_path: Path) -> None:
    found = found_in(tmp_path, FOLDERS | TEXTS[how])
    assert (found.layout, counts(found), found.remarks) == ("lists of classes", SIX, ())


@pytest.mark.parametrize("spaced", ["{name} fish", "wild {name}, {name}", "#{name}"])
def test_classes_with_spaces_are_one_class_a_line(spaced: str, tmp_path: Path) -> None:
    contents = {}
    for name, data in FOLDERS.items():
        _, label, row = name.split("/")
        contents[f"data/{spaced.format(name=label)}/{row}"] = data
    found = found_in(tmp_path, contents | encoded(lines(line=spaced)))
    assert counts(found) == {
        split: {spaced.format(name=name): 2 for name in names} for split, names in SIX.items()
    }


def test_class_of_a_text_list_that_is_not_there_is_told(tmp_path: Path) -> None:
    lists = encoded(lines())
    lists["val.txt"] += b"unicorn\ngriffin\n"
    found = found_in(tmp_path, FOLDERS | lists)
    assert counts(found) == SIX
    (told,) = found.remarks
    assert "val.txt in" in told
    assert "'unicorn' and 1 more, which is not there" in told


@pytest.mark.parametrize("ending", [".txt", ".json"])
def test_lists_that_fit_nothing_are_not_replaced_by_chance(ending: str, tmp_path: Path) -> None:
    lists = lines(line="other {name}", ending=ending)
    if ending == ".json":
        lists = {name: json.dumps(text.split("\n")[:-1]) for name, text in lists.items()}
    with pytest.raises(DataError, match=r"lists 'other c\d' and 1 more, which is not there"):
        found_in(tmp_path, FOLDERS | encoded(lists))


def test_lists_that_fit_nothing_are_told_beside_split_folders(tmp_path: Path) -> None:
    own = images("{split}/{name}/{row}.png") | encoded(lines(line="other {name}"))
    found = found_in(tmp_path, own)
    assert (found.layout, counts(found)) == ("folders with a split", SIX)
    assert "which is not there" in found.remarks[0]


def easyfsl(split: str, root: str = "imgs/{name}") -> object:
    names = list(SIX[split])
    return {"class_names": names, "class_roots": [root.format(name=name) for name in names]}


def closer_look(split: str) -> object:
    return {
        "label_names": list(SPLIT_OF),
        "image_names": [
            f"/home/me/imgs/{name}/{row}.png" for name in SIX[split] for row in range(2)
        ],
        "image_labels": [list(SPLIT_OF).index(name) for name in SIX[split] for _ in range(2)],
    }


def pairs(split: str) -> list[list[object]]:
    return [[f"{n}/{r}.png", list(SPLIT_OF).index(n), n] for n in SIX[split] for r in range(2)]


@pytest.mark.parametrize(
    "written",
    [
        lambda split: list(SIX[split]),
        lambda split: [f"imgs/{name}" for name in SIX[split]],
        pairs,
        easyfsl,
        lambda split: {n: [f"{n}/{r}.png" for r in range(2)] for n in SIX[split]},
    ],
    ids=["names", "folders", "images with classes", "easyfsl", "images of classes"],
)
def test_one_json_for_all_splits_is_read(written: Callable[[str], object], tmp_path: Path) -> None:
    held = json.dumps({SHORT[split]: written(split) for split in SIX} | {"comment": "mine"})
    own = images("imgs/{name}/{row}.png") | {"split_zhou.json": held.encode()}
    found = found_in(tmp_path, own)
    assert (counts(found), found.remarks) == (SIX, ())


def test_table_without_a_split_is_told_what_it_lacks(tmp_path: Path) -> None:
    rows = ONE.replace(",split\n", "\n").replace(",train\n", "\n").replace(",val\n", "\n")
    own = {"labels.csv": rows.replace(",test\n", "\n").encode()}
    with pytest.raises(DataError, match=r"labels\.csv in .* tells no split: add a column"):
        found_in(tmp_path / "flat", FLAT | own)
    found = found_in(tmp_path / "folders", FOLDERS | own)
    assert (found.layout, united(found)) == ("class folders", UNSPLIT)
    assert any("was not followed, as it tells no split" in remark for remark in found.remarks)


@pytest.mark.parametrize(
    "other",
    [
        {"labels.csv": b"filename,label,split\n0.png,c0,1\n"},
        {"labels.csv": b"filename,label,split\n0.png\n"},
        {"config.json": b'{"train": {"lr": 0.1}, "val": {"lr": 1}}'},
        {"package.json": b'{"name": "x"}', "annotations.json": b"[]"},
    ],
    ids=lambda other: next(iter(other.values())).decode(),
)
def test_other_tables_are_no_lists(other: dict[str, bytes], tmp_path: Path) -> None:
    assert united(found_in(tmp_path, FOLDERS | other)) == UNSPLIT


@pytest.mark.parametrize(
    "written",
    [
        easyfsl,
        lambda split: easyfsl(split, "/home/me/imgs/{name}"),
        lambda split: easyfsl(split, ".\\imgs\\{name}\\"),
        closer_look,
        lambda split: list(SIX[split]),
    ],
    ids=["easyfsl", "absolute", "Windows", "CloserLookFewShot", "names"],
)
@pytest.mark.parametrize(
    "names", [("train", "val", "test"), ("base", "val", "novel")], ids=" ".join
)
def test_json_lists_are_read(
    written: Callable[[str], object], names: tuple[str, ...], tmp_path: Path
) -> None:
    own = {
        f"{name}.json": json.dumps(written(split)).encode("utf-8-sig")
        for name, split in zip(names, SIX, strict=True)
    }
    found = found_in(tmp_path, images("imgs/{name}/{row}.png") | own)
    assert (counts(found), found.remarks) == (SIX, ())


def test_easyfsl_names_its_classes(tmp_path: Path) -> None:
    own = {}
    for split in SIX:
        held = {"class_names": [f"the {n}" for n in SIX[split]], "class_roots": list(SIX[split])}
        own[f"{SHORT[split]}.json"] = json.dumps(held).encode()
    found = found_in(tmp_path, FOLDERS | own)
    assert counts(found) == {s: {f"the {n}": 2 for n in names} for s, names in SIX.items()}


def test_of_two_copies_the_one_beside_the_lists_is_read(tmp_path: Path) -> None:
    own = images("cifarfs/cifar100/data/{name}/{row}.png")
    other = images("cifarfs/processed/{split}/{name}/{row}.png", first=50)
    lists = {f"cifarfs/cifar100/splits/bertinetto/{k}": v for k, v in encoded(lines()).items()}
    found = found_in(tmp_path, own | other | lists)
    assert counts(found) == SIX
    assert found.splits["train"]["c0"][0].content() == image(0)
    assert "not from cifarfs/processed/test and 2 more" in found.remarks[0]
    assert found.left_out == {"images that no list names": 12}


def test_classes_that_lists_unite_from_several_folders_are_told(tmp_path: Path) -> None:
    own = images("monday/{name}/{row}.png") | images("friday/{name}/{row}.png", first=50)
    found = found_in(tmp_path, own | encoded(lines()))
    assert counts(found) == {split: dict.fromkeys(names, 4) for split, names in SIX.items()}
    assert found.remarks == (
        "6 classes were united from folders of the same name in several places, c5 among them",
    )


def test_two_kinds_of_splits_are_refused(tmp_path: Path) -> None:
    own = encoded(tables())
    turned = {f"other/{k}": own[k] for k in own}
    assert counts(found_in(tmp_path, FLAT | own | turned)) == SIX
    turned["other/train.csv"], turned["other/test.csv"] = own["test.csv"], own["train.csv"]
    with pytest.raises(DataError, match="lists of different splits; keep the one you mean"):
        found_in(tmp_path, turned)
    with pytest.raises(DataError, match="two lists of one split"):
        found_in(tmp_path, {"validation.csv": own["val.csv"]})


def test_folds_are_refused_and_one_of_them_is_read(tmp_path: Path) -> None:
    unpack(tmp_path, FOLDERS | {f"{k[:-4]}1.txt": v for k, v in encoded(lines()).items()})
    assert counts(found_in(tmp_path)) == SIX
    names = {"train2.txt": "c4\nc5\n", "val2.txt": "c0\nc1\n", "test2.txt": "c2\nc3\n"}
    with pytest.raises(DataError, match="lists of different splits"):
        found_in(tmp_path, encoded(names))


@pytest.mark.parametrize("ending", [".txt", ".json", ".csv"])
def test_notes_on_single_images_are_no_lists(ending: str, tmp_path: Path) -> None:
    notes = {f"notes/{split}_{i}{ending}": b"{}" for split in ("train", "val") for i in range(40)}
    other = {f"notes/{i}{ending}": b"{}" for i in range(40)}
    found = found_in(tmp_path, FOLDERS | notes | other)
    assert united(found) == UNSPLIT
    assert len(found.remarks) == 1


def test_text_lists_do_not_hide_json_that_fits(tmp_path: Path) -> None:
    own = {f"{SHORT[split]}.json": json.dumps(easyfsl(split)).encode() for split in SIX}
    notes = encoded(lines(line="about {name}"))
    assert counts(found_in(tmp_path, images("imgs/{name}/{row}.png") | own | notes)) == SIX


def test_classes_of_one_name_in_two_folders_stay_two(tmp_path: Path) -> None:
    own = {
        f"{above}/{name}/{row}.png": image(10 * place + row)
        for place, (above, name) in enumerate((a, n) for a in "ab" for n in ("x", "y", "z"))
        for row in range(2)
    }
    lists = {"train.txt": b"a/x\nb/x\na/y", "val.txt": b"b/y\na/z\n"}
    assert counts(found_in(tmp_path, own | lists)) == {
        "train": {"a/x": 2, "a/y": 2, "b/x": 2},
        "validation": {"b/y": 2, "z": 2},
    }


def test_listed_images_belong_to_the_class_around_their_folder(tmp_path: Path) -> None:
    own = encoded(tables(".txt", header="", row="{name}/images/{row}.png"))
    assert counts(found_in(tmp_path, images("{name}/images/{row}.png") | own)) == SIX


def test_a_table_of_classes_with_their_splits_is_honoured(tmp_path: Path) -> None:
    rows = [f"{name},{SHORT[split]}" for split, names in SIX.items() for name in names]
    found = found_in(
        tmp_path,
        {"split.csv": "\n".join(["class,split", *rows]).encode()} | images("{name}/{row}.png"),
    )
    assert counts(found) == SIX


@pytest.mark.parametrize("word", ["tets", "", "2"])
def test_a_split_that_is_none_is_told_with_its_row(word: str, tmp_path: Path) -> None:
    rows = [f"{name},{SHORT[split]}" for split, names in SIX.items() for name in names]
    rows[-1] = f"{rows[-1].partition(',')[0]},{word}"
    found = found_in(
        tmp_path,
        {"split.csv": "\n".join(["class,split", *rows]).encode()} | images("{name}/{row}.png"),
    )
    (remark,) = [remark for remark in found.remarks if "split.csv" in remark]
    assert f"has the split {word!r}" in remark


def test_lists_of_two_kinds_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    texts = lines()
    both = FOLDERS | encoded(tables(row="data/{name}/{row}.png,{name}"))
    found = found_in(tmp_path / "same", both | encoded(texts))
    assert (counts(found), found.remarks) == (SIX, ())
    texts["train.txt"], texts["test.txt"] = texts["test.txt"], texts["train.txt"]
    with pytest.raises(DataError, match="lists of different splits; keep the one you mean") as told:
        found_in(tmp_path / "apart", both | encoded(texts))
    said = str(told.value)
    assert "train.csv in" in said
    assert "train.txt in" in said
    assert "8 images are in other splits, data/c4/0.png in test and in train" in said


@pytest.mark.parametrize("ending", [".json", ".csv"])
def test_text_and_other_lists_that_contradict_each_other_are_refused(
    ending: str, tmp_path: Path
) -> None:
    swapped = {"train": "test", "validation": "validation", "test": "train"}
    if ending == ".json":
        other = {f"{SHORT[swapped[s]]}.json": json.dumps(easyfsl(s, "data/{name}")) for s in SIX}
    else:
        rows = [f"{name},{SHORT[swapped[s]]}" for s, names in SIX.items() for name in names]
        other = {"split.csv": "\n".join(["class,split", *rows])}
    with pytest.raises(DataError, match="8 images are in other splits"):
        found_in(tmp_path, FOLDERS | encoded(lines()) | encoded(other))


def test_one_image_in_other_splits_of_two_lists_is_enough(tmp_path: Path) -> None:
    own = encoded(tables())
    other = {f"other/{name}": text for name, text in own.items()}
    other["other/train.csv"] = own["train.csv"].replace(b"c0_1.png,c0\n", b"")
    other["other/test.csv"] = own["test.csv"] + b"c0_1.png,c0\n"
    with pytest.raises(DataError, match=r"1 images are in other splits, images/c0_1\.png in te"):
        found_in(tmp_path, FLAT | own | other)


def test_lists_come_before_the_folders_of_a_split_and_that_is_told(tmp_path: Path) -> None:
    own = images("{split}/{name}/{row}.png")
    lists = encoded(lines())
    agreed = found_in(tmp_path / "same", own | lists)
    assert (agreed.layout, counts(agreed), agreed.remarks) == ("lists of classes", SIX, ())
    lists = {"train.txt": b"c0\nc1\nc2\n", "val.txt": b"c3\n", "test.txt": b"c4\nc5\n"}
    found = found_in(tmp_path / "apart", own | lists)
    assert counts(found)["train"] == {"c0": 2, "c1": 2, "c2": 2}
    (remark,) = found.remarks
    assert remark.startswith("2 images lie in folders of another split than train.txt in ")
    assert "val/c2/0.png in validation instead of train: the list was followed" in remark


@pytest.mark.parametrize("ending", [".txt", ".csv"])
@pytest.mark.parametrize("text", ["", "# none yet\n"])
def test_an_empty_list_is_told(text: str, ending: str, tmp_path: Path) -> None:
    own = encoded(lines() if ending == ".txt" else tables(row="data/{name}/{row}.png,{name}"))
    header = "filename,label\n" if ending == ".csv" else ""
    found = found_in(tmp_path, FOLDERS | own | {f"train{ending}": (header + text).encode()})
    assert f"train{ending} in {tmp_path} is empty, so it names nothing of a split" in found.remarks
    assert "train" not in counts(found)


NUMBERS = {"train": "0", "validation": "1", "test": "2"}
FLAGS = {"train": "1,0,0", "validation": "0,1,0", "test": "0,0,1"}


def one_table(header: str, told: dict[str, str]) -> dict[str, bytes]:
    rows = [f"{n}_{row}.png,{n},{told[s]}" for s, ns in SIX.items() for n in ns for row in range(2)]
    return {"labels.csv": "\n".join([f"filename,label,{header}", *rows]).encode()}


@pytest.mark.parametrize("header", ["split", "Set", "partition", "subset", "fold", "Dataset Split"])
def test_words_of_a_column_for_splits_are_honoured(header: str, tmp_path: Path) -> None:
    found = found_in(tmp_path, FLAT | one_table(header, SHORT))
    assert (counts(found), found.remarks) == (SIX, ())


def test_numbers_of_three_splits_are_honoured_and_told(tmp_path: Path) -> None:
    found = found_in(tmp_path, FLAT | one_table("partition", NUMBERS))
    assert counts(found) == SIX
    (remark,) = found.remarks
    assert "were read as train, validation and test" in remark


@pytest.mark.parametrize("yes", ["1", "True", "yes", "Y"])
def test_columns_of_yes_and_no_are_honoured(yes: str, tmp_path: Path) -> None:
    no = {"1": "0", "True": "False", "yes": "no", "Y": "n"}[yes]
    told = {s: flags.replace("1", yes).replace("0", no) for s, flags in FLAGS.items()}
    found = found_in(tmp_path / "three", FLAT | one_table("is_train,is_val,is_test", told))
    assert (counts(found), found.remarks) == (SIX, ())
    alone = {"train": yes, "validation": no, "test": no}
    found = found_in(tmp_path / "one", FLAT | one_table("is_train", alone))
    assert counts(found) == {
        "train": SIX["train"],
        "test": {**SIX["validation"], **SIX["test"]},
    }
    (remark,) = found.remarks
    assert "tells is_train alone: all else was read as test" in remark


@pytest.mark.parametrize(
    ("header", "told", "said"),
    [
        ("split", {"train": "0", "validation": "1", "test": "1"}, "has the split '0'"),
        ("fold", NUMBERS, "has the split '0'"),
        ("fold", {"train": "3", "validation": "4", "test": "5"}, "has the split '3'"),
        ("is_train,is_test", {"train": "1,1", "validation": "0,1", "test": "0,1"}, "no split"),
        ("is_train,is_test", {"train": "1,0", "validation": "0,0", "test": "0,1"}, "no split"),
        ("is_test", {"train": "maybe", "validation": "0", "test": "1"}, "no split"),
    ],
)
def test_columns_that_may_mean_several_splits_are_told(
    header: str, told: dict[str, str], said: str, tmp_path: Path
) -> None:
    own = images("{name}/{name}_{row}.png")
    found = found_in(tmp_path, own | one_table(header, told))
    assert found.layout == "class folders"
    assert united(found) == UNSPLIT
    (remark,) = [remark for remark in found.remarks if "labels.csv" in remark]
    assert said in remark


def in_folders(row: str, header: str, ending: str) -> dict[str, bytes]:
    """Return lists of images in folders of their classes."""
    return encoded(tables(ending, header=header, row=row))


@pytest.mark.parametrize(
    ("header", "row", "missing"),
    [
        ("filename,label", "{name}/{row}.png,{name}", "c2/7.png,c2"),
        ("filename,label", "C:\\mine\\{name}\\{row}.png,{name}", "C:\\mine\\c2\\7.png,c2"),
        ("filename,label", "{name}/images/{row}.png,{name}", "c2/images/7.png,c2"),
        ("filename,label", "{name}/{row}.png,{name}", "odd/7.png,c2"),
    ],
)
def test_a_listed_image_is_never_one_of_that_name_elsewhere(
    header: str, row: str, missing: str, tmp_path: Path
) -> None:
    lists = in_folders(row, header, ".csv")
    pictures = images("{name}/{row}.png") | {"c6/7.png": image(70)}
    assert counts(found_in(tmp_path / "twin", pictures | lists)) == SIX
    lists["val.csv"] += f"{missing}\n".encode()
    with pytest.raises(DataError, match=r"7\.png', which is not there"):
        found_in(tmp_path / "data", pictures | lists)


@pytest.mark.parametrize("missing", ["c2/7.png", "odd/7.png", "old/c2/7.png"])
def test_a_missing_image_of_a_text_list_is_told_and_no_other_is_read(
    missing: str, tmp_path: Path
) -> None:
    lists = in_folders("{name}/{row}.png", "", ".txt")
    lists["val.txt"] += f"{missing}\n".encode()
    pictures = images("{name}/{row}.png") | {"c3/7.png": image(70)}
    found = found_in(tmp_path, pictures | lists)
    assert counts(found) == SIX
    assert any(f"lists {missing!r}, which is not there" in each for each in found.problems)
    assert found.left_out == {"images that no list names": 1}


def test_a_listed_class_is_never_one_of_that_name_elsewhere(tmp_path: Path) -> None:
    pictures = {f"fish/{name}": data for name, data in images("{name}/{row}.png").items()}
    lists = encoded(lines(line="fish/{name}"))
    assert counts(found_in(tmp_path / "twin", pictures | lists)) == SIX
    lists["test.txt"] = b"fish/c4\nbirds/c5\n"
    found = found_in(tmp_path / "data", pictures | lists)
    assert counts(found) == SIX | {"test": {"c4": 2}}
    assert any("'birds/c5', which is not there" in each for each in found.problems)


@pytest.mark.parametrize("prefix", ["elsewhere/", "file:///home/me/", "../data/", "C:\\my\\"])
@pytest.mark.parametrize("kind", ["{name}/{row}.png", "pictures/{name}_{row}.png"])
def test_folders_of_another_computer_are_no_contradiction(
    prefix: str, kind: str, tmp_path: Path
) -> None:
    lists = in_folders(f"{prefix}{kind},{{name}}", "filename,label", ".csv")
    there = kind.replace("pictures/", "")
    assert counts(found_in(tmp_path / "data", images(there) | lists)) == SIX


def test_a_name_of_equal_images_in_several_classes_is_refused(tmp_path: Path) -> None:
    lists = in_folders("{name}/{row}.png", "", ".txt")
    pictures = images("{name}/{row}.png") | {"c4/x.png": image(70), "c6/x.png": image(70)}
    twin = lists | {"test.txt": lists["test.txt"] + b"c4/x.png\n"}
    assert counts(found_in(tmp_path / "twin", pictures | twin))["test"] == {"c4": 3, "c5": 2}
    lists["test.txt"] += b"x.png\n"
    with pytest.raises(DataError, match=r"'x\.png', and 2 images have that name"):
        found_in(tmp_path / "data", pictures | lists)


WORDS = {"train": "train", "validation": "val", "test": "test"}


@pytest.mark.parametrize(
    ("header", "told", "said"),
    [
        ("split,is_train", {s: f"{w},{int(s != 'train')}" for s, w in WORDS.items()}, "is_train"),
        ("split,is_test", {s: f"{w},0" for s, w in WORDS.items()}, "split and is_test"),
        ("set,split", {s: f"{w},{w}" for s, w in WORDS.items()}, ""),
        (
            "set,split",
            {"train": "test,train", "validation": "val,val", "test": "train,test"},
            "set",
        ),
        ("split,is_train", {s: f"{w},{int(s == 'train')}" for s, w in WORDS.items()}, ""),
        ("split,fold", {s: f"{w},7" for s, w in WORDS.items()}, ""),
        ("source,use", {s: f"{w},{w}" for s, w in WORDS.items()}, ""),
        (
            "source,use",
            {"train": "train,val", "validation": "val,test", "test": "test,train"},
            "use",
        ),
    ],
)
def test_columns_for_splits_that_contradict_each_other_are_refused(
    header: str, told: dict[str, str], said: str, tmp_path: Path
) -> None:
    own = images("{name}/{name}_{row}.png") | one_table(header, told)
    if not said:
        assert counts(found_in(tmp_path, own)) == SIX
        return
    with pytest.raises(DataError, match=f"{said}.* contradict each other in .* rows; keep the one"):
        found_in(tmp_path, own)


@pytest.mark.parametrize(
    ("second", "is_read"), [("x{name}", True), ("all", True), ("", True), ("{row}", False)]
)
def test_columns_for_classes_that_contradict_each_other_are_refused(
    second: str, tmp_path: Path, *, is_read: bool
) -> None:
    rows = "{name}_{row}.png,{name}," + second
    own = FLAT | encoded(tables(header="filename,label,species", row=rows))
    if is_read:
        assert counts(found_in(tmp_path, own)) == SIX
    else:
        with pytest.raises(DataError, match="label and species for classes, and they contradict"):
            found_in(tmp_path, own)


@pytest.mark.parametrize("part", [{"c2": 1}, [1, 2], "c2", 3, [["c2"]], None])
def test_parts_of_a_json_that_are_no_lists_are_refused(part: object, tmp_path: Path) -> None:
    parts = {SHORT[split]: list(SIX[split]) for split in SIX} | {"val": part}
    own = images("imgs/{name}/{row}.png") | {"splits.json": json.dumps(parts).encode()}
    with pytest.raises(DataError, match=r"the part 'val' of splits\.json .* is no list"):
        found_in(tmp_path, own)


def test_an_empty_part_of_a_json_is_told(tmp_path: Path) -> None:
    parts = {SHORT[split]: list(SIX[split]) for split in SIX} | {"val": []}
    own = images("imgs/{name}/{row}.png") | {"splits.json": json.dumps(parts).encode()}
    found = found_in(tmp_path, own)
    assert counts(found) == {split: SIX[split] for split in ("train", "test")}
    assert any("the part 'val' of splits.json" in remark for remark in found.remarks)


def test_a_json_with_a_part_twice_is_refused(tmp_path: Path) -> None:
    twice = b'{"train": ["c0"], "train": ["c1"], "val": ["c2", "c3"], "test": ["c4", "c5"]}'
    pictures = images("imgs/{name}/{row}.png")
    once = twice.replace(b'["c0"], "train": ["c1"]', b'["c0", "c1"]')
    assert counts(found_in(tmp_path / "twin", pictures | {"splits.json": once})) == SIX
    with pytest.raises(DataError, match=r"splits\.json .* has several parts 'train'"):
        found_in(tmp_path / "data", pictures | {"splits.json": twice})


WITHOUT_HEADER = {
    "all.csv": "{name}/{row}.png,{name},{split}",
    "all.tsv": "{name}/{row}.png\t{name}\t{split}",
    "mine.txt": "{name}/{row}.png {name} {split}",
    "pairs.csv": "{name}/{row}.png,{split}",
    "pairs.txt": "{name}/{row}.png {split}",
    "turned.csv": "{name}/{row}.png,{split},{name}",
    "classes.csv": "{name},{split}",
    "classes.txt": "{name} {split}",
}


@pytest.mark.parametrize("name", list(WITHOUT_HEADER))
def test_lists_without_a_header_may_tell_the_split(name: str, tmp_path: Path) -> None:
    rows = "".join(
        WITHOUT_HEADER[name].format(name=each, row=row, split=SHORT[split]) + "\n"
        for split, names in SIX.items()
        for each in names
        for row in range(2)
    )
    own = images("{name}/{row}.png") | {name: rows.encode()}
    assert counts(found_in(tmp_path / "data", own)) == SIX
    other = own | {name: rows.replace("val", "vel").encode()}
    assert found_in(tmp_path / "twin", other).layout == "class folders"


@pytest.mark.parametrize("header", ["Usage", "purpose"])
def test_a_column_of_words_for_splits_is_one_whatever_it_is_called(
    header: str, tmp_path: Path
) -> None:
    found = found_in(tmp_path, FLAT | one_table(header, SHORT))
    assert counts(found) == SIX
    assert len(found.remarks) == (header == "purpose")


def test_images_that_one_file_numbers_and_another_divides_are_read(tmp_path: Path) -> None:
    pictures = images("images/{name}/{row}.png")
    paths = [name.removeprefix("images/") for name in pictures]
    named = "".join(f"{place} {path}\n" for place, path in enumerate(paths, 1))
    told = "".join(f"{place} {int(place <= 8)}\n" for place in range(1, 13))
    own = pictures | {"images.txt": named.encode(), "train_test_split.txt": told.encode()}
    found = found_in(tmp_path / "data", own)
    assert counts(found) == {"train": SIX["train"] | SIX["validation"], "test": SIX["test"]}
    assert found.remarks == ()
    own["train_test_split.txt"] = told[:20].encode()
    found = found_in(tmp_path / "short", own)
    assert united(found) == UNSPLIT
    assert any("train_test_split.txt" in remark for remark in found.remarks)


@pytest.mark.parametrize(
    "name", ["splits.yaml", "split.xlsx", "trainval.txt", "my_folds.json", "train_test_split.mat"]
)
def test_lists_that_are_not_followed_are_named(name: str, tmp_path: Path) -> None:
    own = FOLDERS | {name: b"c0\nc1\n"}
    found = found_in(tmp_path / "data", own)
    assert united(found) == UNSPLIT
    (told,) = [remark for remark in found.remarks if name in remark]
    assert "was not followed, as" in told
    harmless = {"latest.txt": b"c0\n", "constraints.yaml": b"x: 1", "test_log.csv": b"a,b\n"}
    assert len(found_in(tmp_path / "twin", FOLDERS | harmless).remarks) == 1


@pytest.mark.parametrize("header", ["is_valid", "is_val", "in_val"])
def test_validation_told_alone_leaves_the_rest_for_training(header: str, tmp_path: Path) -> None:
    told = {"train": "False", "validation": "True", "test": "False"}
    found = found_in(tmp_path, FLAT | one_table(header, told))
    assert counts(found) == {
        "train": SIX["train"] | SIX["test"],
        "validation": SIX["validation"],
    }
    assert any("all else was read as train" in remark for remark in found.remarks)


@pytest.mark.parametrize("place", ["all/{name}/{row}.png", "all/{name}/images/{name}_{row}.png"])
def test_a_list_may_leave_out_the_folders_of_the_classes(place: str, tmp_path: Path) -> None:
    own = images(place.replace("{row}", "{name}_{row}").replace("{name}_{name}", "{name}"))
    lists = in_folders("all/{name}_{row}.png,{name}", "filename,label", ".csv")
    assert counts(found_in(tmp_path / "data", own | lists)) == SIX
    lists["test.csv"] += b"all/c0_1.png,c4\n"
    with pytest.raises(DataError, match=r"'all/c0_1\.png', which is not there"):
        found_in(tmp_path / "wrong", own | lists)


@pytest.mark.parametrize(
    ("column", "cell", "wrong"),
    [
        ("split", "{split}", "val"),
        ("is_train", "1", "0"),
        ("fold", "3", "test"),
        ("set", "", "dev"),
    ],
)
def test_a_column_that_contradicts_the_name_of_its_file_is_refused(
    column: str, cell: str, wrong: str, tmp_path: Path
) -> None:
    how = {"header": f"filename,label,{column}", "row": "{name}_{row}.png,{name}," + cell}
    lists = encoded(tables() | {"train.csv": table("train", **how)})
    assert counts(found_in(tmp_path / "twin", FLAT | lists)) == SIX
    rows = lists["train.csv"].decode().splitlines()
    rows[2] = f"c0_1.png,c0,{wrong}"
    lists["train.csv"] = "\n".join(rows).encode()
    with pytest.raises(DataError, match=f"the column {column} of train.csv .* another split"):
        found_in(tmp_path / "data", FLAT | lists)
