"""Running notebooks and building pages, on small ones made for the test; the explorer's data."""

from __future__ import annotations

import base64
import html
import io
import json
import os
import re
import shutil
import sys
from itertools import pairwise
from pathlib import Path

import nbformat
import numpy as np
import pytest
import soundfile
from bs4 import BeautifulSoup
from papermill import PapermillExecutionError
from PIL import Image

import build
import decisions
import execute
import explorer
import notebooks
import sounds
import widths
from biasmir_book import PLAYER, with_spectrogram
from biasmir_utils.corpus import Corpus
from biasmir_utils.notebook import encode_excerpt

ROOT = Path(__file__).resolve().parent.parent.parent

# Of all excerpts, dB relative to full scale.
LEVEL_DB = -20


def write_notebook(path: Path, *sources: str) -> Path:
    notebook = nbformat.v4.new_notebook()
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "x", "language": "python"}
    notebook.cells = [nbformat.v4.new_markdown_cell("# The first chapter\n\n## The end of it")]
    for source in sources:
        tags = {"tags": ["parameters"]} if source.startswith("seed =") else {}
        notebook.cells.append(nbformat.v4.new_code_cell(source, metadata=tags))
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    return path


# Running


def test_a_notebook_runs_in_its_own_folder_with_this_python_and_its_memory_is_measured(tmp_path):
    notebook = write_notebook(
        tmp_path / "here" / "a.ipynb",
        "seed = 3",
        "import os, sys, time; print(os.getcwd(), sys.executable, seed)",
        "held = bytearray(os.urandom(1)) * 300_000_000; time.sleep(0.5)",
    )
    target = tmp_path / "out" / "a.ipynb"
    run = execute.execute(notebook, target, {"seed": 8})
    cells = nbformat.read(target, as_version=4).cells
    said = "".join(output.text for cell in cells for output in cell.get("outputs", []))
    assert said.split() == [str(notebook.parent), sys.executable, "8"]
    assert 300 < run["peak_megabytes"] < 1000
    assert 0.5 < run["slowest_cell"] <= run["seconds"]
    # Neither the hour nor paths of this machine but those that the notebook itself printed.
    assert "papermill" not in {key for cell in cells for key in cell.metadata}
    assert target.read_text().count(str(tmp_path)) == 1


def test_a_cell_that_fails_is_an_error_and_leaves_nothing(tmp_path):
    notebook = write_notebook(tmp_path / "a.ipynb", "1 / 0")
    with pytest.raises(PapermillExecutionError, match="ZeroDivisionError"):
        execute.execute(notebook, tmp_path / "out" / "a.ipynb")
    assert not (tmp_path / "out").exists()


def test_only_what_is_older_than_its_sources_is_run_again(tmp_path, monkeypatch):
    monkeypatch.setattr(execute, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "argv", ["execute.py", "--out", str(tmp_path)])
    (tmp_path / "constraints.txt").touch()
    for name in "ab":
        write_notebook(tmp_path / "notebooks" / f"{name}.ipynb", "1")
    ran = []

    def run(source: Path, target: Path) -> dict[str, float]:
        ran.append(source.stem)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        return {"seconds": 1.0, "slowest_cell": 1.0, "peak_megabytes": 1.0}

    def times(path: Path, by: float) -> None:
        os.utime(path, (path.stat().st_atime, path.stat().st_mtime + by))

    monkeypatch.setattr(execute, "execute", run)
    for source in (*(tmp_path / "notebooks").iterdir(), tmp_path / "constraints.txt"):
        times(source, -100)
    execute.main()
    execute.main()
    assert ran == ["a", "b"]
    changed = nbformat.read(tmp_path / "notebooks" / "b.ipynb", 4)
    changed.cells[0].source += ", in other words"
    nbformat.write(changed, tmp_path / "notebooks" / "b.ipynb")
    execute.main()
    assert ran == ["a", "b"], "no prose is run"
    changed.cells[1].source = "2"
    nbformat.write(changed, tmp_path / "notebooks" / "b.ipynb")
    execute.main()
    assert ran == ["a", "b", "b"]
    module = tmp_path / "biasmir_utils" / "a.py"
    module.parent.mkdir()
    module.touch()
    times(module, 300)
    monkeypatch.setattr(sys, "argv", [*sys.argv, "a"])
    execute.main()
    assert ran == ["a", "b", "b", "a"]
    runs = json.loads((tmp_path / "_build" / "staged" / "timings.json").read_text())
    assert set(runs) == {"a.ipynb", "b.ipynb"}


