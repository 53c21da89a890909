"""What observers hear of files, from a whole pilot."""

from __future__ import annotations

HEARS = """
from pilot_core.sdk import hookimpl

@hookimpl
def pilot_file_moved(receipt):
    with open({told!r}, "a") as file:
        file.write(f"{{receipt.direction}} {{receipt.lfn}}\\n")
"""


def test_each_file_is_told_exactly_once(site):
    told = site.root / "told"
    pilotfile = site.root / "pilotfile.py"
    pilotfile.write_text(HEARS.format(told=str(told)))
    (site.root / "in.txt").write_text("x")
    site.job(
        "one",
        "cp in.txt out.txt",
        inputs=[{"name": "in.txt", "source": str(site.root / "in.txt")}],
        outputs=[site.output("out.txt")],
        log={"name": "log.tgz", "destination": str(site.store / "log.tgz")},
    )
    code, said = site.run(f"bootstrap.pilotfile={pilotfile}")
    assert code == 0, said
    assert told.read_text().splitlines() == ["in in.txt", "out out.txt", "out log.tgz"]
