"""The demo model in the repository, and the command that creates it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.awaiting import run
from tympan.quantize.catalogue import write_catalogue
from tympan.quantize.demo import MODELS, make_demo
from tympan.weights.catalogue import Catalogue
from tympan.weights.model import Folder, read_model

GOLDEN = Path(__file__).parents[1] / "golden" / "a"


def test_demo_model_is_complete_and_small() -> None:
    files = run(read_model(Folder(MODELS / "demo")))
    assert files.manifest.name == "demo"
    assert files.manifest.n_bytes < 24_000_000
    assert "text_linear.weight.q4" in files.lm


def test_catalogue_matches_the_manifests(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    shutil.copy(MODELS / "demo" / "model.json", tmp_path / "demo")
    entries = json.loads((MODELS / "catalogue.json").read_text())["models"]
    large = [entry for entry in entries if "hub" in entry]  # kept, after the models found in folders
    (tmp_path / "catalogue.json").write_text(json.dumps({"models": [*large, entries[0] | {"title": "before"}]}))
    write_catalogue(tmp_path)
    written = (tmp_path / "catalogue.json").read_text()
    assert written == (MODELS / "catalogue.json").read_text()
    catalogue = Catalogue.parse(written.encode(), "https://example.org/models/catalogue.json")
    assert catalogue.find("") == "https://example.org/models/demo"


def test_error_rates_and_model_card_come_from_the_checkpoint(tmp_path: Path) -> None:
    checkpoint = Path(shutil.copytree(GOLDEN, tmp_path / "checkpoint"))
    (checkpoint / "metrics.json").write_text(
        json.dumps({"unseen_voices": {"wer": 0.123}, "human_sentences": {"wer": 1.04}})
    )
    (checkpoint / "README.md").write_text("# A model")
    make_demo(checkpoint, tmp_path)
    assert (tmp_path / "demo" / "README.md").read_text() == "# A model"
    entry = json.loads((tmp_path / "catalogue.json").read_text())["models"][0]
    assert entry["id"] == "demo"
    assert entry["notes"].endswith("other synthetic voices 12%; sentences of people 104%.")
