"""How slow work tells how far it is, and hears that nobody waits for it any more."""

from collections.abc import Callable

Report = Callable[[str], None]
"""Takes a line on how far the work is; raises InterruptedError once nobody waits for it."""
