"""Durations as a clock shows them."""


def clock(seconds: float) -> str:
    """Write a duration as 1:05 or 2:03:04."""
    whole = max(0, round(seconds))
    hours, rest = divmod(whole, 3600)
    minutes, rest = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
