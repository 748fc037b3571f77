"""What the theory says where it has no answer."""


class NoAnswerError(ValueError):
    """A quantity does not exist, or is not finite, for these numbers; one sentence."""
