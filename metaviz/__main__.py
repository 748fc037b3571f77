"""Run the command line with `python -m metaviz`."""

from metaviz.cli import main

main()
