"""Packs test sets: one zip per set, with Ogg Opus files and a `labels.json`.

    python -m train.pack_tests TESTS DEST

TESTS holds *.shard; DEST is the repository's bench/speech. Needs ffmpeg with libopus.
"""

import argparse
import json
import subprocess
import zipfile
from pathlib import Path

from . import shards

_BITRATE = 24_000


def opus(utterance: shards.Utterance) -> bytes:
    """Encode one utterance as an Ogg Opus file."""
    command = ["ffmpeg", "-v", "error", "-f", "s16le", "-ar", str(shards.SAMPLE_RATE), "-ac", "1", "-i", "-"]
    command += [
        "-c:a",
        "libopus",
        "-b:a",
        str(_BITRATE),
        "-map_metadata",
        "-1",
        "-fflags",
        "bitexact",
        "-f",
        "ogg",
        "-",
    ]
    return subprocess.run(command, input=utterance.pcm.astype("<i2").tobytes(), capture_output=True, check=True).stdout


def pack(shard: Path, dest: Path) -> None:
    """Write one set. labels.json: file -> {"text", "voice", "starts"}; starts in seconds, none where unknown."""
    labels = {}
    with zipfile.ZipFile(dest, "w") as target:  # not compressed: Opus would not get smaller
        for i, utterance in enumerate(shards.read(shard)):
            name = f"{i:03d}.opus"
            starts = [round(s, 3) for s in utterance.starts] if any(utterance.starts) else []
            labels[name] = {"text": utterance.label, "voice": utterance.voice, "starts": starts}
            target.writestr(zipfile.ZipInfo(name), opus(utterance))
        target.writestr(zipfile.ZipInfo("labels.json"), json.dumps(labels, indent=1))


def main() -> None:
    cli = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    cli.add_argument("tests", type=Path)
    cli.add_argument("dest", type=Path)
    a = cli.parse_args()
    a.dest.mkdir(parents=True, exist_ok=True)
    for shard in sorted(a.tests.glob("*.shard")):
        pack(shard, a.dest / f"{shard.stem}.zip")


if __name__ == "__main__":
    main()
