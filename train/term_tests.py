"""A test set of rare names, for `tympan bench terms`: sentences by flite and espeak-ng, and names that are not spoken.

    python -m train.term_tests WORDNET DEST

WORDNET is the folder of WordNet 3.0's data files (Debian `wordnet-base`). Writes DEST/rare_names.zip. Needs flite,
espeak-ng, and ffmpeg with libopus. Nothing of it is ever trained on.
"""

import argparse
import json
import re
import subprocess
import zipfile
import zlib
from io import BytesIO
from itertools import cycle
from pathlib import Path

import numpy as np

from .pack_tests import opus
from .shards import Utterance
from .voices import to_int16

N_DISTRACTORS = 1000
MODULUS = 0xFFFFFFFF

NAMES = [
    "abernathy",
    "alderton",
    "ambrosia",
    "anselmo",
    "arundel",
    "ashgrove",
    "balthazar",
    "barnaby",
    "belvedere",
    "benedetta",
    "bertram",
    "blackwood",
    "bramwell",
    "brigantine",
    "calloway",
    "cavendish",
    "chesterton",
    "clementine",
    "corbinian",
    "cordelia",
    "crowhurst",
    "dagenham",
    "darlington",
    "delmonico",
    "desdemona",
    "donnelly",
    "drummond",
    "dunmore",
    "eastbrook",
    "eldridge",
    "ellsworth",
    "emmeline",
    "fairfax",
    "falkirk",
    "farnsworth",
    "fenwick",
    "fitzroy",
    "galveston",
    "giovanni",
    "gladstone",
    "glastonbury",
    "goddard",
    "greenberg",
    "grimaldi",
    "halifax",
    "hampton",
    "harrington",
    "hawthorne",
    "hepburn",
    "hollister",
    "humboldt",
    "isadora",
    "jericho",
    "kensington",
    "kilkenny",
    "kimberley",
    "kipling",
    "lancaster",
    "langford",
    "leopold",
    "lindqvist",
    "lockwood",
    "lorenzo",
    "ludlow",
    "madrigal",
    "magnolia",
    "malachi",
    "marlborough",
    "meriwether",
    "middleton",
    "montague",
    "mortimer",
    "nantucket",
    "nightingale",
    "oberon",
    "octavian",
    "oppenheimer",
    "ottoline",
    "palmerston",
    "pemberton",
    "penelope",
    "persephone",
    "pinkerton",
    "prudence",
    "radcliffe",
    "ramona",
    "rockefeller",
    "rosalind",
    "rutherford",
    "salvatore",
    "sandringham",
    "sebastian",
    "shackleton",
    "silverstone",
    "stapleton",
    "sutherland",
    "tallulah",
    "thackeray",
    "thornbury",
    "valentino",
    "wallingford",
    "wellington",
    "westbrook",
    "wilhelmina",
    "winchester",
    "wolverton",
    "yarborough",
    "zachary",
]

SENTENCES = (
    """
please call {} in the morning|i had a letter from {} last week|we are going to {} next summer|{} is coming to dinner
the train to {} leaves at nine|did you see {} at the meeting|my friend {} lives near the river
she told me that {} was very tired|turn left after {} and go down the road|{} will open the door for you
they named the old house {}|can you send the book to {}|the man from {} took the last room
he said that {} would never come back|tell {} to bring some water|there was no answer from {} today
i think {} is right about the time|the road to {} is closed again|ask {} for the number
we met {} on the way home
""".strip()
    .replace("\n", "|")
    .split("|")
)

VOICES = ["flite:rms", "espeak:en-us+f3", "flite:kal16", "flite:slt", "espeak:en-gb+m2", "espeak:en-us+m7"]


def speak(text: str, voice: str) -> np.ndarray:
    """(n,) int16 at 24 kHz."""
    engine, name = voice.split(":")
    command = {
        "flite": ["flite", "-voice", name, "-t", text, "-o", "/dev/stdout"],
        "espeak": ["espeak-ng", "-v", name, "-s", "150", "--stdout", text],
    }[engine]
    out = subprocess.run(command, capture_output=True, check=True).stdout
    # Neither writes the length into the header of a pipe.
    rate, start = int.from_bytes(out[24:28], "little"), out.index(b"data") + 8
    samples = np.frombuffer(out[start : start + (len(out) - start) // 2 * 2], "<i2")
    return np.pad(to_int16(samples / 32768, rate), (4800, 7200))


def distractors(wordnet: Path) -> list[str]:
    """Names of WordNet that are in no sentence of the set, in an order by hash."""
    spoken = {*NAMES, *" ".join(SENTENCES).split()}
    lines = (wordnet / "data.noun").read_text("latin-1").splitlines()
    words = {word for line in lines for word in re.findall(r" ([A-Z][a-z]{4,11}) \d ", line)}
    names = {word.lower() for word in words} - spoken
    return sorted(names, key=lambda name: zlib.crc32(name.encode()) & MODULUS)[:N_DISTRACTORS]


def main() -> None:
    cli = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    cli.add_argument("wordnet", type=Path)
    cli.add_argument("dest", type=Path)
    a = cli.parse_args()
    labels, voices, sentences = {}, cycle(VOICES), cycle(SENTENCES)
    content = BytesIO()
    with zipfile.ZipFile(content, "w") as target:  # stored: Opus does not get smaller
        for i, name in enumerate(NAMES):
            text, voice = next(sentences).format(name), next(voices)
            file = f"{i:03d}.opus"
            labels[file] = {"text": text, "voice": voice, "starts": [], "term": name}
            target.writestr(
                zipfile.ZipInfo(file), opus(Utterance(speak(text, voice), text, (0.0,) * len(text.split()), voice))
            )
        target.writestr(zipfile.ZipInfo("labels.json"), json.dumps(labels, indent=1))
        target.writestr(zipfile.ZipInfo("distractors.json"), json.dumps(distractors(a.wordnet)))
    (a.dest / "rare_names.zip").write_bytes(content.getvalue())


if __name__ == "__main__":
    main()
