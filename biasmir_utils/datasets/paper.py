"""The paper's corpus: IRMAS and OpenMIC-2018, with the published embeddings or from the audio.

Source: C. Wang, G. Richard and B. McFee, "Transfer learning and bias correction with pre-trained
audio embeddings", ISMIR 2023; embeddings in Zenodo record 8126908.
"""

from __future__ import annotations

import os
from pathlib import Path

from biasmir_utils.corpus import Corpus, EmbeddingFile, list_embeddings
from biasmir_utils.datasets import base, irmas, openmic
from biasmir_utils.errors import CorpusError


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
        The folder that holds `paper/` (`embeddings.h5`, `irmas_train.csv`, `irmas_test.csv`) and
        `openmic-2018/`; for the audio also `IRMAS-TrainingData/`.
    out : path
        The corpus folder to make.
    from_audio : bool
        Whether the corpus has the audio of both data sets, in place, and no embeddings yet,
        instead of the published ones.

    Raises
    ------
    CorpusError
        Naming the file and row that cannot be used; nothing is written then.
    """
    root = Path(root)
    published = root / "paper" / "embeddings.h5"
    embeddings, audio = published.resolve(), root / irmas.IRMAS_FOLDER
    clips = {
        "irmas": irmas.read_irmas(root),
        "openmic": openmic.read_openmic(root, base.INSTRUMENTS),
    }
    if from_audio:
        clips["irmas"] = base.with_audio(clips["irmas"], audio, irmas.irmas_audio(root), out)
        clips["openmic"] = openmic.with_openmic_audio(clips["openmic"], root, out)
    else:
        base.existing(embeddings, "paper-embeddings", ", or take the audio (--from-audio)")
        if not list_embeddings(embeddings, list(clips)):
            raise CorpusError(f"{embeddings}: no embeddings in the groups /irmas and /openmic")
    return base.write_corpus(
        out,
        root,
        clips,
        audio if from_audio else published,
        base.INSTRUMENTS,
        name="paper",
        flags=" --from-audio" if from_audio else "",
        only_groups=True,  # clips of genres that only one of the data sets has are not the paper's
        title="IRMAS and OpenMIC-2018, as in Wang, Richard and McFee (ISMIR 2023)",
        embedding_files=[] if from_audio else [EmbeddingFile(str(embeddings))],
    )


base.add_dataset(
    base.Dataset(
        name="paper",
        title="The paper's corpus",
        prepare=prepare_paper,
        help="Make the corpus of the paper in OUT: IRMAS and OpenMIC-2018, published embeddings.",
        needs="paper/ (embeddings and IRMAS split) and openmic-2018/ (the archive)",
        options={
            "from_audio": "With the audio of both, in place (also IRMAS-TrainingData/), instead "
            "of embeddings."
        },
    )
)
base.add_dataset(
    base.Dataset(
        name="paper-embeddings",
        title="The embeddings that the paper's authors published: VGGish, OpenL3 and YAMNet of "
        "both data sets",
        licence="not known to this program; the record of the embeddings states it, at its address",
        page="https://zenodo.org/records/8126908",
        files=(
            base.RemoteFile(
                name="embeddings.h5",
                url="https://zenodo.org/records/8126908/files/embeddings.h5?download=1",
                to="paper/embeddings.h5",
                doi="10.5281/zenodo.8126908",
            ),
        ),
    )
)
