"""Saved views as files: any name, back as they were, and one sentence for what is broken."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metaviz.runs.storage.saved_views import (
    delete_view,
    place_of,
    read_view,
    read_views,
    rename_view,
    saved_view,
    write_view,
)
from metaviz.runs.storage.store import StoreError

CHOICE = {"measure": "eval_query_loss", "keys": ["algorithm"], "smoothing": 0.5, "log_y": True}


def view(name, **changes):
    return saved_view(name, changes.get("compare", CHOICE), {"search": "algo:maml"}, ["a", "b"])


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=80))
def test_any_name_is_kept(tmp_path_factory, name):
    folder = tmp_path_factory.mktemp("views")
    try:
        made = view(name)
    except StoreError:
        assert not name.split()
        return
    path = write_view(folder, made)
    assert path.parent == folder
    assert read_views(folder) == ({made.name: made}, [])


def test_names_that_look_alike_in_paths_are_two_views(tmp_path):
    for name in ("a/b", "a b", "a:b", "../a"):
        write_view(tmp_path, view(name))
    assert sorted(read_views(tmp_path)[0]) == sorted(["a/b", "a b", "a:b", "../a"])


def test_same_name_is_the_same_file(tmp_path):
    write_view(tmp_path, view("mine"))
    write_view(tmp_path, view("mine", compare={"measure": "post_query_loss"}))
    (kept,) = read_views(tmp_path)[0].values()
    assert kept.compare == {"measure": "post_query_loss"}


@pytest.mark.parametrize(
    "text", ["metaviz_view = 9\nname = 'x'", "metaviz_view = 1", "not toml", "name = 'x'", "\x00"]
)
def test_broken_file_is_one_sentence_and_hides_no_other(tmp_path, text):
    write_view(tmp_path, view("good"))
    (tmp_path / "broken.toml").write_text(text, encoding="utf-8")
    views, sentences = read_views(tmp_path)
    assert list(views) == ["good"]
    (sentence,) = sentences
    assert "broken.toml" in sentence
    assert "\n" not in sentence
    assert sentence.endswith(".")


def test_renamed_view_leaves_its_old_name(tmp_path):
    write_view(tmp_path, view("old"))
    write_view(tmp_path, view("taken"))
    with pytest.raises(StoreError, match="already"):
        rename_view(tmp_path, "old", "taken")
    rename_view(tmp_path, "old", "new")
    assert sorted(read_views(tmp_path)[0]) == ["new", "taken"]
    delete_view(tmp_path, "new")
    delete_view(tmp_path, "new")
    assert list(read_views(tmp_path)[0]) == ["taken"]
    assert read_view(place_of(tmp_path, "taken")).shown == ["a", "b"]
