"""Make the corpus of recordings: prepare collected sounds, then bundle what is passed on.

    python data/make/recordings.py OUT --sounds FOLDER    prepare a corpus with audio
    python data/make/recordings.py OUT --bundle PREPARED  bundle a prepared corpus

FOLDER holds `clips.csv` (columns dataset, clip, track, audio, instrument, collection, licence,
source, seconds) and the sounds that it names, collected from four places:

- FSDKaggle2018, https://zenodo.org/record/2552860 (doi 10.5281/zenodo.2552860): the clips of seven
  instruments whose labels were verified by hand; `source` leads to each on Freesound;
- VSCO 2 CE, https://github.com/sgossner/VSCO-2-CE, and VCSL, https://github.com/sgossner/VCSL;
- University of Iowa, Musical Instrument Samples, https://theremin.music.uiowa.edu/MIS.html.

The sums of the sources' own archives are not known to this program, so it does not fetch them: only
the sum of the collected folder is recorded. The first 6 s of each sound, mono, 16 bits.

Between the two commands, `biasmir extract` makes the embeddings.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from biasmir_utils.corpus import Corpus, CorpusWriter, Target, read_table_file
from biasmir_utils.errors import ArgumentError, BiasMIRError
from biasmir_utils.experiments import evaluate
from biasmir_utils.files import atomic_path, sha256, versions
from bundle import CARD, EXAMPLE_LEVEL_DB, MP3_COMPRESSION, write_with_examples

COLUMNS = ["dataset", "clip", "track", "audio", "instrument"]
COLUMNS += ["collection", "licence", "source", "seconds"]
DATASETS = ("freesound", "studio")
LABELS = ("cello", "clarinet", "double_bass", "flute", "saxophone", "violin")
EXAMPLES = 2  # of each instrument in each dataset, as far as there are CC0 clips
# Shorter clips are repeated up to this, the longest window of the embeddings (musicnn, msd_vgg).
SHORTEST = 3.0
TEST_CLIPS = 12  # of the 30 of an instrument in `freesound`, at most
TEST_NOTES = (1, 3)  # of five neighbouring notes of an instrument that has one session only
CC0 = "CC0 1.0"
COLLECTIONS = {
    "FSDKaggle2018": "https://zenodo.org/record/2552860",
    "VSCO 2 CE": "https://github.com/sgossner/VSCO-2-CE",
    "VCSL": "https://github.com/sgossner/VCSL",
    "Iowa MIS": "https://theremin.music.uiowa.edu/MIS.html",
}
NOTES = {"c": 0, "d": 2, "e": 4, "f": 5, "g": 7, "a": 9, "b": 11}
# Packs whose middle C is called C4. In all others it is C3: their notes sound an octave above what
# the usual way of counting would say, as measured on the sounds.
MIDDLE_C_IS_C4 = ("iowa-", "vsco2-harp", "vsco2-piano", "vsco2-violin-")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; `SystemExit` after an error in words."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to write to")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--sounds", type=Path, metavar="FOLDER", help="prepare these sounds")
    what.add_argument("--bundle", type=Path, metavar="PREPARED", help="bundle this corpus")
    given = parser.parse_args(arguments)
    try:
        if given.sounds:
            print(prepare(given.sounds, given.out).summary())
        else:
            print(bundle(Corpus.load(given.bundle), given.out).summary())
    except BiasMIRError as error:
        sys.exit(f"Error: {error}")


# The clip table


def midi_number(clip: str, track: str) -> float:
    """Return the MIDI number of the note that the end of a sample's name tells, NaN if none."""
    told = re.search(r"-([a-g])(sharp|b)?(\d)(-stereo)?$", clip)
    if not told:
        return np.nan
    octave = int(told[3]) + (1 if track.startswith(MIDDLE_C_IS_C4) else 2)
    return 12.0 * octave + NOTES[told[1]] + {None: 0, "sharp": 1, "b": -1}[told[2]]


def fill_test(sizes: pd.Series, most: int = TEST_CLIPS) -> set[str]:
    """Return the tracks of a test part: in the given order, as long as they fit in.

    Parameters
    ----------
    sizes : pandas.Series of int
        Clips of each track, by name. The largest track is never taken, and half of all at most.
    most : int
        Clips that the test part has at most.
    """
    chosen: list[str] = []
    for track, size in sizes.drop(sizes.idxmax()).items():
        if sizes[chosen].sum() + size <= most and len(chosen) < len(sizes) // 2:
            chosen.append(str(track))
    return set(chosen)


