"""What the chapters need to show: whether their sentences hold, tables, clips to hear.

Nothing here computes a result. Outputs are plain HTML and Markdown, so that they look alike in
JupyterLab, on Colab and in the built book, and need no script.
"""

from __future__ import annotations

import base64
import html
import io
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from itertools import chain, repeat
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from biasmir_utils.corpus import Corpus
from biasmir_utils.errors import ArgumentError, AudioError
from biasmir_utils.experiments import plan_evaluation

with warnings.catch_warnings():
    # librosa imports it, and would have it recommend widgets in the middle of a chapter.
    warnings.simplefilter("ignore")
    import tqdm.auto  # noqa: F401

_TYPES = {".mp3": "mpeg", ".ogg": "ogg", ".flac": "flac", ".wav": "wav", ".m4a": "mp4"}
# Excerpts: Hz; RMS level in dB relative to full scale and its limit; seconds of fade at either end;
# libsndfile's compression level at constant bit rate, 32 kbit/s in mono at 24 kHz.
_EXCERPT_RATE = 24_000
_LEVEL_DB, _PEAK = -20.0, 0.89
_FADE_SECONDS = 0.02
_MP3_COMPRESSION = 0.85
_MINUS = "\N{MINUS SIGN}"
# What `with_interval` writes.
_WITH_INTERVAL = re.compile(rf"([+{_MINUS}]?[\d.,]+(?: %)?) (\[[^\]]*\])")
_NUMBER = re.compile(rf"[+{_MINUS}]?[\d.,]+(?: %)?|nan|\N{{EN DASH}}")
# Longer cells of a table are broken into lines.
_LONGEST_LINE = 40
_ROOM = 80
"""Characters of a table's line for which a page of the book has room, without scrolling."""
_RECORD = "application/vnd.biasmir.text+json"


def check_text(
    values: Mapping[str, Any] | Callable[[], Mapping[str, Any]] | None = None,
    claims: Mapping[str, Any] | Callable[[], Mapping[str, Any]] | None = None,
) -> None:
    """Record what a chapter's sentences say of this run; name the claims that do not hold.

    Numbers stand in the prose as they are read, with an HTML comment behind each that no reader
    sees: its name here and its format, `0.817<!-- home .3f -->`. The book's build compares them
    with what was recorded, and refuses a number or a claim that this run contradicts. Whoever runs
    the chapter with other parameters sees once which claims do not hold.

    Parameters
    ----------
    values : mapping of str to number or str, optional
        What the prose quotes, by name. The mapping, or any of its entries, may be a function
        without arguments; where that raises `KeyError`, `IndexError`, `ValueError` or `TypeError`,
        the sentence is about something that this corpus does not have.
    claims : mapping of str to bool, optional
        What the prose says in words, each as a short sentence: whether it holds. Functions as in
        `values`.

    Raises
    ------
    ArgumentError
        If a value is neither a number nor a text.
    """
    from IPython.display import display

    found = {name: value for name, value in _computed(values).items() if value is not None}
    held = {name: value is not None and bool(value) for name, value in _computed(claims).items()}
    for name, value in found.items():
        found[name] = value = value.item() if isinstance(value, np.generic) else value
        if not isinstance(value, int | float | str):
            raise ArgumentError(f"values[{name!r}] must be a number or a text, not {value!r}")
    shown: dict[str, Any] = {_RECORD: {"values": found, "claims": held}}
    wrong = [f"- {name}" for name, true in held.items() if not true]
    if wrong or (values and not found) or (claims and not held):
        head = "Sentences of this chapter do not hold, or make no sense, with these parameters"
        tail = (
            "Numbers within sentences are those of the bundled corpus; those in tables and figures "
            "are of this run."
        )
        parts = [f"**{head}{':' if wrong else '.'}**", "\n".join(wrong), tail]
        shown["text/markdown"] = "\n\n".join(filter(None, parts))
    display(shown, raw=True)


def _computed(given: Any) -> dict[str, Any]:
    """Return the entries of a mapping, with functions called; None for what does not exist."""

    def value(of: Any) -> Any:
        try:
            return of() if callable(of) else of
        except (LookupError, ValueError, TypeError):
            return None

    return {name: value(of) for name, of in (value(given) or {}).items()}


def _number(value: float, decimals: int = 3, sign: bool = False) -> str:
    """Write a number with a true minus sign, none before a zero, and commas at thousands."""
    text = f"{abs(value):,.{decimals}f}"
    if not text.strip("0."):
        return text
    return (_MINUS if value < 0 else "+" if sign else "") + text


