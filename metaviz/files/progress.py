"""How slow work reports its progress, and how it is cancelled."""

from collections.abc import Callable

Report = Callable[[str], None]
"""Takes a line on how far the work is; raises InterruptedError once it is cancelled."""
