"""book/real-data.md, word by word: its files are written, its Python and its commands are run.

The tables of remote files have the sums of small stand-ins; nothing else is changed.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from running import run_command
from stand_in import PaperFiles, serve, synthetic_clips, synthetic_features, tarred, tone

from biasmir_utils.corpus import Corpus
from biasmir_utils.datasets import DATASETS

pytestmark = pytest.mark.xdist_group("real data")

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "book" / "real-data.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\{code-block\} )?(\w+)\n(?::caption: (\S+)\n\n)?(.*?)^```$", re.M | re.S)
WEIGHTS = "openl3_audio_mel256_music-v0_4_0.h5.gz"
NETWORKS = ("vggish", "yamnet", "openl3")


def blocks() -> list[tuple[str, str, str]]:
    """Kind, caption and text of each block of the page that can be tried."""
    found = [(kind, caption, text) for _, kind, caption, text in BLOCK.findall(PAGE)]
    assert len(found) == PAGE.count("\n```sh") + PAGE.count("\n```python") + PAGE.count(":caption:")
    return found


def commands(text: str) -> Iterator[list[str]]:
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line)
        assert words[0] == "biasmir", line
        yield words[1:]


def needs_networks(words: list[str]) -> bool:
    """Whether a command fetches or runs pre-trained networks."""
    return (words[0] == "fetch" and "models" in words) or (
        words[0] == "extract" and words[words.index("--embedding") + 1] in NETWORKS
    )


@pytest.fixture
def tried(tmp_path, monkeypatch):
    """A working folder, and a function that serves files to what runs in it."""
    monkeypatch.chdir(tmp_path)
    for name in ("BIASMIR_DATA", "BIASMIR_CACHE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "tls").mkdir()
    return lambda files: serve(files, tmp_path / "tls", monkeypatch)


def test_the_page_is_as_it_says(tried, tmp_path):
    clips = [replace(clip, audio=tone(0.2, 16_000)) for clip in synthetic_clips(64)]
    features = {
        name: synthetic_features(clips, 8, seed) for seed, name in enumerate(NETWORKS, start=1)
    }
    (tmp_path / "packed").mkdir()
    files = PaperFiles.pack(clips, features, tmp_path / "packed")
    names: dict[str, object] = {}
    left_out, last, printed = [], "", []
    with tried(files):
        for kind, caption, text in blocks():
            if kind == "python":
                exec(compile(text, "real-data.md", "exec"), names)
            elif kind == "sh":
                outputs = []
                for words in commands(text):
                    if words[0] == "fetch" and "models" in words:
                        left_out.append(words)
                        words = [word for word in words if word != "models"]
                    elif needs_networks(words):
                        left_out.append(words)
                        continue
                    outputs.append(run_command(*words))
                last = outputs[0] if outputs else ""
            elif caption == "printed":
                assert last.startswith(text), f"the page says\n{text}\nbut it was\n{last}"
                printed.append(text)
            else:
                Path(caption).write_text(text, encoding="utf-8")
                if caption == "clips.csv":
                    for audio in re.findall(r"[\w-]+/[\w-]+\.wav", text):
                        (tmp_path / "music" / audio).parent.mkdir(parents=True, exist_ok=True)
                        (tmp_path / "music" / audio).write_bytes(tone(0.5, 16_000))
    # The other test has these.
    assert [words[0] for words in left_out] == ["fetch", "extract", "extract", "extract"]
    assert len(printed) == 1

    # What the page says of what was made.
    report = Path("paper-data/reproduction/report.txt").read_text()
    assert "144 of 144 published means matched" in report
    assert (
        Path("paper-results.csv").read_bytes()
        == Path("paper-data/reproduction/results.csv").read_bytes()
    )
    mine = Corpus.load("my-corpus")
    assert mine.title == "Studio and stage"
    assert mine.labels == ["piano", "voice"]
    assert mine.complete(["mfcc"]).all()
    assert [t.name for t in Corpus.load("named-corpus").targets] == ["piano", "voice"]
    birds = Corpus.load("bird-corpus")
    assert birds.labels == ["blackbird", "robin", "wren"]
    assert birds.clips["robin"].isna().sum() == 1
    made_up, framed = Corpus.load("made-up"), Corpus.load("framed")
    for name in ("framed", "plain"):
        np.testing.assert_allclose(
            framed.embedding(name), made_up.embedding("mine"), atol=0.5 if name == "framed" else 0
        )
    assert len(framed.frames("framed", "studio", "clip-000")) == 3


def test_the_networks_of_the_page(shared, tried, tmp_path):
    pytest.importorskip("tensorflow")
    from small_sounds import save_vggish_like

    save_vggish_like(tmp_path / "like-vggish")
    weights = (shared / "models" / "openl3" / "openl3_audio_mel256_music.h5.gz").read_bytes()
    # One clip of each track: few enough for extraction to start no processes.
    few = [clip for clip in synthetic_clips(8) if clip.number == (clip.dataset == "irmas")]
    packed = PaperFiles.pack([replace(clip, audio=tone(1.1, 16_000)) for clip in few])
    packed.content.update(
        {
            "vggish_1.tar.gz": tarred(tmp_path / "like-vggish"),
            "yamnet_1.tar.gz": tarred(shared / "models" / "yamnet"),
            WEIGHTS: weights,
        }
    )
    done = []
    with tried(packed):
        for kind, _, text in blocks():
            for words in commands(text) if kind == "sh" else ():
                prepares = words[:3] == ["prepare", "paper", "sound-corpus"]
                if needs_networks(words) or prepares:
                    run_command(*words)
                    done.append(words[0])
    assert done == ["fetch", "prepare", "extract", "extract", "extract"]
    corpus = Corpus.load("sound-corpus")
    assert [corpus.dimension(name) for name in NETWORKS] == [128, 1024, 512]
    assert corpus.complete(NETWORKS).all()


def test_sizes_and_times_are_those_of_the_table_of_sources():
    """Gigabytes as the page writes them, and minutes at 10 MB/s."""
    rows = [line.split("|")[1:-1] for line in PAGE.splitlines() if line.startswith("| `")]
    cells = {row[0].strip(" `"): [cell.strip() for cell in row] for row in rows}
    for name in ("openmic", "irmas", "models"):
        sizes = [file.size / 1e9 for file in DATASETS[name].files]
        unpacked = sum(file.unpacked for file in DATASETS[name].files) / 1e9
        download, disk, time = cells[name][2:5]
        assert download == f"{sum(sizes):.1f} GB"
        assert disk == f"{sum(sizes):.1f} GB and {unpacked:.1f} GB unpacked"
        minutes = round(1000 * sum(sizes) / 10 / 60)
        assert time == ("a minute" if minutes == 1 else f"{minutes} minutes")
