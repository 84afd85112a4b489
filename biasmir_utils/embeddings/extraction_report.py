"""What an extraction did, for people and as a table."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from biasmir_utils.corpus import Corpus
from biasmir_utils.embeddings.parts import Contents
from biasmir_utils.files import atomic_path

LISTED = 20
"""Clips left out that a summary names; the table has all."""


@dataclass
class ExtractionReport:
    """What an extraction did.

    Attributes
    ----------
    embedding : str
    file : pathlib.Path
        The embedding file.
    n_embedded : int
        Clips embedded now.
    n_before : int
        Clips found embedded already.
    n_without_audio : int
        Clips of the table that name no sound file.
    notes : pandas.DataFrame
        Columns `dataset`, `clip`, `audio`, `status` (`skipped` or `silent`) and `reason`, for
        the whole embedding file.
    seconds : float
        Time taken by the embedding.
    audio_seconds : float
        Length of the sound embedded in that time.
    corpus : Corpus
        The corpus, read anew.
    """

    embedding: str
    file: Path
    n_embedded: int
    n_before: int
    n_without_audio: int
    notes: pd.DataFrame
    seconds: float
    audio_seconds: float
    corpus: Corpus = field(repr=False)

    @property
    def skipped(self) -> pd.DataFrame:
        """The clips left out, with reasons."""
        return self.notes[self.notes["status"] == "skipped"].reset_index(drop=True)

    def summary(self) -> str:
        """Return a text for people: counts, speed, and the clips left out with reasons."""
        line = f"{self.embedding}: {_clips(self.n_embedded)} embedded"
        if self.n_embedded and self.seconds:
            line += (
                f" in {self.seconds:.1f} s ({self.n_embedded / self.seconds:.1f} clips a second, "
                f"{self.audio_seconds / self.seconds:.0f} s of sound a second)"
            )
        lines = [f"{line}, {self.n_before} there already"]
        if self.n_without_audio:
            lines.append(f"  {_clips(self.n_without_audio)} without a sound file")
        n_silent = int((self.notes["status"] == "silent").sum())
        if n_silent:
            lines.append(f"  {_clips(n_silent)} of silence, embedded all the same")
        skipped = self.skipped
        if len(skipped):
            lines.append(f"  {_clips(len(skipped))} left out (--retry tries them again):")
            shown = skipped.head(LISTED).itertuples()
            lines += [f"    {row.dataset}/{row.clip}: {row.reason}" for row in shown]
            if len(skipped) > LISTED:
                lines.append(f"    and {len(skipped) - LISTED} more")
        lines.append(f"  in {self.file}")
        if len(self.notes):
            lines.append(f"  table of left-out and silent clips: {notes_path(self.file)}")
        return "\n".join(lines)


def notes_path(target: Path) -> Path:
    """Return where the table of left-out and silent clips of an embedding file is."""
    return target.with_suffix(".notes.csv")


def make_report(
    corpus: Corpus,
    name: str,
    target: Path,
    contents: Contents,
    n_embedded: int,
    n_before: int,
    seconds: float,
    audio_seconds: float,
) -> ExtractionReport:
    """Describe what an embedding file has now, and how it came to that."""
    clips = zip(corpus.clips["dataset"], corpus.clips["clip"], strict=True)
    position = {key: number for number, key in enumerate(clips)}
    rows = [
        (*key, status, said[key])
        for status, said in (("skipped", contents.skipped), ("silent", contents.noted))
        for key in sorted(said, key=lambda key: position.get(key, len(position)))
    ]
    notes = pd.DataFrame(rows, columns=["dataset", "clip", "status", "reason"])
    notes = notes.merge(corpus.clips[["dataset", "clip", "audio"]], how="left")
    notes = notes[["dataset", "clip", "audio", "status", "reason"]]
    return ExtractionReport(
        embedding=name,
        file=target,
        n_embedded=n_embedded,
        n_before=n_before,
        n_without_audio=int(corpus.clips["audio"].isna().sum()),
        notes=notes,
        seconds=seconds,
        audio_seconds=audio_seconds,
        corpus=corpus,
    )


def write_notes(report: ExtractionReport) -> None:
    """Write the table of left-out and silent clips, or remove it if there are none."""
    path = notes_path(report.file)
    if len(report.notes):
        with atomic_path(path) as temporary:
            report.notes.to_csv(temporary, index=False)
    else:
        with suppress(FileNotFoundError):
            path.unlink()


def _clips(n: int) -> str:
    return "1 clip" if n == 1 else f"{n} clips"
