"""How much memory a computation holds for its derivatives."""

from collections.abc import Callable

from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks


class _Ledger:
    """Counts the bytes of different storages; the most at any time."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self._holders: dict[tuple[int, int], int] = {}

    def take(self, key: tuple[int, int]) -> None:
        """Note that a storage, known by address and size, is held once more."""
        holders = self._holders.get(key, 0)
        self._holders[key] = holders + 1
        if not holders:
            self.now += key[1]
            self.most = max(self.most, self.now)

    def leave(self, key: tuple[int, int]) -> None:
        """Note that it is held once less."""
        self._holders[key] -= 1
        if not self._holders[key]:
            del self._holders[key]
            self.now -= key[1]


class _Held:
    """A tensor that a graph keeps; it leaves the ledger when the graph releases it."""

    def __init__(self, tensor: Tensor, ledger: _Ledger) -> None:
        storage = tensor.untyped_storage()
        self.tensor = tensor.detach()  # its graph must not keep itself alive
        self._key = (storage.data_ptr(), storage.nbytes())
        self._ledger = ledger
        ledger.take(self._key)

    def __del__(self) -> None:
        self._ledger.leave(self._key)


def kept_bytes(compute: Callable[[], object]) -> int:
    """Run a computation; return the most bytes that its graphs kept for derivatives at a time.

    What operations use for themselves on top of it is not counted.
    """
    ledger = _Ledger()
    with saved_tensors_hooks(lambda tensor: _Held(tensor, ledger), lambda held: held.tensor):
        compute()
    return ledger.most
