"""In which order the weights of a stored state lie."""

from collections.abc import Mapping

from metaviz.nets.layout import Layout

ORDER = "matrices by column, input channels of kernels last"
OTHER_ORDER = (
    "Its weights lie in an order of earlier versions of MetaViz, which this one cannot tell: train "
    "it again."
)


def lies_as_now(state: Mapping[str, object], layout: Layout) -> bool:
    """Return whether flat weights of a stored state are in the order of this version.

    Earlier versions had several orders and stored none; vectors have but one.
    """
    return state.get("order") == ORDER or layout.only_vectors