def with_interval(
    value: float, low: float, high: float, decimals: int = 3, sign: bool = False
) -> str:
    """Write a value with its interval, such as `0.812 [0.790, 0.833]`.

    Parameters
    ----------
    value, low, high : float
        The value, and the ends of its interval.
    decimals : int
        Digits after the point, 0 or more.
    sign : bool
        Whether a positive number gets its sign too.
    """
    return "{} [{}, {}]".format(*(_number(one, decimals, sign) for one in (value, low, high)))


def _listed(words: Iterable[Any]) -> str:
    """Join words as a sentence does: `a`, `a and b`, `a, b and c`."""
    *first, last = [str(word) for word in words] or [""]
    return f"{', '.join(first)} and {last}" if first else last


def show_table(
    table: pd.DataFrame,
    caption: str,
    decimals: int | Mapping[str, int] = 3,
    sign: Iterable[str] = (),
) -> None:
    """Display a table with a caption; numbers, with intervals or not, are aligned to the right.

    Where a table with intervals would be wider than a page, these stand under their values.

    Parameters
    ----------
    table : pandas.DataFrame
        The index becomes the first column, its name the heading.
    caption : str
        What the table says, with units.
    decimals : int or mapping of column to int
        Decimals of floats.
    sign : iterable of str
        Columns whose positive numbers get a sign.
    """
    from IPython.display import HTML, display

    signed = set(sign)

    def written(value: Any, column: Any) -> str:
        if isinstance(value, float):
            places = decimals if isinstance(decimals, int) else decimals.get(column, 3)
            shown = _number(value, places, column in signed)
            return "\N{EN DASH}" if pd.isna(value) else shown
        if isinstance(value, Integral) and not isinstance(value, bool):
            return _number(int(value), 0, column in signed)
        return str(value)

    texts = {name: [written(value, name) for value in table[name]] for name in table}
    first = [str(name) for name in table.index]
    # About how many characters wide, margins included; headings are broken at spaces.
    columns = [(table.index.name, first), *texts.items()]
    longest = [max(map(len, [*str(name or "").split(), *cells, ""])) for name, cells in columns]
    stacked = sum(longest) + 2 * len(longest) > _ROOM

    def cell(text: str) -> str:
        found = _WITH_INTERVAL.fullmatch(text) if stacked else None
        if found is None:
            return _unbroken(text)
        return f"{_unbroken(found[1])} <br><small>{_unbroken(found[2])}</small>"

    left = "text-align: left"
    style = {name: _alignment(table[name], texts[name]) for name in table}
    heads = [(table.index.name or "", left), *style.items()]
    # Headings may be broken into lines, whatever stands below them.
    head = "".join(
        f'<th scope="col" style="{look.split(";")[0]}">{_unbroken(str(name))}</th>'
        for name, look in heads
    )
    body = ""
    for row, name in enumerate(first):
        cells = (f'<td style="{look}">{cell(texts[one][row])}</td>' for one, look in style.items())
        body += f'<tr><th scope="row" style="{left}">{_unbroken(name)}</th>{"".join(cells)}</tr>'
    # Focusable, so that a table wider than the screen can be scrolled with the keyboard too. Its
    # caption scrolls with it, and so is no wider than a phone or the text.
    display(
        HTML(
            f'<div role="region" tabindex="0" aria-label="{_unbroken(caption)}" '
            'style="overflow-x: auto"><table class="dataframe"><caption style="text-align: left">'
            '<span style="display: block; max-width: min(80vw, 40rem)">'
            f"{_unbroken(caption)}</span></caption>"
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
        )
    )


def _alignment(column: pd.Series, texts: list[str]) -> str:
    """Return the style of a column: numbers to the right, with or without intervals."""
    if pd.api.types.is_numeric_dtype(column):
        return "text-align: right"
    intervals = [text for text in texts if _WITH_INTERVAL.fullmatch(text)]
    if intervals and all(text in intervals or _NUMBER.fullmatch(text) for text in texts):
        return "text-align: right; white-space: nowrap"
    short = max(map(len, texts), default=0) <= _LONGEST_LINE
    return "text-align: left; white-space: nowrap" if short else "text-align: left"


def _unbroken(text: str) -> str:
    """Return a text as HTML; no line breaks before a percent sign."""
    return re.sub(r"(?<=\d) %", "\N{NO-BREAK SPACE}%", html.escape(text))


