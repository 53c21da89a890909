"""Sum the pytest reports of a run: ``sum_up.py REPORTS [FAILED_SESSION ...]``; the last line is the sum."""

import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree as ET


def sum_up(reports: Path, failed_sessions: list[str]) -> int:
    total: Counter[str] = Counter(passed=0, failed=0, skipped=0)
    blamed = set()
    for report in sorted(reports.glob("*.xml")):
        for case in ET.parse(report).iter("testcase"):
            outcome = outcome_of(case)
            total[outcome] += 1
            if outcome != "passed":
                print(f"{outcome}: {report.stem}: {name_of(case)}: {reason_of(case)}")
            if outcome == "failed":
                blamed.update(
                    session for session in failed_sessions if report.stem.startswith(session.replace("_", "-"))
                )
    for session in sorted(set(failed_sessions) - blamed):
        print(f"failed: session {session}, with no failed test in its report")
        total["failed"] += 1
    print(", ".join(f"{number} {outcome}" for outcome, number in total.items()))
    return 1 if total["failed"] or not total["passed"] else 0


def outcome_of(case: ET.Element) -> str:
    if case.find("failure") is not None or case.find("error") is not None:
        return "failed"
    return "passed" if case.find("skipped") is None else "skipped"


def name_of(case: ET.Element) -> str:
    return f"{case.get('classname')}::{case.get('name')}"


def reason_of(case: ET.Element) -> str:
    for kind in ("failure", "error", "skipped"):
        if (found := case.find(kind)) is not None:
            return (found.get("message") or "").partition("\n")[0][:200]
    return ""


if __name__ == "__main__":
    sys.exit(sum_up(Path(sys.argv[1]), sys.argv[2:]))