def draw_split(clips: pd.DataFrame) -> pd.Series:
    """Deal the tracks of each instrument to training and test part.

    In `freesound` the largest track trains, and the others, by falling size, go to the test part
    until that has `TEST_CLIPS` clips or half of the tracks. In `studio` the largest session trains
    and all others test; of the instruments without a label that have one session every second one
    tests. What has a label and one session only is dealt note by note: for the scores across
    datasets alone, see `with_labels`.
    """
    split = pd.Series("train", clips.index)
    alone = 0
    by_size = (
        clips.groupby("instrument")["clip"].count().sort_values(ascending=False, kind="stable")
    )
    for dataset in DATASETS:
        for instrument in by_size.index:
            own = clips[(clips["dataset"] == dataset) & (clips["instrument"] == instrument)]
            sizes = (
                own["track"].value_counts().sort_index().sort_values(ascending=False, kind="stable")
            )
            if dataset == "freesound" and len(sizes):
                test = own["track"].isin(fill_test(sizes))
            elif len(sizes) > 1:
                test = own["track"] != sizes.index[0]
            elif instrument in LABELS:
                place = own["pitch"].rank(method="first").astype(int) - 1
                test = (place % 5).isin(TEST_NOTES)
            else:
                test = own["track"].isin(sizes.index if alone % 2 else [])
                alone += len(sizes)
            split[own.index[test]] = "test"
    return split


def with_labels(clips: pd.DataFrame) -> pd.DataFrame:
    """Add the labels: the instrument is heard, the others are not.

    Where a session is on both sides of the split, its test clips are observed for their own label
    only. So they never count as negatives of a recogniser that has learned from their session.
    """
    parts = clips.groupby(["dataset", "track"])["split"]
    known_session = (parts.transform("nunique") > 1) & (clips["split"] == "test")
    labels = {}
    for label in LABELS:
        mine = clips["instrument"] == label
        labels[label] = mine.astype(float).mask(known_session & ~mine)
    return clips.assign(**labels)


def clip_table(folder: Path) -> pd.DataFrame:
    """Return the rows of the corpus from a folder of collected sounds."""
    clips = read_table_file(folder / "clips.csv", COLUMNS)[COLUMNS].reset_index(drop=True)
    sounds = [soundfile.info(folder / name) for name in clips["audio"]]
    clips["source_seconds"] = pd.to_numeric(clips.pop("seconds"))
    clips["duration"] = np.round([sound.duration for sound in sounds], 3)
    clips["pitch"] = [
        np.nan if dataset == "freesound" else midi_number(clip, track)
        for dataset, clip, track in clips[["dataset", "clip", "track"]].itertuples(index=False)
    ]
    pages = clips["collection"].map(COLLECTIONS)
    clips["source"] = clips["source"].where(clips["source"].str.startswith("https://"), pages)
    return with_labels(clips.assign(split=draw_split(clips)))


def inside_freesound(corpus: Corpus, embedding: str, unit: str, draw: int) -> float:
    """Return the mean ROC-AUC of the labels inside `freesound` after a split drawn anew.

    Recognisers are trained on all training clips. A split deals as `draw_split` does, but in an
    order drawn at random.

    Parameters
    ----------
    corpus : Corpus
    embedding : str
    unit : {'clip', 'track'}
        What stays together.
    draw : int
        Seed of the order.
    """
    drawn, split = Corpus.load(corpus.path), corpus.clips["split"].copy()
    rng = np.random.default_rng(draw)
    here = corpus.clips[corpus.clips["dataset"] == DATASETS[0]]
    for _, own in here.groupby("instrument"):
        sizes = own[unit].value_counts().sort_index()
        test = own[unit].isin(fill_test(sizes.iloc[rng.permutation(len(sizes))]))
        split[own.index] = np.where(test, "test", "train")
    drawn.clips = drawn.clips.assign(split=split)
    found = evaluate(drawn, embedding, modes="unlabelled", jobs=1).results
    own = found[(found["train_set"] == DATASETS[0]) & (found["test_set"] == DATASETS[0])]
    return float(own["roc_auc"].mean())


# What is written


def lengthened(wave: np.ndarray, rate: int) -> np.ndarray:
    """Return a clip, repeated from its beginning up to `SHORTEST` where it is shorter."""
    return np.resize(wave, max(len(wave), int(np.ceil(SHORTEST * rate))))


