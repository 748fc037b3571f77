"""How far the reading of images is: logged, and reported to a listener."""

import logging

from metaviz.files.progress import report_reading

_log = logging.getLogger("metaviz.images")


class ProgressReport:
    """Logs every tenth of one reading, and reports each call to the listener."""

    def __init__(self) -> None:
        """Begin at nothing."""
        self._logged = -1

    def __call__(self, done: int, count: int) -> None:
        """Log and report that `done` of `count` images are decoded."""
        tenth = 10 * done // max(count, 1)
        if tenth > self._logged:
            self._logged = tenth
            _log.info("Decoded %d of %d images; this is for the first use only.", done, count)
        report_reading(done, count)
