"""The search language: what it finds, what it refuses, and that no text breaks it."""

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metaviz.runs.model.marks import Marks
from metaviz.runs.table.search import HELP, KEYS, QueryError, completions, parse
from tests.unit.entries import entry

RUNS = {
    "a": entry("a", seed=0, loss=0.2, marks=Marks(tags=("paper", "draft"), star=True)),
    "b": entry("b", seed=3, loss=0.8, shared={"inner_lr": 0.01}, state="failed"),
    "c": entry("c", "imaml", 7, loss=float("nan"), options={"prox": 2.0, "inner_lr": 0.5}),
    "d": entry(
        "d", "fomaml", 1, accuracy=0.95, marks=Marks(name="Last try", notes="on the cluster")
    ),
    "e": entry("e", "reptile", 2, options={"schedule": "linear"}, marks=Marks(trashed=True)),
}
KNOWN = {key for run in RUNS.values() for key in run.values}


def found(text: str) -> str:
    query = parse(text, KNOWN)
    return "".join(name for name, run in RUNS.items() if query.matches(run))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", "abcde"),
        ("algo:maml", "ab"),
        ("algo:*maml", "abcd"),
        ("maml", "abcd"),
        ("ALGO:MAML", "ab"),
        ("alpha<0.1", "b"),
        ("alpha < 0.1", "b"),
        ("α>=0.5", "c"),
        ("inner_lr=0.1", "ade"),
        ("inner_lr!=0.1", "bc"),
        ("imaml.inner_lr>0", "c"),
        ("K=5", "abcde"),
        ("k>5", ""),
        ("imaml.prox=2", "c"),
        ("prox<3", "c"),
        ("-prox<3", "abde"),
        ("clip_norm<5", ""),
        ("clip_norm!=5", ""),
        ("reptile.schedule:linear", "e"),
        ("schedule!=constant", "e"),
        ("loss<0.5", "a"),
        ("loss>=0.5", "bde"),
        ("accuracy>0.9", "d"),
        ("loss!=0.2", "bde"),
        ("steps>=10 seconds<2", "abcde"),
        ("seed:0-2", "ade"),
        ("seed:3,7", "bc"),
        ("seed>2", "bc"),
        ("tag:paper", "a"),
        ("tag:pap", ""),
        ("tag:pap*", "a"),
        ("name:last", "d"),
        ('name:"last try"', "d"),
        ('"last try"', "d"),
        ("note:cluster", "d"),
        ("star:yes", "a"),
        ("star:no", "bcde"),
        ("is:starred or is:trashed", "ae"),
        ("state:failed", "b"),
        ("-state:failed algo:maml", "a"),
        ("not state:failed and algo:maml", "a"),
        ("not not state:failed", "b"),
        ("algo:maml seed:3 or algo:reptile", "be"),
        ("algo:*maml (seed:3 or seed:7)", "bc"),
        ("-(algo:maml or algo:imaml)", "de"),
        ("problem:sinusoid", "abcde"),
        ("problem!=sinusoid", ""),
    ],
)
def test_search_finds(text: str, names: str) -> None:
    assert found(text) == names


@pytest.mark.parametrize(
    ("text", "word", "advice"),
    [
        ("alhpa<0.1", "alhpa", "alpha"),
        ("alpha<abc", "abc", "number"),
        ("loss:low", "low", "number"),
        ("loss<nan", "nan", "number"),
        ("algo:", "algo:", "value"),
        ("state:finished", "state:finished", "done"),
        ("is:red", "is:red", "starred"),
        ("star:maybe", "star:maybe", "star:yes"),
        ("seed:x", "seed:x", "0-4"),
        ("algo<maml", "algo<maml", "algo:maml"),
        ('name:"open', '"open', "quote"),
        ('"open', '"open', "quote"),
        ("(a", "(", ")"),
        ("a)", ")", "("),
        ("a or", "or", "beside"),
        ("and a", "and", "both"),
        ("not", "not", "after"),
        ("(" * 60 + "a" + ")" * 60, "(", "40"),
        ("a" * 3000, "3000", "2000"),
    ],
)
def test_a_wrong_search_is_refused_in_one_sentence(text: str, word: str, advice: str) -> None:
    with pytest.raises(QueryError) as refusal:
        parse(text, KNOWN)
    sentence = str(refusal.value)
    assert word in sentence
    assert advice in sentence
    assert "\n" not in sentence


def test_a_search_knows_when_it_is_about_the_trash() -> None:
    assert parse("algo:maml is:trashed").about_trash
    assert not parse("trashed").about_trash


def test_words_are_completed() -> None:
    runs = list(RUNS.values())
    assert completions("loss<1 alg", runs) == ["algo:", "algorithm:"]
    assert completions("-algo:i", runs) == ["algo:imaml"]
    assert completions("tag:", runs) == ["tag:draft", "tag:paper"]
    assert completions("imaml.", runs) == ["imaml.prox="]
    assert completions("", runs) == []


def test_help_has_ten_lines() -> None:
    assert len(HELP) == 10


PIECES = st.sampled_from(
    (
        *(*KEYS, "alpha", "K", "or", "and", "not", "-", "(", ")", '"', ":", "<", ">=", "=", "*"),
        *(" ", "0.1", "maml", "yes", "0-4", "imaml.prox", "!=", "α", "é", "\t", "[", "1e999"),
    )
)


@settings(deadline=None, max_examples=400)
@given(st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=14).map("".join)))
def test_any_text_is_a_search_or_one_sentence(text: str) -> None:
    try:
        query = parse(text, KNOWN)
    except QueryError as refusal:
        assert str(refusal)
        return
    for run in RUNS.values():
        assert query.matches(run) in {True, False}
    completions(text, list(RUNS.values()))


@settings(deadline=None)
@given(st.lists(st.text("ab*", max_size=6), min_size=1, max_size=4), st.text("ab", max_size=12))
def test_stars_stand_for_any_letters(parts: list[str], text: str) -> None:
    pattern = "*".join(parts)
    wanted = re.fullmatch(re.sub(r"\\\*+", ".*", re.escape(pattern)), text) is not None
    run = entry("x", marks=Marks(name="n", tags=(text,) if text else ()))
    if pattern and text:
        assert parse(f'tag:"{pattern}"').matches(run) == wanted


@pytest.mark.parametrize("letters", [40, 20_000])
def test_many_stars_take_no_longer_than_the_text(letters: int) -> None:
    run = entry("x", marks=Marks(name="a" * letters, tags=("a" * letters,)))
    began = time.process_time()
    for stars in (9, 100, 300):
        pattern = "*a" * stars
        assert not parse(f"tag:{pattern}*b").matches(run)
        assert parse(f"tag:{pattern}").matches(run) == (stars <= letters)
        assert not parse(f"tag:{'*aa' * stars}*ab*").matches(run)
    assert time.process_time() - began < 2
