"""Records how many tests of the page each browser engine passed, from JUnit files of pytest.

    .venv/bin/pytest --engine firefox --junitxml firefox.xml tests/page tests/engines
    python -m bench.engine_tests firefox=firefox.xml

Engines that are not named keep their counts. Of several files of an engine, the last run of each test counts. Tests
that need what an engine lacks are not collected there: tests/engines/lacks.py.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from bench import tables
from bench.provenance import commit, provenance

SUITES = ("tests.page.", "tests.engines.")
RESULT = tables.RESULTS / "engine-tests.json"
_BAD = ("failure", "error", "skipped")


def count(files: Sequence[str]) -> dict[str, Any]:
    """Count the tests of the page in the JUnit files of an engine, of which the last run of each test counts.

    Returns passed and failed, the numbers of tests, and date, when the first began.
    """
    roots = [ElementTree.fromstring(file) for file in files]
    has_passed = {
        (case.get("classname"), case.get("name")): all(case.find(kind) is None for kind in _BAD)
        for root in roots
        for case in root.iter("testcase")
        if case.get("classname", "").startswith(SUITES)
    }
    n_passed = sum(has_passed.values())
    date = min(suite.get("timestamp", "") for root in roots for suite in root.iter("testsuite"))
    return {"passed": n_passed, "failed": len(has_passed) - n_passed, "date": date}


def record(files: Sequence[str], earlier: Mapping[str, Any]) -> dict[str, Any]:
    """Return the result. files: ENGINE=FILE, of tests of this checkout. earlier: the counts by engine so far."""
    runs: dict[str, list[str]] = {}
    for file in files:
        engine, _, path = file.partition("=")
        runs.setdefault(engine, []).append(Path(path).read_text("utf-8"))
    counts = {engine: {**count(texts), "commit": commit()} for engine, texts in runs.items()}
    return {"engine_tests": {**earlier, **counts}, **provenance("several")}


def main() -> None:
    parser = argparse.ArgumentParser(description="Record the tests that each browser engine passed.")
    parser.add_argument("files", metavar="ENGINE=FILE", nargs="+", help="a JUnit file")
    earlier = json.loads(RESULT.read_text("utf-8"))["engine_tests"] if RESULT.exists() else {}
    result = record(parser.parse_args().files, earlier)
    RESULT.write_text(json.dumps(result, indent=4) + "\n", "utf-8")
    tables.main()


if __name__ == "__main__":
    main()
