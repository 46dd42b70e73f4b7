"""`tympan verify` against a host that serves results of the official implementation for the golden checkpoint."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.app.golden import GOLDEN, golden
from tests.cli.conftest import RunTympan
from tympan.cli.decode import resample, write_float_wav
from tympan.cli.errors import CommandError
from tympan.cli.reference import Reference
from tympan.cli.server import serving
from tympan.cli.verify import EXACT, reasons, recordings_of
from tympan.quantize.convert import quantize
from tympan.text.tokenizer import Tokenizer


@dataclass
class Host:
    """Serves the files of a reference. `description`: the file that names them with their hashes."""

    folder: Path
    url: str

    @property
    def description(self) -> Path:
        return self.folder / "reference.json"

    def publish(self, codes: list[list[int]], tokens: list[int], text: str) -> None:
        """Write the files and the description, as the published ones are."""
        contents = {
            "audio": ("input.wav", (GOLDEN / "input.wav").read_bytes()),
            "codes": ("mimi_tokens.json", json.dumps({"num_frames": len(codes), "tokens": codes}).encode()),
            "tokens": ("text_tokens.json", json.dumps({"num_frames": len(tokens), "tokens": tokens}).encode()),
            "transcript": ("transcript.txt", text.encode()),
        }
        described: dict[str, Any] = {"source": "the golden checkpoint"}
        for role, (name, content) in contents.items():
            (self.folder / name).write_bytes(content)
            described[role] = {"url": f"{self.url}/{name}", "sha256": hashlib.sha256(content).hexdigest()}
        self.description.write_text(json.dumps(described))


def official() -> tuple[list[list[int]], list[int], str]:
    """Codes, tokens and text that the official implementation computed."""
    expected = golden().expected
    tokens = expected["direct_text_tokens"].tolist()
    return (
        expected["stream_codes"].T.tolist(),
        tokens,
        Tokenizer.from_bytes((GOLDEN / "tokenizer.model").read_bytes()).decode(tokens),
    )


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "host"
    folder.mkdir()
    with serving(folder) as url:
        host = Host(folder, url)
        host.publish(*official())
        yield host


@pytest.fixture
def model(tmp_path: Path) -> Path:
    quantize(GOLDEN, tmp_path / "model", "f32")
    return tmp_path / "model"


def test_a_right_model_passes_and_word_errors_of_a_set_are_measured(
    host: Host, model: Path, tmp_path: Path, tympan_in_browser: RunTympan
) -> None:
    recordings = tmp_path / "recordings"
    recordings.mkdir()
    shutil.copy(GOLDEN / "input.wav", recordings / "one.wav")
    (recordings / "one.txt").write_text("not what is said")
    options = ("--exact", "--backend", "simd", "--reference", host.description, "--set", recordings)
    done = tympan_in_browser("verify", model, *options)
    assert done.returncode == 0, done.stderr
    codes, tokens, _ = official()
    n_codes = len(codes) * len(codes[0])
    assert f"{n_codes}/{n_codes}" in done.stdout
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["passed"] is True
    assert result["reference"] == "the golden checkpoint"
    outcome = result["verify"]["simd"]
    assert (outcome["codes"], outcome["codes_equal"]) == (n_codes, n_codes)
    assert (outcome["tokens"], outcome["tokens_equal"]) == (len(tokens), len(tokens))
    assert outcome["wer"] < 0.05
    rates = result["sets"]["recordings"]
    assert (rates["words"], rates["files"]) == (4, 1)
    assert rates["wer"] >= 1
    assert {"commit", "date", "machine", "browser"} <= result.keys()


def test_one_wrong_weight_and_one_wrong_code_are_found(
    host: Host, tmp_path: Path, tympan_in_browser: RunTympan
) -> None:
    checkpoint = tmp_path / "checkpoint"
    shutil.copytree(GOLDEN, checkpoint)
    weights = load_file(checkpoint / "model.safetensors")
    weights["text_linear.weight"][5, 7] += 50
    save_file(weights, checkpoint / "model.safetensors")
    quantize(checkpoint, tmp_path / "model", "f32")
    codes, tokens, text = official()
    codes[17][4] ^= 1
    host.publish(codes, tokens, text)
    options = ("--exact", "--backend", "simd", "--reference", host.description)
    done = tympan_in_browser("verify", tmp_path / "model", *options)
    assert done.returncode == 1
    n_codes = len(codes) * len(codes[0])
    assert (
        f"tympan: simd: 1 of {n_codes} codes differ from the reference, the first at frame 17, codebook 4"
        in done.stderr
    )
    assert f"of {len(tokens)} tokens differ from the reference, the first at frame" in done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["passed"] is False


def test_a_damaged_file_of_the_model_is_named(host: Host, model: Path, tympan_in_browser: RunTympan) -> None:
    content = bytearray((model / "lm-00001.safetensors").read_bytes())
    content[-100] ^= 1
    (model / "lm-00001.safetensors").write_bytes(content)
    done = tympan_in_browser("verify", model, "--backend", "simd", "--reference", host.description)
    assert done.returncode == 1
    assert "lm-00001.safetensors is damaged: its sha256 is not the published one" in done.stderr


def test_a_reference_file_that_differs_from_its_hash_is_refused(host: Host, tmp_path: Path) -> None:
    reference = Reference.read(host.description)
    assert reference.fetch(tmp_path / "kept").codes.shape == golden().expected["stream_codes"].T.shape
    (host.folder / "text_tokens.json").write_text("[]")
    with pytest.raises(CommandError, match=r"text_tokens\.json is not the pinned file: its SHA-256 is 4f53cda"):
        reference.fetch(tmp_path / "fresh")
    [kept] = (tmp_path / "kept").glob("*transcript.txt")
    kept.write_text("changed")
    with pytest.raises(CommandError, match=r"transcript\.txt is not the pinned file"):
        reference.fetch(tmp_path / "kept")


def test_a_reference_without_a_host_or_a_description_is_reported(tmp_path: Path) -> None:
    (tmp_path / "reference.json").write_text("{}")
    with pytest.raises(CommandError, match="does not describe a reference"):
        Reference.read(tmp_path / "reference.json")
    file = {"url": "http://127.0.0.1:9/a", "sha256": "0"}
    roles = ("audio", "codes", "tokens", "transcript")
    (tmp_path / "reference.json").write_text(json.dumps({"source": "", **dict.fromkeys(roles, file)}))
    with pytest.raises(CommandError, match="cannot be downloaded"):
        Reference.read(tmp_path / "reference.json").fetch(tmp_path)


def test_how_much_may_differ() -> None:
    expected = np.arange(200, dtype=np.int32).reshape(50, 4)
    nearly = expected.copy()
    nearly[3, 2] = 7
    more = np.concatenate([expected, expected[:5]])
    assert list(reasons("codes", more, expected, EXACT.codes)) == []
    assert list(reasons("codes", nearly, expected, 0.01)) == []
    [reason] = reasons("codes", nearly, expected, EXACT.codes)
    assert reason == "1 of 200 codes differ from the reference, the first at frame 3, codebook 2: 7 instead of 14"
    assert list(reasons("codes", expected[:49], expected, 0)) == [
        "4 of 200 codes differ from the reference, at the end"
    ]
    assert list(reasons("codes", expected[:, :2], expected, 1)) == ["codes have the shape (50, 2), (50, 4) is expected"]


def test_sets_of_recordings(tmp_path: Path) -> None:
    chapter = tmp_path / "84" / "121123"
    chapter.mkdir(parents=True)
    (chapter / "84-121123.trans.txt").write_text("84-121123-0000 GO ON\n84-121123-0001 WITHOUT A FILE\n")
    (chapter / "84-121123-0000.flac").write_bytes(b"")
    (tmp_path / "mine.mp3").write_bytes(b"")
    (tmp_path / "mine.txt").write_text("Mine.")
    assert list(recordings_of(tmp_path)) == [
        (chapter / "84-121123-0000.flac", "GO ON"),
        (tmp_path / "mine.mp3", "Mine."),
    ]
    with pytest.raises(CommandError, match="has no audio files with transcripts"):
        list(recordings_of(chapter.parent / "none"))


def test_resampling_has_the_length_and_the_passband_of_the_official_scripts() -> None:
    """A tone keeps its phase and amplitude; one above the new band vanishes."""
    time_s = np.arange(44_100) / 44_100
    low, high = (np.sin(2 * np.pi * hz * time_s).astype(np.float32) for hz in (440, 15_000))
    resampled = resample(low, 44_100, 24_000)
    assert len(resampled) == 24_000
    np.testing.assert_allclose(
        resampled[100:-100], np.sin(2 * np.pi * 440 * np.arange(24_000) / 24_000)[100:-100], atol=1e-4
    )
    assert np.abs(resample(high, 44_100, 24_000)[100:-100]).max() < 1e-3
    assert resample(low, 24_000, 24_000) is low


def test_float_wav(tmp_path: Path) -> None:
    samples = np.linspace(-1, 1, 9, dtype=np.float32)
    write_float_wav(tmp_path / "a.wav", samples)
    content = (tmp_path / "a.wav").read_bytes()
    assert content[:4] == b"RIFF" and int.from_bytes(content[4:8], "little") == len(content) - 8
    assert np.array_equal(np.frombuffer(content[-36:], "<f4"), samples)
