"""How Sphinx builds the manual."""

import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "Pilot"
author = "the authors of pilot-core"
version = release = version_of("pilot-core")

extensions = ["myst_parser", "pilot_reference", "pilot_machine", "pilot_pictures", "pilot_surface"]
exclude_patterns = ["_ext"]
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
suppress_warnings = ["misc.highlighting_failure"]  # a described job may show what YAML's highlighter does not know
nitpicky = True
smartquotes = False  # a quoted "name" is typed as it stands

html_theme = "furo"
html_title = f"Pilot {version}"
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