def chapter_corpus(
    path: Path | str,
    embeddings: str | Iterable[str],
    seed: int,
    needs: Iterable[str] = (),
    datasets: int = 2,
) -> tuple[Corpus, list[str]]:
    """Load what a chapter can use of a corpus, or tell what it needs, before anything runs.

    Clips without one of the embeddings and labels that no recogniser can be trained for are taken
    out of what is returned, and a sentence says so. Sound that no browser plays counts as none.

    Parameters
    ----------
    path : path
        The parameter `CORPUS`.
    embeddings : str or iterable of str
        The parameter `EMBEDDINGS`: one name, or several.
    seed : int
        The parameter `SEED`, 0 to 2**32 - 1.
    needs : iterable of str
        Columns of the clip table that the chapter cannot do without.
    datasets : int
        How many datasets the corpus must have.

    Returns
    -------
    corpus : Corpus
    embeddings : list of str
        Each once.

    Raises
    ------
    ArgumentError
        In one sentence, what the chapter needs and the corpus has not.
    """
    names = list(dict.fromkeys([embeddings] if isinstance(embeddings, str) else embeddings))
    corpus = Corpus.load(path)
    clips, found = corpus.clips, corpus.datasets
    files = [corpus.audio_path(row) for row in range(len(clips))]
    heard = np.array([bool(f and f.suffix.lower() in _TYPES and f.is_file()) for f in files])
    clips["audio"] = clips["audio"].where(heard)
    held = clips.groupby("dataset").count().gt(0).all()
    lacking = [f"clips with {name} in each" for name in needs if not held.get(name)]
    if len(found) != datasets or lacking:
        needed = _listed([f"{datasets} datasets", *lacking])
        raise ArgumentError(f"{path}: this chapter needs {needed}; there are {_listed(found)}")
    if not isinstance(seed, Integral) or not 0 <= seed < 2**32:
        raise ArgumentError(f"SEED must be a whole number from 0 to {2**32 - 1}, not {seed!r}")
    used, plan = corpus.complete(names), plan_evaluation(corpus, names, seed=seed)
    usable = {task.subject.name for task in plan.tasks}
    unfit = {
        one["label"]: f"the label {one['label']} ({one['reason']})"
        for one in plan.skipped
        if one["label"] not in usable
    }
    left = list(unfit.values())
    if not plan.tasks:
        raise ArgumentError(f"{path}: no recogniser can be trained for {_listed(left)}")
    if not used.all():
        left.insert(0, f"{(~used).sum()} clips without an embedding")
        corpus = Corpus.load(path)  # one that has read no embedding yet
        corpus.clips = clips[used].reset_index(drop=True)
    corpus.targets = [target for target in corpus.targets if target.name not in unfit]
    if left:
        from IPython.display import Markdown, display

        display(Markdown(f"Left out of this chapter: {_listed(left)}."))
    return corpus, names


def describe(corpus: Corpus, row: int) -> str:
    """Return what a clip is, in words: `solo: cello, classical`."""
    clip = corpus.clips.iloc[row]
    labels = _listed(label for label in corpus.labels if clip[label] >= 0.5) or "no label"
    group = "" if pd.isna(clip["group"]) else f", {str(clip['group']).replace('_', ' ')}"
    return f"{clip['dataset']}: {labels}{group}"


def examples(corpus: Corpus, label: str, each: int = 1) -> list[int]:
    """Find clips with a label that can be heard, as many of each dataset, few other labels first.

    Parameters
    ----------
    corpus : Corpus
        Where the clips are looked for.
    label : str
    each : int
        Clips of each dataset, at most.

    Returns
    -------
    list of int
        Their rows in `corpus.clips`, by turns from the datasets; none where one has none.
    """
    heard = corpus.clips[corpus.clips["audio"].notna() & (corpus.clips[label] >= 0.5)]
    fewest = (heard[corpus.labels] >= 0.5).sum(axis=1).sort_values(kind="stable").index
    found = [fewest[heard.loc[fewest, "dataset"] == one][:each] for one in corpus.datasets]
    return [int(row) for turn in zip(*found, strict=False) for row in turn]


