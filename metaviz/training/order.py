"""In which order the weights of a stored state lie."""

from collections.abc import Mapping

from metaviz.training.setting import Setting

ORDER = "input channels of kernels last"
OTHER_ORDER = (
    "Its kernels lie in the order of an earlier version of MetaViz, which this one cannot read: "
    "train it again."
)


def lies_as_now(state: Mapping[str, object], setting: Setting) -> bool:
    """Return whether flat weights of a stored state are in the order of this version's layout.

    Earlier versions stored no order; where there are no kernels it was the same.
    """
    return state.get("order") == ORDER or not setting.learner.net.layout.has_kernels
