"""Puts window and engine together: the only module that knows both."""

import faulthandler
import logging
import os
import signal
import sys
import time
from collections.abc import Sequence
from logging.handlers import RotatingFileHandler
from pathlib import Path
from types import TracebackType

from PySide6.QtCore import QEventLoop, QTimer
from PySide6.QtWidgets import QApplication

from metaviz import __version__, paths
from metaviz.catalogue import Catalogue
from metaviz.gui.engine import Engine
from metaviz.gui.failures import Failures
from metaviz.gui.log_panel import LogHandler
from metaviz.gui.preferences import Preferences
from metaviz.gui.window import MainWindow
from metaviz.runs.record import Record