# Numbers in sentences, captions, what is folded

MINUS, SPACE = "\N{MINUS SIGN}", "\N{NO-BREAK SPACE}"
VALUES = {
    "home": 0.8168,
    "change": -0.04,
    "none": -0.001,
    "share": 0.81,
    "size": 1024,
    "name": "a b",
}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("0.817<!-- home .3f -->.", None, None),
        ("(0.82<!-- home .3f -->)", "(0.817<!-- home .3f -->)", "0.82 should be 0.817 (home)"),
        (f"*+0.1<!-- change +.2f -->*{MINUS}", f"*{MINUS}0.04<!-- change +.2f -->*{MINUS}", "+0.1"),
        ("`x`<!-- none +.2f -->", "`0.00`<!-- none +.2f -->", "x should be 0.00"),
        ("81 %<!-- share .0% -->", f"81{SPACE}%<!-- share .0% -->", None),
        ("1024<!--size\n,d-->", "1,024<!--size\n,d-->", "1024 should be 1,024"),
        ("1<!-- size d -->/2<!-- size d -->", "1024<!-- size d -->/1024<!-- size d -->", "1"),
        ("the a b<!-- name -->", None, None),
        ("the b<!-- name -->", None, "b should be a b (name)"),
        ("0.8<!-- homes .3f -->", None, "no value 'homes' was recorded"),
        ("0.8<!-- name .3f -->", None, "Unknown format code"),
        ("0.8 <!-- home .3f -->", None, "no mark of a number"),
    ],
)  # fmt: skip
def test_a_number_in_a_sentence_is_the_one_that_was_recorded(old, new, said):
    text, wrong = notebooks.renew(f"It is {old}", VALUES)
    assert text == f"It is {new or old}"
    assert len(wrong) == 0 if said is None else said in wrong[0]


CHECK = """
from biasmir_utils.notebook import check_text
check_text(values={"fall": 0.1, "depth": 2}, claims={"It falls": True, "It rises": False})
"""


def test_prose_is_compared_with_the_run_and_mended(tmp_path, monkeypatch):
    """By the tool in the sources, and by the build, which takes prose from there."""
    path = write_notebook(tmp_path / "notebooks" / "a.ipynb", "1 + 1", CHECK)
    copy = tmp_path / notebooks.EXECUTED / "a.ipynb"
    execute.execute(path, copy)
    run = notebooks.read(path)
    run.cells[0].source += "\n\nIt falls by 0.2<!-- fall .1f -->."
    run.cells[1].metadata.tags = ["hide-cell"]
    run.cells[1].outputs = [nbformat.v4.new_output("stream", text="2")]
    nbformat.write(run, path)
    left = ["does not hold: It rises", "depth is in no sentence"]
    stale = [left[0], "0.2 should be 0.1 (fall)", left[1]]
    assert build.take_prose(copy.parent, path.parent) == [f"notebooks/a.ipynb: {x}" for x in stale]
    monkeypatch.setattr(notebooks, "ROOT", tmp_path)
    for option, expected in (([], stale), (["--fix"], left), ([], left)):
        monkeypatch.setattr(sys, "argv", ["notebooks.py", str(copy.parent), *option])
        with pytest.raises(SystemExit) as ended:
            notebooks.main()
        assert str(ended.value).split("\n") == [f"notebooks/a.ipynb: {x}" for x in expected]
    mended = notebooks.read(path)
    assert mended.cells[0].source.endswith("It falls by 0.1<!-- fall .1f -->.")
    assert mended.cells[1].outputs == []
    assert mended.cells[1].metadata == {
        "cellView": "form",
        "jupyter": {"outputs_hidden": True, "source_hidden": True},
        "mystnb": {
            "code_prompt_hide": "Hide the solution",
            "code_prompt_show": "Show the solution",
        },
        "tags": ["hide-cell"],
    }
    build.take_prose(copy.parent, path.parent)
    staged = notebooks.read(copy)
    assert staged.cells[0].source == mended.cells[0].source
    assert staged.cells[1].outputs[0].data == {"text/plain": "2"}


# Building

