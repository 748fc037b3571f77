"""What `metaviz sweep` and `metaviz queue` do."""

import faulthandler
import os
import sys

from metaviz.paths import data_dir, runs_dir
from metaviz.training.queue_worker import run_worker


def worker_command() -> None:
    """Be a worker process of the queue."""
    faulthandler.enable(sys.stderr)
    told = os.dup(1)
    os.dup2(2, 1)  # what libraries print must not be taken for happenings
    run_worker(data_dir(), runs_dir(), 0, told)
