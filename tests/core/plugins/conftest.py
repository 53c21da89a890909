"""Small distributions, written as pip leaves them, on the path for one test."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest


class Shelf:
    """A directory on ``sys.path`` that distributions are written to."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.modules: set[str] = set()

    def put(
        self,
        name: str,
        points: Mapping[str, Mapping[str, str]],
        *,
        version: str = "1.0",
        extras: tuple[str, ...] = (),
        **modules: str,
    ) -> None:
        info = self.place / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        provided = "".join(f"Provides-Extra: {extra}\n" for extra in extras)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{provided}")
        groups = (
            f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in named.items())
            for group, named in points.items()
        )
        (info / "entry_points.txt").write_text("\n".join(groups))
        for module, source in modules.items():
            (self.place / f"{module}.py").write_text(source)
            self.modules.add(module)


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shelf]:
    made = Shelf(tmp_path / "shelf")
    made.place.mkdir()
    monkeypatch.syspath_prepend(str(made.place))
    yield made
    for module in made.modules:
        sys.modules.pop(module, None)
