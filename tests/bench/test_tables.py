"""The tables in the documents are generated from the recorded results, and every result has its provenance."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bench import tables
from bench.chart import CHART, read_and_draw
from bench.provenance import commit, provenance
from bench.record import COMMANDS
from tympan.cli.site import ROOT


@pytest.mark.parametrize("name", tables.DOCUMENTS)
def test_committed_tables_are_the_generated_ones(name: str) -> None:
    document = (ROOT / name).read_text("utf-8")
    assert document == tables.with_tables(document, tables.read_results()), "run python -m bench.tables"


def test_every_table_is_in_a_document() -> None:
    text = "".join((ROOT / name).read_text("utf-8") for name in tables.DOCUMENTS)
    assert {*re.findall(r"<!-- table: (\w+) -->", text)} == {*tables.TABLES}


def test_a_changed_table_is_replaced() -> None:
    document = "a\n<!-- table: start -->\n| old |\n<!-- /table -->\nb"
    generated = tables.with_tables(document, tables.read_results())
    assert "old" not in generated
    assert generated.startswith("a\n<!-- table: start -->\n| visit |")
    assert generated.endswith("|\n<!-- /table -->\nb")


def test_the_committed_chart_is_the_generated_one() -> None:
    assert CHART.read_text("utf-8") == read_and_draw(), "run python -m bench.chart"


@pytest.mark.parametrize("name", tables.read_results())
def test_every_result_has_a_provenance(name: str) -> None:
    result: dict[str, Any] = tables.read_results()[name]
    recorded = result.get("recorded", result)
    assert re.fullmatch(r"[0-9a-f]{7,40}", recorded["commit"]), "recorded from a clean checkout"
    assert re.match(r"\d{4}-\d\d-\d\d", recorded["date"])
    assert result["browser"]
    assert {"cpu", "n_cpus", "system", "browser"} <= {*result["machine"]}


def test_a_new_result_has_a_provenance() -> None:
    facts = provenance("chromium 1.2")
    assert {*facts} == {"commit", "date", "machine", "browser"}
    assert re.fullmatch(r"[0-9a-f]{7,40}(-dirty)?", facts["commit"])
    assert facts["browser"] == facts["machine"]["browser"] == "chromium 1.2"


def test_only_changes_outside_of_the_results_make_a_commit_dirty(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        subprocess.run(["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a", *arguments], check=True)

    assert commit(tmp_path / "none") == ""
    results, source = tmp_path / "bench" / "results", tmp_path / "source.py"
    results.mkdir(parents=True)
    for path in (results / "a.json", source):
        path.write_text("1")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "First")
    assert re.fullmatch("[0-9a-f]{7,40}", commit(tmp_path))
    (results / "a.json").write_text("2")
    assert not commit(tmp_path).endswith("-dirty")
    source.write_text("2")
    assert commit(tmp_path).endswith("-dirty")


def test_recorded_benches_are_the_results() -> None:
    elsewhere = {"lm-webgpu-1b-h100", "lm-webgpu-demo-h100", "mimi-webgpu-h200"}
    elsewhere |= {"frame-h200", "pipeline-demo-h200", "pipeline-1b-h200", "load-1b-h200", "engine-tests"}
    elsewhere |= {"confidence"}  # recorded with "wer"
    elsewhere |= {"verify-stand-in"}  # by bench.stand_in.verify
    assert {*COMMANDS} | elsewhere == {*tables.read_results()}
