"""What a method is, as data: what it does, what it needs and what it gives."""

from dataclasses import dataclass, fields
from typing import Any, Literal

Need = Literal["classes", "layers", "residuals", "examples", "features", "base", "objective"]
"""What a method may ask of a problem: classes to tell apart, a network made of layers, residuals of
a network's outputs, examples of all training classes together, features that a linear layer sees,
the weights with which a backbone told its base classes apart, an inner objective that is one
function of the weights, and not an estimate from what they did."""


@dataclass(frozen=True)
class Traits:
    """What is true of a method under its options and its problem's.

    They are stored with every run, so that a run is shown rightly where its method is absent.
    """

    inner_loop: Literal["gradient", "latent", "none"] = "gradient"
    """What adaptation iterates on; `none` where one pass over the support set is all."""
    shares_rate: bool = True
    """Whether all weights step by the inner step size times something, not by learned sizes."""
    transductive: bool = False
    """Whether predictions of query examples depend on the other query examples of the task."""
    sequential: bool = False
    """Whether tasks of one batch depend on each other, so that they cannot be split up."""
    rowwise: bool = False
    """Whether meta-gradients take meta-parameters of each task's own, shape (tasks, P)."""
    inductive: bool = False
    """Whether it predicts by statistics that training has left, where the network normalises by a
    batch, so that no prediction depends on the other examples."""
    probabilistic: bool = False
    """Whether it says how sure it is of its predictions, by samples or by a variance."""
    network: str = "init"
    """The group of meta-parameters that is the network's weights, empty where there is none."""
    quantities: tuple[str, ...] = ()
    """Ids of quantities of its own that it measures."""
    charts: tuple[str, ...] = ()
    """Ids of charts that it draws of what it has learned."""

    @property
    def has_inner_loop(self) -> bool:
        """Whether adaptation takes steps."""
        return self.inner_loop != "none"


def traits_of(stored: dict[str, Any]) -> Traits:
    """Read stored traits; those of earlier versions, and what is not of their kind, are usual."""
    known: dict[str, Any] = {}
    for field in fields(Traits):
        value = stored.get(field.name, field.default)
        if isinstance(field.default, tuple) and isinstance(value, list):
            value = tuple(map(str, value))
        known[field.name] = value if isinstance(value, type(field.default)) else field.default
    return Traits(**known)


USUAL = Traits()
"""Those of a method with gradient steps, as all methods of 0.1 were."""
