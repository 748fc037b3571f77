"""What a person prefers: every preference with its default, help and key in the settings file."""

from typing import Literal

from metaviz.config.options import OptionError, Options, Plain, checked, option
from metaviz.gui.widgets.settings_file import Settings


class Preferences(Options):
    """What a person prefers, whatever is trained."""

    theme: Literal["system", "light", "dark", "contrast"] = option(
        "system",
        "Theme",
        "Colours of the window and of the plots on screen. Exports are always light.",
        labels={
            "system": "as the desktop",
            "light": "light",
            "dark": "dark",
            "contrast": "high contrast",
        },
    )
    workers: int = option(
        1,
        "Runs of the queue at once",
        "How many runs of the queue train at the same time, each in a process of its own.",
        ge=1,
    )
    device: Literal["auto", "cpu", "cuda"] = option(
        "auto",
        "Device",
        "Where new experiments train; also what “Reset all settings” goes back to. "
        "Auto: the GPU where there is one.",
    )
    welcome: bool = option(
        True, "Welcome page", "Show it in the plots' place while no run is shown."
    )
    notify: bool = option(
        True,
        "Notify when runs end",
        "While another window is in front: by the task bar, and by a message where there is a "
        "system tray. At most every 5 seconds.",
    )
    confirm_close: bool = option(
        True,
        "Ask before closing",
        "While runs are training. Without, they are stopped and saved; they can be resumed.",
    )
    autosave: int = option(
        30,
        "Save the session every",
        "What is on screen comes back after a crash; it is saved so often, and soon after changes.",
        ge=5,
        le=600,
        unit="s",
    )
    log_level: Literal["info", "warning", "error"] = option(
        "info",
        "Keep log lines from",
        "What is less important than this is kept neither in the log here nor in the log file.",
    )


KEYS = {
    "theme": "window/theme",
    "workers": "queue/workers",
    "device": "form/device",
    "welcome": "window/welcome",
    "notify": "window/notify",
    "confirm_close": "window/confirm_close",
    "autosave": "session/seconds",
    "log_level": "log/level",
}
"""Where each preference is kept; some were kept there before there was a dialog."""


def read_preferences(settings: Settings) -> Preferences:
    """Return what is kept; what does not fit is as by default."""
    values: dict[str, Plain] = {}
    for name, default in Preferences().model_dump().items():
        found = settings.read(KEYS[name], default)
        try:
            checked(Preferences, {name: found})
        except OptionError:
            continue
        values[name] = found
    return Preferences(**values)  # type: ignore[arg-type]