CONFIG = """
title: A small book
only_build_toc_files: true
repository: {url: "https://github.com/you/small", branch: main}
html: {use_edit_page_button: true}
execute: {execute_notebooks: "off", stderr_output: error}
sphinx:
  recursive_update: true
  local_extensions: {biasmir_book: _ext}
  config: {myst_heading_anchors: 3, myst_heading_slug_func: biasmir_book.heading_anchor}
parse: {myst_enable_extensions: [substitution]}
"""
START = """# Start

See {{ repository }}, [how it ends](notebooks/a.ipynb#The-end-of-it) and [a fall](glossary.md#fall).

"""


@pytest.fixture
def small(tmp_path):
    """A book of three pages, ready to be built; build it with `small(notebook cell, page text)`."""
    staged = tmp_path / "_build" / "staged"
    shutil.copytree(ROOT / "book" / "_ext", staged / "_ext")
    (staged / "_config.yml").write_text(CONFIG)
    files = [
        "format: jb-book",
        "root: start",
        "chapters:",
        "- file: notebooks/a",
        "- file: glossary",
    ]
    (staged / "_toc.yml").write_text("\n".join(files))
    (staged / "glossary.md").write_text("# Glossary\n\n```{glossary}\nfall\n  What is lost.\n```\n")

    def make(cell: str = "print('said')", text: str = "", cells: list = ()) -> Path:
        source = write_notebook(tmp_path / "a.ipynb", cell)
        notebook = notebooks.read(source)
        notebook.cells += cells
        nbformat.write(notebook, source)
        execute.execute(source, staged / "notebooks" / "a.ipynb")
        (staged / "start.md").write_text(START + text)
        return build.build(tmp_path)

    return make


def test_links_to_sections_and_terms_are_followed(small):
    page = (small() / "start.html").read_text()
    assert 'href="notebooks/a.html#the-end-of-it"' in page
    assert 'href="glossary.html#term-fall"' in page
    assert "See , https://github.com/you/small," in page
    assert "https://github.com/you/small/edit/main/start.md" in page
    assert 'content="https://you.github.io/small/_static/preview.png"' in page


def test_a_caption_under_a_figure_becomes_the_figures_own(small, tmp_path):
    """And panels beside one another have a picture for a phone and one for a wide screen."""
    figure = nbformat.v4.new_code_cell(
        "import matplotlib.pyplot as plt\nplt.subplots(1, 2)[1][0].plot([1, 2]);",
        metadata={"mystnb": {"figure": {"name": "fig-a"}, "image": {"alt": "A line that rises"}}},
    )
    said = "**By 1.0<!-- rise .1f --> it rises**, unlike a [fall](../glossary.md#fall)."
    caption = nbformat.v4.new_markdown_cell(said, metadata={"tags": ["caption"]})
    small(cells=[figure, caption])
    page = BeautifulSoup((tmp_path / "_build/html/notebooks/a.html").read_text(), "html.parser")
    assert page.find("figcaption").p.get_text() == "Fig. 1 By 1.0 it rises, unlike a fall.#"
    assert page.select_one("figure figcaption a.term")
    assert page.get_text().count("it rises") == 1
    assert "<!-- rise" not in str(page)
    sizes = {}
    for source in page.select("figure picture source"):
        with Image.open(tmp_path / "_build/html/notebooks" / source["srcset"]) as picture:
            sizes[source["media"]] = picture.size
    (_, narrow), (_, wide) = sorted(sizes.items())
    assert sorted(sizes) == ["(max-width: 599px)", "(min-width: 1200px)"]
    assert narrow[1] > narrow[0]
    assert wide[0] > 1.5 * wide[1]
    assert page.select_one(".cell.tag_full-width figure")
    run = notebooks.read(tmp_path / "_build/staged/notebooks/a.ipynb")
    assert not any(
        widths.MIME in output.get("data", {})
        for cell in run.cells
        for output in cell.get("outputs", [])
    )
    with pytest.raises(SystemExit, match="a caption stands under no figure"):
        small(cells=[caption])


