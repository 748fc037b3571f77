"""What networks of images share: a linear head on features, which are read by themselves, too."""

from torch import Tensor

from metaviz.nets.blocks import linear
from metaviz.nets.layout import Layout, Params, Weights
from metaviz.nets.normalisation import Seen


class FeatureNet:
    """A linear layer named `head` on the features of images.

    Weights with a tasks axis of size 1 serve all tasks. Biases of convolutions that BatchNorm
    follows are not read: the mean that it subtracts contains them, so their gradient is exactly
    zero.
    """

    layout: Layout

    def __call__(self, weights: Weights, x: Tensor, beside: Tensor | None = None) -> Tensor:
        """Map x (tasks, n, C, H, W) to logits (tasks, n, ways)."""
        params = self.layout.for_tasks(weights, x.shape[0])
        return linear(params, "head", self._features(params, x, beside, None))

    def features(self, weights: Weights, x: Tensor, beside: Tensor | None = None) -> Tensor:
        """Map x (tasks, n, C, H, W) to what the head sees (tasks, n, features)."""
        return self._features(self.layout.for_tasks(weights, x.shape[0]), x, beside, None)

    def features_and_statistics(self, weights: Weights, x: Tensor) -> tuple[Tensor, Params]:
        """Return the features, and the statistics of each normalised layer."""
        seen: Params = {}
        params = self.layout.for_tasks(weights, x.shape[0])
        return self._features(params, x, None, seen), seen

    def _features(self, params: Params, x: Tensor, beside: Tensor | None, seen: Seen) -> Tensor:
        """Map x to features; the statistics of layers are noted in `seen` where it is given."""
        raise NotImplementedError
