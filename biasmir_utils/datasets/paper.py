"""A corpus from the files of the paper: IRMAS and OpenMIC-2018 with the published embeddings.

The layout under a root folder:

- `paper/embeddings.h5` (Zenodo record 8126908), `paper/irmas_train.csv`, `paper/irmas_test.csv`
  (the authors' split);
- `openmic-2018/`: the unpacked archive, of which the tables are read;
- for the corpus from the audio also `IRMAS-TrainingData/`, the other unpacked archive.
"""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

from biasmir_utils.corpus import Corpus, CorpusWriter, Target, list_embeddings
from biasmir_utils.datasets import openmic_tables
from biasmir_utils.datasets.audio_files import IRMAS_FOLDER, irmas_audio, openmic_audio, with_audio
from biasmir_utils.datasets.genres import GENRES
from biasmir_utils.datasets.irmas_tables import read_irmas
from biasmir_utils.datasets.known_counts import check_counts
from biasmir_utils.datasets.openmic_tables import read_openmic
from biasmir_utils.datasets.records import unchecked_inputs
from biasmir_utils.errors import CorpusError
from biasmir_utils.files import sha256, versions

# The classes that both data sets have, in the paper's order.
INSTRUMENTS = (
    "cello",
    "clarinet",
    "flute",
    "guitar",
    "organ",
    "piano",
    "saxophone",
    "trumpet",
    "violin",
    "voice",
)

LICENCES = (
    {
        "what": "OpenMIC-2018 labels and metadata",
        "licence": "CC BY 4.0",
        "url": "https://zenodo.org/records/1432913",
    },
    {
        "what": "IRMAS clip names",
        "licence": "CC BY-NC-SA 3.0",
        "url": "https://zenodo.org/records/1290750",
    },
    {
        "what": "published embeddings",
        "licence": "stated by the record at this address",
        "url": "https://zenodo.org/records/8126908",
    },
)


def prepare_paper(
    root: str | os.PathLike[str], out: str | os.PathLike[str], *, from_audio: bool = False
) -> Corpus:
    """Write the corpus of the paper.

    Rows are sorted by clip name in each data set, which is the order that the paper's
    resampling counts in. The published embedding file is used in place, not copied. Where the
    files are the published ones, the protocol's counts of clips are asserted.

    Parameters
    ----------
    root : path
        The folder that holds `paper/` and `openmic-2018/`.
    out : path
        The corpus folder to make.
    from_audio : bool
        Whether the corpus has the audio of both data sets, in place, and no embeddings yet,
        instead of the published ones.

    Returns
    -------
    Corpus

    Raises
    ------
    CorpusError
        Naming the file and row that cannot be used; nothing is written then.
    """
    root = Path(root)
    lists = {split: root / "paper" / f"irmas_{split}.csv" for split in ("train", "test")}
    openmic = root / "openmic-2018"
    published = root / "paper" / "embeddings.h5"
    embeddings = published.resolve()
    irmas_clips, irmas_dropped = read_irmas(lists["train"], lists["test"], INSTRUMENTS)
    openmic_clips, openmic_dropped = read_openmic(openmic, INSTRUMENTS)
    clips = pd.concat([irmas_clips, openmic_clips], ignore_index=True)
    checked = check_counts(clips, root)
    if from_audio:
        clips = pd.concat(
            [
                with_audio(irmas_clips, irmas_audio(root), out),
                with_audio(openmic_clips, openmic_audio(root, openmic_clips["clip"]), out),
            ],
            ignore_index=True,
        )
    elif not embeddings.is_file():
        raise CorpusError(
            f"{embeddings}: no such file; run `biasmir fetch paper-embeddings` first (with the "
            f"same --root), or take the audio (--from-audio)"
        )
    elif not list_embeddings(embeddings, ["irmas", "openmic"]):
        raise CorpusError(f"{embeddings}: no embeddings in the groups /irmas and /openmic")

    tables = [*lists.values(), *(openmic / name for name in openmic_tables.FILES)]
    used = [*tables, root / IRMAS_FOLDER if from_audio else published]
    writer = CorpusWriter(
        out,
        name="paper",
        title="IRMAS and OpenMIC-2018, as in Wang, Richard and McFee (ISMIR 2023)",
        datasets=["irmas", "openmic"],
        groups=GENRES,
        targets=[Target(name, "label") for name in INSTRUMENTS],
        provenance={
            "made_by": f"biasmir prepare paper{' --from-audio' if from_audio else ''}",
            "versions": versions("numpy", "pandas"),
            "sources": {str(path.relative_to(root)): sha256(path) for path in tables},
            "unchecked": unchecked_inputs(root, used),
            "left_out": {
                "irmas": {"genre lat_sou": irmas_dropped},
                "openmic": {"no matching genre": openmic_dropped},
            },
            "counts_as_published": checked,
        },
        licences=LICENCES[:2] if from_audio else LICENCES,
    )
    corpus = writer.write(clips)
    return corpus if from_audio else corpus.add_embedding_file(embeddings)