def prepare(folder: Path, out: Path) -> Corpus:
    """Write a corpus with the audio to be embedded.

    Parameters
    ----------
    folder : pathlib.Path
        With `clips.csv` and the sounds.
    out : pathlib.Path
        Folder to write to, new or empty.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ArgumentError(f"{out}: is there already and is no empty folder")
    clips = clip_table(folder)
    listed = hashlib.sha256()
    for name in clips["audio"]:
        listed.update(f"{sha256(folder / name)}  {name}\n".encode())
        wave, rate = soundfile.read(folder / name, dtype="int16")
        with atomic_path(out / name) as temporary:
            if len(wave) < SHORTEST * rate:
                soundfile.write(temporary, lengthened(wave, rate), rate, format="FLAC")
            else:
                shutil.copyfile(folder / name, temporary)
    counts = clips.groupby(["collection", "licence"], sort=False).size()
    writer = CorpusWriter(
        out,
        name="recordings",
        title="BiasMIR corpus of recordings: Freesound and sample libraries",
        datasets=list(DATASETS),
        groups=[],
        targets=[
            *(Target(label, "label", description=f"{label} is heard") for label in LABELS),
            Target("pitch", "number", "MIDI note number", "the note that the sample's name tells"),
        ],
        licences=[{"what": "tables and embeddings", "licence": "CC BY 4.0"}]
        + [
            {
                "what": f"{n} clips of {collection}"
                + ("" if licence == CC0 else ", audio not included"),
                "licence": licence,
                "url": COLLECTIONS[collection],
            }
            for (collection, licence), n in counts.items()
        ],
        provenance={
            "command": "python data/make/recordings.py OUT --sounds FOLDER",
            "sounds": {"files": len(clips), "sha256 of the list of sums": listed.hexdigest()},
            "shorter clips": f"repeated from their beginning up to {SHORTEST:g} s",
            "versions": versions("numpy", "pandas", "soundfile"),
        },
    )
    return writer.write(clips)


def choose_examples(clips: pd.DataFrame) -> list[int]:
    """Return the rows to listen to: of each instrument CC0 clips, from different tracks first."""
    free = clips[clips["licence"] == CC0]
    turn = free.groupby(["dataset", "track"]).cumcount().sort_values(kind="stable")
    own = free.loc[turn.index].groupby(["dataset", "instrument"], sort=False)
    return sorted(map(int, own.head(EXAMPLES).index))


def bundle(corpus: Corpus, out: Path) -> Corpus:
    """Write what is passed on: the table, mean embeddings in half precision, examples as MP3.

    Parameters
    ----------
    corpus : Corpus
        Prepared, with embeddings.
    out : pathlib.Path
        Folder to write to: new, or empty but for the data card.
    """
    if out.exists() and {path.name for path in out.iterdir()} - {CARD}:
        raise ArgumentError(f"{out}: holds something already; remove all but {CARD}")
    fields = ("name", "title", "datasets", "groups", "targets", "licences")
    rows = choose_examples(corpus.clips)
    made = {
        "command": "python data/make/recordings.py OUT --bundle PREPARED",
        "examples": len(rows),
        "example_level_db": EXAMPLE_LEVEL_DB,
        "example_codec": f"MP3, variable bit rate, compression level {MP3_COMPRESSION}",
        "versions": versions("h5py", "numpy", "pandas", "pyarrow", "soundfile"),
    }
    writer = CorpusWriter(
        out,
        **{field: getattr(corpus.description, field) for field in fields},
        provenance=corpus.description.provenance
        | {
            "no score inside the dataset, for there is one track": single_tracks(corpus.clips),
            "bundle": made,
        },
    )
    return write_with_examples(writer, corpus, rows, corpus.embedding_names)


def single_tracks(clips: pd.DataFrame) -> dict[str, dict[str, str]]:
    """Return the labels that have one track in a dataset: by dataset the label and the track."""
    found: dict[str, dict[str, str]] = {}
    for label in LABELS:
        for dataset, own in clips[clips[label] == 1].groupby("dataset")["track"]:
            if own.nunique() == 1:
                found.setdefault(str(dataset), {})[label] = str(own.iloc[0])
    return found


def licence_table(clips: pd.DataFrame) -> str:
    """Return the data card's table of the clips, a row for each, as Markdown."""
    lines = ["| clip | page | licence |", "|:--|:--|:--|"]
    for clip in clips.itertuples():
        lines.append(f"| {clip.clip} | <{clip.source}> | {clip.licence} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
