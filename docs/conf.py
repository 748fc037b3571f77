"""How the documentation is built; `make docs` does it without a network."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from reference import write_reference  # noqa: E402

from metaviz import __version__  # noqa: E402

project = "MetaViz"
author = "the authors of MetaViz"
version = release = __version__
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"MetaViz {version}"
html_copy_source = False
myst_heading_anchors = 3
myst_enable_extensions = ["deflist"]
nitpicky = True

write_reference(HERE / "generated")
