"""Which engine computes a run's meta-steps."""

from metaviz.training.compiled import CompiledSteps
from metaviz.training.setting import Setting
from metaviz.training.stepping import Eager, Stepper


def stepper(setting: Setting) -> Stepper:
    """Return the engine that a setting's configuration asks for."""
    return CompiledSteps(setting) if setting.config.engine == "compiled" else Eager(setting)