def hear(corpus: Corpus, rows: Iterable[int], words: Iterable[str] = ()) -> None:
    """Display players of some clips under what they are; of none, a sentence that says so.

    Parameters
    ----------
    corpus : Corpus
    rows : iterable of int
        Rows of `corpus.clips` that can be heard.
    words : iterable of str, optional
        What stands before the description of each.
    """
    from IPython.display import Markdown, display

    clips: dict[str, Path] = {}
    for word, row in zip(chain(words, repeat("")), rows, strict=False):
        text, path = f"{word} {describe(corpus, row)}".strip(), corpus.audio_path(row)
        text = text[0].upper() + text[1:]
        while text in clips:  # another clip that is described alike
            text += ", another"
        clips |= {text: path} if path else {}
    if clips:
        players(clips)
    else:
        display(Markdown("*This corpus has no clip that could be heard here.*"))


def players(clips: Mapping[str, Path | str], seconds: float | None = None) -> None:
    """Display players beside one another, each under its label; nothing plays by itself.

    The sound files are put into the page as they are: no change of level, no conversion.

    Parameters
    ----------
    clips : mapping of str to path
        Label and sound file: MP3 plays in every browser.
    seconds : float, optional
        Cut all to this length, from their beginning, for a comparison that the length must not
        give away; then they are encoded anew, at one level.

    Raises
    ------
    AudioError
        If a file is missing.
    ArgumentError
        If its suffix is none that a browser plays.
    """
    from IPython.display import HTML, display

    from biasmir_utils.embeddings import read_audio

    figures = ""
    for label, file in clips.items():
        path, suffix = Path(file), Path(file).suffix.lower()
        if suffix not in _TYPES:
            raise ArgumentError(
                f"{path}: browsers play {', '.join(_TYPES)}, not {suffix or 'this'}"
            )
        if not path.is_file():
            raise AudioError(f"{path}: no such sound file")
        content = path.read_bytes()
        if seconds is not None:
            waveform, rate = read_audio(path)
            content, suffix = encode_excerpt(waveform.mean(axis=1), rate, seconds, 0)[0], ".mp3"
        data, text = base64.b64encode(content).decode("ascii"), html.escape(label)
        figures += (
            '<figure style="margin: 0; flex: 1 1 15rem; max-width: 26rem">'
            f"<figcaption>{text}</figcaption>"
            f'<audio controls preload="metadata" aria-label="{text}" style="width: 100%" '
            f'src="data:audio/{_TYPES[suffix]};base64,{data}"></audio></figure>'
        )
    display(HTML(f'<div style="display: flex; flex-wrap: wrap; gap: 0.75rem">{figures}</div>'))


def encode_excerpt(
    wave: NDArray[np.float32], rate: int, seconds: float, start: float | None = None
) -> tuple[bytes, float, float]:
    """Cut a stretch out of a clip, bring it to the common level, and encode it as MP3.

    Parameters
    ----------
    wave : ndarray, (n,)
        Mono.
    rate : int
        In Hz.
    seconds : float
        Length of the excerpt.
    start : float, optional
        Where in the clip it begins, in seconds; by default where the clip is loudest.

    Returns
    -------
    content : bytes
    start : float
        Where in the clip it begins, in seconds.
    gain_db : float
        By how much it was made louder.
    """
    import soundfile
    import soxr

    length = min(round(seconds * rate), len(wave))
    power = np.concatenate([[0.0], np.cumsum(np.square(wave, dtype=np.float64))])
    # Half seconds are enough to land on music rather than on a rest.
    starts = np.arange(0, len(wave) - length + 1, max(rate // 2, 1))
    first = int(starts[np.argmax(power[starts + length] - power[starts])])
    if start is not None:
        first = round(start * rate)
    part = soxr.resample(wave[first : first + length], rate, _EXCERPT_RATE, "VHQ")
    level = max(float(np.sqrt(np.mean(np.square(part, dtype=np.float64)))), 1e-9)
    peak = max(float(np.abs(part).max()), 1e-9)
    gain = min(10 ** (_LEVEL_DB / 20) / level, _PEAK / peak)
    fade = np.minimum(1, np.arange(len(part)) / (_FADE_SECONDS * _EXCERPT_RATE))
    buffer = io.BytesIO()
    mp3 = {"format": "MP3", "subtype": "MPEG_LAYER_III", "bitrate_mode": "CONSTANT"}
    excerpt = (part * gain * fade * fade[::-1]).astype(np.float32)
    soundfile.write(buffer, excerpt, _EXCERPT_RATE, compression_level=_MP3_COMPRESSION, **mp3)
    return buffer.getvalue(), round(first / rate, 3), round(float(20 * np.log10(gain)), 2)