def test_what_a_reader_would_stumble_over_is_an_error(small):
    """Named with its place, as in the repository: a warning in an output, a term, a page."""
    with pytest.raises(SystemExit) as failed:
        small(
            "import warnings; warnings.warn('look out')", "[x](glossary.md#rise)\n\n[x](nowhere.md)"
        )
    said = re.sub(r"\x1b\[\d+m", "", str(failed.value))
    assert re.search(r"^notebooks/a\.ipynb:.*stderr", said, re.MULTILINE)
    assert "\nstart.md:5: WARNING: the glossary glossary has no term 'rise'" in said
    assert re.search(r"^start\.md:7: WARNING: .*nowhere\.md", said, re.MULTILINE)


@pytest.mark.parametrize(("shape", "share"), [((1, 3), "all"), ((2, 2), "all"), ((2, 2), False)])
def test_panels_are_stacked_in_order_with_their_numbers(shape, share):
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(*shape, sharex=share, sharey=share, layout="constrained")
    for number, ax in enumerate(axes.flat):
        ax.set(title=str(number), xlim=(0, 1), ylim=(0, 1))
    axes.flat[0].set_ylabel("what")
    figure.canvas.draw()
    widths.stack(figure)
    figure.canvas.draw()
    boxes = [ax.get_position() for ax in axes.flat]
    for above, below in pairwise(boxes):
        assert above.y0 > below.y1
        assert (above.x0, above.x1) == pytest.approx((below.x0, below.x1))
    for ax in axes.flat:
        assert ax.get_ylabel() == "what"
        assert all(ax.get_tightbbox().x0 < ax.bbox.x0 - 5 for ax in axes.flat)
    plt.close(figure)


@pytest.mark.parametrize("across", [[[1, 1], [12, 1]], [[1], [1]]])
def test_other_figures_are_shown_as_they_are(across):
    import matplotlib.pyplot as plt

    ratios = {"width_ratios": across[1]} if len(across[0]) > 1 else {}
    figure, _ = plt.subplots(2, len(across[0]), **ratios)
    assert widths.panels(figure) == []
    plt.close(figure)


def test_a_player_shows_what_it_plays():
    tone, sound = np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000), io.BytesIO()
    tone[8000:] = 0
    soundfile.write(sound, tone, 16_000, format="WAV")
    data = base64.b64encode(sound.getvalue()).decode()
    player = f'<audio controls src="data:audio/wav;base64,{data}"></audio>'
    page = BeautifulSoup(PLAYER.sub(with_spectrogram, player), "html.parser")
    assert page.select_one("img.spectrogram + audio[controls]")
    with Image.open(io.BytesIO(base64.b64decode(page.img["src"].split(",")[1]))) as picture:
        light = np.asarray(picture.convert("L"), dtype=float)
    assert light.shape == (40, 120)
    # Highest at the top, on a scale of ratios from 100 Hz to 7.2 kHz.
    found = 39 - light[:, 10].argmax()
    assert found == pytest.approx(40 * np.log(1000 / 100) / np.log(7200 / 100), abs=1.5)
    assert light[:, 10].max() > light[:, 100].max() + 100


def test_the_chart_of_decisions_says_what_the_tables_say():
    chart = decisions.CHART.read_text(encoding="utf-8")
    said = decisions.words(decisions.steps())
    assert html.escape(said, quote=False) in chart, "run tools/decisions.py"


def test_what_the_chart_of_decisions_says_is_there_for_who_cannot_see_it():
    chapter = nbformat.read(ROOT / "notebooks" / "07_judging_corrections.ipynb", as_version=4)
    (cell,) = (cell for cell in chapter.cells if decisions.CHART.name in cell.source)
    below = cell.source.split(decisions.CHART.name)[1]
    assert f"\n\n{decisions.table(decisions.steps())}\n\n</details>" in below
    alternative = re.search(r"!\[(.*)\]\([^)]*decisions.svg\)", cell.source)[1]
    for ask, do, _ in decisions.steps():
        assert f"{ask} {do}." in alternative


# The explorer and its sounds


@pytest.fixture(scope="module")
def demo() -> Corpus:
    return explorer.demo_corpus()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explorer")
    for name in (explorer.EXCERPTS, explorer.FALLS):
        shutil.copy2(ROOT / explorer.FOLDER / name, folder)
    text = explorer.write_data(folder).read_text(encoding="ascii")
    head, tail = "window.BIASMIR_EXPLORER = ", ";\n"
    assert text.startswith(head)
    assert text.endswith(tail)
    return json.loads(text[len(head) : -len(tail)])


