"""``pilot new-plugin``: a distribution to begin with, from the templates that the core ships."""

from __future__ import annotations

import keyword
import re
from argparse import Namespace
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Final

from pilot_core.cli.mistakes import Usage
from pilot_core.cli.parser import Parser

WRITTEN: Final = {
    "pyproject.toml": "pyproject.toml.in",
    "README.md": "README.md.in",
    "src/$package/__init__.py": "plugin.py.in",
    "src/$package/py.typed": "",
    "tests/test_$module.py": "test_plugin.py.in",
}
"""What is written, and from which template."""


def describe(parser: Parser) -> None:
    """Add the arguments of ``pilot new-plugin``."""
    parser.add_argument("name", help="What it is for, such as an experiment: lower-case letters, digits, hyphens.")
    parser.add_argument("--dir", type=Path, default=Path(), metavar="D", help="Write it below this directory.")


def run(arguments: Namespace) -> int:
    """Write the distribution ``pilot-NAME`` and say how to go on."""
    if why := unfit(arguments.name):
        raise Usage(f"{arguments.name!r} {why}", "new-plugin")
    words = naming(arguments.name)
    top = arguments.dir / words["distribution"]
    if top.exists():
        raise Usage(f"{top} is there already; remove it or use --dir", "new-plugin")
    for path, text in written(words).items():
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).write_text(text, encoding="utf-8")
        print(top / path)
    print(f"\nto try it: pip install -e '{top}[test]' && pytest {top}")
    return 0


def unfit(name: str) -> str:
    """What is wrong with the name of a plugin, or nothing."""
    right = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-").removeprefix("pilot-")
    advice = f"; try {right!r}" if right and right != name and not unfit(right) else ""
    if name.startswith("pilot-"):
        return f"gets its 'pilot-' by itself{advice}"
    if not re.fullmatch(r"[a-z](?:[a-z0-9]|-(?=[a-z0-9]))*", name) or len(name) > 50:
        return f"is not made of lower-case letters, digits and single hyphens between them{advice}"
    if keyword.iskeyword(name) or keyword.issoftkeyword(name):
        return "is a word of the Python language"
    return _taken(name)


def _taken(name: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    from pilot_core.plugins.discover import EXPERIMENT, Discovery

    for entry in Discovery().find(EXPERIMENT):
        if name == entry.name:
            return f"is an experiment already, of {entry.distribution} {entry.version}"
    try:
        return f"is taken: pilot-{name} {version(f'pilot-{name}')} is installed"
    except PackageNotFoundError:
        return ""


def naming(name: str) -> Mapping[str, str]:
    """The words that the templates use."""
    from importlib.metadata import version

    module = name.replace("-", "_")
    core = ".".join(version("pilot-core").split(".")[:2])
    return {
        "name": name,
        "module": module,
        "distribution": f"pilot-{name}",
        "package": f"pilot_{module}",
        "constant": module.upper(),
        "core": core,
    }


def written(words: Mapping[str, str]) -> dict[str, str]:
    """The files of a new distribution: path to text."""
    templates = files("pilot_core") / "templates" / "plugin"
    texts = {path: (templates / source).read_text("utf-8") if source else "" for path, source in WRITTEN.items()}
    return {Template(path).substitute(words): Template(text).substitute(words) for path, text in texts.items()}
