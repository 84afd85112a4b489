"""What `biasmir info` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from biasmir_utils.corpus._corpus import Corpus

NO_GROUP = "(none)"


def split_counts(corpus: Corpus) -> pd.DataFrame:
    """Return clips and tracks for each dataset and split."""
    grouped = corpus.clips.groupby(["dataset", "split"], sort=False)
    counts = pd.DataFrame(
        {
            "clips": grouped.size(),
            "tracks": grouped["track"].nunique(),
            "with audio": grouped["audio"].count(),
        }
    )
    return counts.reindex(_cells(corpus))


def label_counts(corpus: Corpus) -> pd.DataFrame:
    """Return `positive/observed` for each label, dataset and split."""
    columns = {}
    for dataset, split in _cells(corpus):
        part = _part(corpus, dataset, split)[corpus.labels]
        positive, observed = (part >= 0.5).sum(), part.notna().sum()
        columns[dataset, split] = positive.astype(str) + "/" + observed.astype(str)
    return pd.DataFrame(columns, index=corpus.labels)


def group_counts(corpus: Corpus) -> pd.DataFrame:
    """Return the clips of each group, dataset and split; clips without a group come last."""
    columns = {
        (dataset, split): _part(corpus, dataset, split)["group"].fillna(NO_GROUP).value_counts()
        for dataset, split in _cells(corpus)
    }
    table = pd.DataFrame(columns).reindex([*corpus.groups, NO_GROUP]).fillna(0).astype(int)
    return table if table.loc[NO_GROUP].any() else table.drop(index=NO_GROUP)


def embedding_table(corpus: Corpus) -> pd.DataFrame:
    """Return dimension, clips with and without, and unlisted clips for each embedding."""
    rows = {}
    for name in corpus.embedding_names:
        complete = corpus.complete([name])
        rows[name] = {
            "dimensions": corpus.dimension(name),
            "clips": int(complete.sum()),
            "missing": int((~complete).sum()),
            "not in the table": corpus.n_unlisted(name),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def summarise(corpus: Corpus) -> str:
    """Return a text: counts by dataset and split, embeddings with their gaps, warnings."""
    sections = [f"{corpus.title} ({corpus.name})\n{corpus.path}"]
    sections.append(_titled("Clips", split_counts(corpus)))
    if corpus.shared_tracks:
        sections[-1] += "\n  A track of one name is the same track in all datasets."
    if corpus.labels:
        sections.append(_titled("Labels, positive/observed", label_counts(corpus)))
    others = [target for target in corpus.targets if target.kind != "label"]
    if others:
        lines = [
            f"  {target.name} ({target.kind}{', ' + target.unit if target.unit else ''}): "
            f"{int(corpus.clips[target.name].notna().sum())} clips"
            for target in others
        ]
        sections.append("Other targets\n" + "\n".join(lines))
    if corpus.groups:
        sections.append(_titled("Groups", group_counts(corpus)))
    if corpus.embedding_names:
        sections.append(_titled("Embeddings", embedding_table(corpus)))
        for name in corpus.embedding_names:
            missing = corpus.missing(name)
            if len(missing):
                counts = missing["reason"].value_counts()
                lines = [f"  {count} x {reason}" for reason, count in counts.items()]
                sections.append(f"Clips without {name}\n" + "\n".join(lines))
    else:
        sections.append("Embeddings\n  none yet (see `biasmir extract`)")
    if corpus.warnings:
        sections.append("Warnings\n" + "\n".join(f"  {text}" for text in corpus.warnings))
    return "\n\n".join(sections)


def _cells(corpus: Corpus) -> list[tuple[str, str]]:
    present = set(zip(corpus.clips["dataset"], corpus.clips["split"], strict=True))
    return [
        (dataset, split)
        for dataset in corpus.datasets
        for split in ("train", "test")
        if (dataset, split) in present
    ]


def _part(corpus: Corpus, dataset: str, split: str) -> pd.DataFrame:
    return corpus.clips[(corpus.clips["dataset"] == dataset) & (corpus.clips["split"] == split)]


def _titled(title: str, table: pd.DataFrame) -> str:
    lines = table.to_string().splitlines()
    return title + "\n" + "\n".join(f"  {line}" for line in lines)