def test_the_committed_excerpts_are_of_the_chosen_clips(demo, data):
    chosen = sounds.choose_clips(demo)
    assert [sound["row"] for sound in data["sounds"]] == chosen
    clips = demo.clips.iloc[chosen]
    assert not clips.duplicated(["dataset", "track"]).any()
    # Every instrument leads in every genre of both datasets, up to the few that never do.
    cells = clips.assign(lead=explorer.leads(demo)[chosen]).groupby(["dataset", "lead", "group"])
    assert len(cells) >= 75
    assert cells.size().max() == sounds.PER_CELL


def test_excerpts_have_one_length_and_one_level(data):
    for sound in data["sounds"][::13]:
        wave, rate = soundfile.read(ROOT / explorer.FOLDER / sound["file"])
        assert wave.ndim == 1
        assert abs(len(wave) / rate - sounds.SECONDS) < 0.15
        level = 20 * np.log10(np.sqrt(np.mean(wave**2)))
        assert -27 < level < LEVEL_DB + 1
        assert np.abs(wave).max() < 1


def test_an_excerpt_is_cut_where_the_clip_is_loudest_and_brought_to_the_level():
    rate = 8000
    wave = 0.001 * np.random.default_rng(0).normal(size=10 * rate).astype(np.float32)
    wave[6 * rate : 8 * rate] *= 100
    content, start, gain = encode_excerpt(wave, rate, seconds=2)
    assert start == 6
    decoded, _ = soundfile.read(io.BytesIO(content))
    level = 20 * np.log10(np.sqrt(np.mean(decoded**2)))
    assert abs(level - LEVEL_DB) < 1
    assert abs(gain - (LEVEL_DB + 20)) < 1
    assert encode_excerpt(wave, rate, seconds=2, start=1)[1] == 1
    content, start, _ = encode_excerpt(0 * wave, rate, seconds=2)
    assert content
    assert start == 0


def test_what_the_explorer_page_says_about_its_pictures(demo, data):
    """The sentences under "What to look for"; the numbers are the page's own."""
    from sklearn.metrics import roc_auc_score

    band = (demo.clips["dataset"] == demo.datasets[1]).to_numpy()

    def apart(embedding: str, correction: str) -> float:
        raw = base64.b64decode(data["embeddings"][embedding][correction]["points"])
        points = np.frombuffer(raw, "<u2").reshape(-1, 2)
        assert len(points) == len(demo.clips)
        assert points.max() <= data["grid"]
        aucs = [roc_auc_score(band, points[:, axis]) for axis in range(2)]
        return max(max(auc, 1 - auc) for auc in aucs)

    auc = {
        (embedding, correction): view["auc"]
        for embedding, views in data["embeddings"].items()
        for correction, view in views.items()
    }
    assert apart("musicnn", "none") > 0.9
    assert apart("yamnet", "none") < 0.75
    assert auc["yamnet", "none"] > 0.9
    for embedding in ("yamnet", "musicnn"):
        assert auc[embedding, "lda"] >= auc[embedding, "none"] - 0.005
    for correction in ("leace", "center"):
        for embedding in ("musicnn", "mfcc"):
            assert apart(embedding, correction) < 0.65 < apart(embedding, "none")
            assert auc[embedding, correction] < 0.65
        for embedding in ("yamnet", "msd_vgg"):
            assert auc[embedding, correction] > auc[embedding, "none"] - 0.01


def test_the_steps_of_a_clip_can_be_made_again(soundfonts, demo, tmp_path):
    sounds.render_steps(tmp_path, tmp_path / "players.html")
    committed = ROOT / sounds.STEPS
    players = (ROOT / sounds.PLAYERS).read_text(encoding="utf-8")
    made = (tmp_path / "players.html").read_text(encoding="utf-8")
    assert made.replace(f"../{tmp_path.name}/", "../steps/") == players
    for path in sorted(committed.glob("*.mp3")):
        one, other = (soundfile.read(folder / path.name)[0] for folder in (tmp_path, committed))
        assert np.corrcoef(one, other)[0, 1] > 0.99, path.name
        assert f'src="../steps/{path.name}"' in players
    clip = demo.clips.set_index("clip").loc[f"band_{sounds.TRACK:04d}_0"]
    assert f"{clip['reverb_seconds']:.1f} s" in players
    assert f"{clip['lowpass_hz']:,.0f} Hz" in players
    assert clip["instruments"] == "saxophone"
