"""Static analysis of the packages: what bandit finds is in `bandit_reviewed.toml`, by file and number, or it fails.

No test is switched off: a new finding anywhere has to be looked at. `--write` takes down what there is now, for a
person to read in the diff; a kind of finding needs a reason there before it may be in any file.

    python -m tests.bandit_review [--write]
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parent.parent
REVIEWED = Path(__file__).with_name("bandit_reviewed.toml")
PACKAGES = ("features", "serving", "training")
Counts = dict[str, dict[str, int]]


def found(packages: tuple[str, ...] = PACKAGES) -> tuple[Counts, dict[tuple[str, str], list[str]]]:
    """What bandit finds: test -> file -> count, and the lines of each file for people."""
    command = [sys.executable, "-m", "bandit", "--quiet", "--configfile", "pyproject.toml", "--format", "json"]
    done = subprocess.run([*command, "--recursive", *packages], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1) or not done.stdout:
        raise SystemExit(f"bandit failed: {done.stderr[-2000:]}")
    told = json.loads(done.stdout)
    if told["errors"]:
        raise SystemExit(f"bandit could not read everything: {told['errors']}")
    counts: dict[str, Counter[str]] = {}
    lines: dict[tuple[str, str], list[str]] = {}
    for each in told["results"]:
        test, file = each["test_id"], each["filename"].removeprefix("./")
        counts.setdefault(test, Counter())[file] += 1
        lines.setdefault((test, file), []).append(f"{file}:{each['line_number']}: {test} {each['issue_text']}")
    return {test: dict(files) for test, files in counts.items()}, lines


def complaints(counts: Counts, lines: dict[tuple[str, str], list[str]], reviewed: dict[str, dict]) -> list[str]:
    """What is found and was not reviewed, and what was reviewed and is not there any more."""
    said, wrong = reviewed.get("reasons", {}), []
    known: Counts = {test: files for test, files in reviewed.items() if test != "reasons"}
    for test in sorted(counts.keys() | known.keys()):
        if not said.get(test, "").strip():
            wrong.append(f"{test}: no reason stands in {REVIEWED.name}")
        there, before = counts.get(test, {}), known.get(test, {})
        for file in sorted(there.keys() | before.keys()):
            if there.get(file, 0) > before.get(file, 0):
                wrong += [f"new, or more than were reviewed: {line}" for line in lines[test, file]]
            elif there.get(file, 0) < before.get(file, 0):
                wrong.append(f"{test} {file}: {before[file]} reviewed, {there.get(file, 0)} there: write it down anew")
    return wrong


def written(counts: Counts, reasons: dict[str, str]) -> str:
    """The file of what there is now."""
    parts = ["# Findings of bandit that were looked at, by file and number; see bandit_review.py.", "[reasons]"]
    parts += [f"{test} = {json.dumps(reasons.get(test, ''))}" for test in sorted(counts)]
    for test in sorted(counts):
        parts += ["", f"[{test}]", *(f"{json.dumps(file)} = {n}" for file, n in sorted(counts[test].items()))]
    return "\n".join(parts) + "\n"


def main() -> int:
    """Compare, or write down; 1 when something was not reviewed."""
    reviewed = tomllib.loads(REVIEWED.read_text()) if REVIEWED.exists() else {}
    counts, lines = found()
    if "--write" in sys.argv[1:]:
        REVIEWED.write_text(written(counts, reviewed.get("reasons", {})))
        return 0
    wrong = complaints(counts, lines, reviewed)
    sys.stdout.write("\n".join([*wrong, ""]) if wrong else "bandit: nothing that was not looked at\n")
    return int(bool(wrong))


if __name__ == "__main__":
    raise SystemExit(main())
