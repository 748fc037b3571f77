"""What the theory says where it has no answer."""

import numpy as np

TOO_LARGE = "The answer is not finite: the rate or the numbers are too large"


class NoAnswerError(ValueError):
    """A quantity does not exist, or is not finite, for these numbers; one sentence."""


def finite(values: np.ndarray) -> np.ndarray:
    """Return an array for linear algebra, which takes no other. Raises: NoAnswerError."""
    if not np.isfinite(values).all():
        raise NoAnswerError(TOO_LARGE)
    return values
