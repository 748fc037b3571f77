"""Which engine computes a run's meta-steps."""

from metaviz.training.captured import capturing
from metaviz.training.compiled import compiling
from metaviz.training.fixed import FixedSteps
from metaviz.training.setting import Setting
from metaviz.training.stepping import Eager


def stepper(setting: Setting) -> Eager:
    """Return the engine that a setting asks for."""
    if setting.engine == "compiled":
        return FixedSteps(setting, "compiled", compiling)
    if setting.engine == "captured":
        return FixedSteps(setting, "captured", capturing)
    return Eager(setting)
