"""Words that a person could not make sense of, and that have better ones now, do not come back."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "metaviz"
REPLACED = (
    *("query loss taken off", "loss taken off", "Minus the baseline", "Minus the first"),
    *("Minus published", "What differs", "colours are differences", "from as trained"),
    *("the confidence interval of the mean", "Sinusoid fan", "Sinusoid &fan", "Steps asked"),
    *("Read batches every", "Mend this", "&Mend", "Tell when runs end", "Log from level"),
    *("Workers of the queue", "Level to reach", "absent is a value", "choose other ones above"),
    *("Settings that all share", "go on after a restart", "One &outer step", "&One outer step"),
    *("Not told apart",),
)


def shown_texts() -> list[tuple[str, str]]:
    """Return every text of the program that is no docstring, with its file."""
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docs = {
            id(node.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        }
        for node in ast.walk(tree):
            is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
            if is_text and id(node) not in docs:
                found.append((path.name, node.value))
    return found


@pytest.fixture(scope="module")
def texts() -> list[tuple[str, str]]:
    return shown_texts()


@pytest.mark.parametrize("words", REPLACED)
def test_replaced_words_are_shown_nowhere(texts, words) -> None:
    assert [name for name, text in texts if words in text] == []


def test_the_step_of_the_outer_loop_has_one_name(texts) -> None:
    """An outer step *size* is the size of a meta-step; the step itself is a meta-step."""
    others = [
        (name, text)
        for name, text in texts
        if "outer step" in text.casefold().replace("outer step size", "")
    ]
    assert others == []
