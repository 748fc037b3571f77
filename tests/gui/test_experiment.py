"""The form: what a person types is what the comparison holds."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PySide6.QtCore import Qt
from PySide6.QtGui import QFocusEvent
from PySide6.QtWidgets import QApplication, QLabel, QToolButton

from metaviz.config.options import OptionError, OptionSpec
from metaviz.config.run_config import Comparison
from metaviz.gui.experiment.experiment_dock import ExperimentDock
from metaviz.gui.widgets.editors import read_number, stepped, write_value

RATE = OptionSpec(
    name="rate", title="Rate", description="", kind="float", default=0.01,
    minimum=0, exclusive_minimum=True, maximum=1000, log=True,
)  # fmt: skip


@pytest.fixture
def form(qtbot, catalogue):
    panel = ExperimentDock(catalogue)
    qtbot.addWidget(panel)
    panel.show()
    return panel


def test_first_start_ticks_maml_on_sinusoids(form):
    assert form.comparison() == Comparison(steps=2000)
    assert form.help_strip.count.text() == "1 run: 1 algorithm × 1 seed"


def test_comparison_holds_only_differences(form):
    form.field("inner_lr").editor.setText("0.05")
    form.field("shots").editor.setText("10")
    form.algorithms.tick(("maml", "imaml"))
    form.field("imaml.cg_steps").set_value(3)
    asked = form.comparison()
    assert asked.shared == {"inner_lr": 0.05}
    assert asked.options == {"imaml": {"cg_steps": 3}}


def test_unticked_algorithms_options_are_left_out(form):
    form.algorithms.tick(("maml", "imaml"))
    form.field("imaml.cg_steps").set_value(3)
    form.algorithms.tick(("maml",))
    assert form.comparison().options == {}


def test_problem_brings_its_own_defaults(form):
    form.problem_box.setCurrentIndex(form.problem_box.findData("quadratic"))
    entry = form.problem
    assert form.field("inner_lr").value == entry.shared["inner_lr"]
    assert form.field("steps").value == entry.steps
    assert form.field("shots").editor.isHidden()
    asked = form.comparison()
    assert (asked.problem, asked.shared) == ("quadratic", {})


def test_changed_values_outlive_a_change_of_problem(form):
    form.field("inner_steps").set_value(9)
    form.problem_box.setCurrentIndex(form.problem_box.findData("quadratic"))
    assert form.comparison().shared == {"inner_steps": 9}


def test_reset_arrow_goes_back_to_the_default(qtbot, form):
    field = form.field("inner_lr")
    button = form.findChild(QToolButton, "reset_inner_lr")
    assert not button.isVisible()
    field.editor.setText("0.5")
    assert button.isVisible()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    assert field.value == 0.01
    assert form.comparison().shared == {}


@pytest.mark.parametrize(
    ("key", "text", "sentence"),
    [
        ("inner_lr", "0", "Inner step size α: “0” is not valid; use a number above 0"),
        ("inner_steps", "2.5", "Inner steps K: “2.5” is not valid; use a whole number"),
        ("inner_steps", "", "Inner steps K is empty"),
        ("seeds", "a", "write 0,1,2 or 0-4"),
        ("steps", "nan", "Meta-steps: “nan” is not valid"),
    ],
)
def test_wrong_values_say_what_would_be_right(form, key, text, sentence):
    form.field(key).editor.setText(text)
    assert sentence in form.reason
    assert form.help_strip.reason.isVisible()
    with pytest.raises(OptionError):
        form.comparison()


def test_no_algorithm_is_a_reason(form):
    form.algorithms.tick(())
    assert form.reason == "No algorithm is ticked: tick at least one."


def test_preset_fills_the_fold_and_names_itself(form):
    form.algorithms.tick(("imaml",))
    section = form.section("imaml")
    section.presets.setCurrentIndex(section.presets.findData("paper"))
    section.presets.activated.emit(section.presets.currentIndex())
    assert form.comparison().options["imaml"]["operator"] == "hessian"
    form.field("imaml.prox").set_value(7.0)
    assert section.presets.currentText() == "changed by hand"


def test_empty_fields_say_which_shared_value_they_take(form):
    form.field("inner_steps").set_value(8)
    assert form.field("maml.inner_steps").editor.placeholderText() == "shared: 8"


def test_help_strip_explains_the_field_with_the_focus(form):
    editor = form.field("inner_lr").editor
    QApplication.sendEvent(editor, QFocusEvent(QFocusEvent.Type.FocusIn))
    text = form.help_strip.help.text()
    assert "Step size of adaptation" in text
    assert "above 0" in text


@pytest.mark.parametrize(
    ("start", "up", "down"), [(0.01, 0.02, 0.005), (0.02, 0.05, 0.01), (0.03, 0.05, 0.02)]
)
def test_arrow_keys_step_a_logarithmic_field(start, up, down):
    assert stepped(RATE, start, 1) == pytest.approx(up)
    assert stepped(RATE, start, -1) == pytest.approx(down)


def test_arrow_key_in_the_form_changes_the_value(qtbot, form):
    qtbot.keyClick(form.field("inner_lr").editor, Qt.Key.Key_Up)
    assert form.comparison().shared == {"inner_lr": 0.02}


@given(st.floats(min_value=1e-12, max_value=1000, exclude_min=True))
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_written_numbers_read_back_the_same(value):
    assert read_number(RATE, write_value(value)) == value


def test_settings_of_inner_loops_show_while_a_ticked_method_has_one(form):
    form.problem_box.setCurrentIndex(form.problem_box.findData("strokes"))
    rate, seeds = form.field("inner_lr").editor, form.field("seeds").editor
    form.algorithms.tick(("protonet",))
    assert rate.isHidden()
    assert not seeds.isHidden()
    assert form.comparison().algorithms == ("protonet",)
    state = form.state()
    form.algorithms.tick(("protonet", "maml"))
    assert not rate.isHidden()
    form.show_state(state)
    assert rate.isHidden()


def test_a_choice_may_be_left_empty(form):
    field = form.field("maml.adapts")
    assert field.value is None
    assert field.editor.currentText() == "all weights"
    field.set_value("head")
    assert form.comparison().options == {"maml": {"adapts": "head"}}
    field.editor.setCurrentIndex(0)
    assert field.value is None
    assert form.comparison().options == {}


def test_a_shared_field_says_which_methods_have_a_value_of_their_own(form):
    form.show_comparison(Comparison(algorithms=("maml", "reptile")))
    note = form.shared.fields["inner_lr"].note
    assert note.startswith("Not used by Reptile: ")
    form.section("reptile").form.fields["inner_lr"].set_value(0.5)
    assert form.shared.fields["inner_lr"].note == "Not used by Reptile: 0.5"
    title = form.findChild(QLabel, "title_inner_lr")
    assert title.text().endswith("\nNot used by Reptile: 0.5")
    form.algorithms.tick(("maml",))
    assert form.shared.fields["inner_lr"].note == ""


def test_the_empty_interval_says_when_runs_are_evaluated(form):
    field = form.shared.fields["eval_every"]
    assert field.editor.placeholderText().startswith("41 evaluations on 41 tasks, after steps 0, 8")
    form.shared.fields["steps"].set_value(20000)
    assert field.editor.placeholderText().endswith("… 20000")
    assert form.comparison().shared == {}
    field.set_value(50)
    assert form.comparison().shared == {"eval_every": 50}
