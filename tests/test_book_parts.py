"""What is made beside the chapters of the book: explorer, sounds, pages, icons, terms."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from fontTools.ttLib import TTFont

from biasmir_utils.book import explorer, reference, steps
from biasmir_utils.book.accessibility import find_axe, violations
from biasmir_utils.book.browser import Browser
from biasmir_utils.book.extension import term_anchor
from biasmir_utils.book.slim import icons_used, slim
from biasmir_utils.corpus import Corpus
from biasmir_utils.errors import BookError

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def demo() -> Corpus:
    return Corpus.load(ROOT / "data" / "demo")


# The explorer's data


@pytest.fixture(scope="module")
def data(demo, tmp_path_factory):
    folder = tmp_path_factory.mktemp("explorer")
    shutil.copy2(ROOT / explorer.FOLDER / explorer.EXCERPTS, folder)
    text = explorer.write_data(demo, folder).read_text(encoding="ascii")
    head, tail = "window.BIASMIR_EXPLORER = ", ";\n"
    assert text.startswith(head)
    assert text.endswith(tail)
    return json.loads(text[len(head) : -len(tail)])


def test_the_committed_excerpts_are_of_the_chosen_clips(demo, data):
    chosen = explorer.choose_clips(demo)
    assert [sound["row"] for sound in data["sounds"]] == chosen
    clips = demo.clips.iloc[chosen]
    assert not clips.duplicated(["dataset", "track"]).any()
    # Every instrument leads in every genre of both datasets, up to the few that never do.
    cells = clips.assign(lead=explorer.leads(demo)[chosen]).groupby(["dataset", "lead", "group"])
    assert len(cells) >= 75
    assert cells.size().max() == explorer.PER_CELL
    assert len(chosen) >= 150


def test_excerpts_have_one_length_and_one_level(data):
    import soundfile

    for sound in data["sounds"][::13]:
        wave, rate = soundfile.read(ROOT / explorer.FOLDER / sound["file"])
        assert wave.ndim == 1
        assert rate == explorer.EXCERPT_RATE
        assert abs(len(wave) / rate - explorer.EXCERPT_SECONDS) < 0.15
        level = 20 * np.log10(np.sqrt(np.mean(wave**2)))
        assert -27 < level < explorer.EXCERPT_LEVEL_DB + 1
        assert np.abs(wave).max() < 1


def test_an_excerpt_is_cut_where_the_clip_is_loudest_and_brought_to_the_level():
    import soundfile

    rate = 8000
    wave = 0.001 * np.random.default_rng(0).normal(size=10 * rate).astype(np.float32)
    wave[6 * rate : 8 * rate] *= 100
    content, start, gain = explorer.encode_excerpt(wave, rate, seconds=2)
    assert start == 6
    decoded, _ = soundfile.read(io.BytesIO(content))
    level = 20 * np.log10(np.sqrt(np.mean(decoded**2)))
    assert abs(level - explorer.EXCERPT_LEVEL_DB) < 1
    assert abs(gain - (explorer.EXCERPT_LEVEL_DB + 20)) < 1
    assert explorer.encode_excerpt(wave, rate, seconds=2, start=1)[1] == 1


def test_what_the_explorer_page_says_about_its_pictures(demo, data):
    """The sentences under "What to look for"; the numbers are the page's own."""
    from sklearn.metrics import roc_auc_score

    band = (demo.clips["dataset"] == demo.datasets[1]).to_numpy()

    def apart(embedding: str, correction: str) -> float:
        raw = np.frombuffer(
            explorer.base64.b64decode(data["embeddings"][embedding][correction]["points"]), "<u2"
        ).reshape(-1, 2)
        assert len(raw) == len(demo.clips)
        assert raw.max() <= data["grid"]
        aucs = [roc_auc_score(band, raw[:, axis]) for axis in range(2)]
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


def test_an_excerpt_of_an_unknown_clip_is_named(demo, tmp_path):
    excerpts = [{"dataset": "solo", "clip": "nobody", "file": "audio/x.mp3"}]
    record = {"seconds": 2.5, "excerpts": excerpts}
    (tmp_path / explorer.EXCERPTS).write_text(json.dumps(record))
    with pytest.raises(BookError, match=r"names clip 'nobody'.*book sounds RENDERED"):
        explorer.write_data(demo, tmp_path)


def test_excerpts_need_a_corpus_with_all_its_audio(demo, tmp_path):
    with pytest.raises(BookError, match=r"has no audio of .*data/make/demo.py"):
        explorer.render_excerpts(demo, tmp_path)


# The clip that is heard step by step


def test_the_steps_are_those_of_the_clip_and_can_be_made_again(soundfonts, demo, tmp_path):
    import soundfile

    files = steps.render_steps(tmp_path)
    committed = ROOT / steps.FOLDER
    assert (tmp_path / steps.LIST).read_text() == (committed / steps.LIST).read_text()
    for file in files:
        made, kept = (soundfile.read(folder / file)[0] for folder in (tmp_path, committed))
        assert np.corrcoef(made, kept)[0, 1] > 0.99, file
    clip = demo.clips.set_index("clip").loc[f"band_{steps.TRACK:04d}_0"]
    listed = json.loads((committed / steps.LIST).read_text())
    text = " ".join(one["label"] for one in listed)
    assert f"{clip['reverb_seconds']:.1f} s" in text
    assert f"{clip['lowpass_hz']:,.0f} Hz" in text
    assert clip["instruments"] == "saxophone"


def test_players_have_labels_and_addresses_beside_the_page(demo):
    part = steps.two_sounds_part(demo, ROOT / explorer.FOLDER)
    assert part.count("<audio") == 2
    for dataset in ("Solo: cello", "Band: cello"):
        assert f"<figcaption>{dataset}" in part
        assert f'aria-label="{dataset}' in part
    assert "&lt;a&gt;" in steps.players_part([("<a>", "x.mp3")])


# Pages that the program writes


def test_parts_are_written_for_the_pages_that_are_there(tmp_path):
    (tmp_path / "cli.md").write_text("# Commands")
    (tmp_path / "models.md").write_text("# Models")
    written = reference.write_parts(ROOT, tmp_path)
    assert [path.name for path in written] == ["_cli.md", "_models.md"]
    assert "$ biasmir prepare paper --help" in written[0].read_text()


def test_every_api_page_has_a_page_of_the_book_and_one_entry():
    listed = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    overview = (ROOT / "book" / "api.md").read_text(encoding="utf-8")
    for name in reference.API:
        page = (ROOT / "book" / f"api-{name}.md").read_text(encoding="utf-8")
        assert f"{{include}} _api-{name}.md" in page
        assert f"file: book/api-{name}\n" in listed
        assert f"(api-{name}.md)" in overview


def test_private_names_are_not_offered():
    import biasmir_utils.book.reference as module

    assert "_help_block" not in reference.public_names(module)
    assert "help_text" in reference.public_names(module)
    assert "Corpus" not in reference.public_names(module), "defined elsewhere"


def test_a_command_that_there_is_not():
    with pytest.raises(BookError, match="no command 'nonesuch'"):
        reference.help_text(["nonesuch"])


@pytest.mark.parametrize(
    ("term", "anchor"),
    [("ROC-AUC", "roc-auc"), ("dataset bias", "dataset-bias"), ("in-domain", "in-domain")],
)
def test_terms_have_an_anchor(term, anchor):
    assert term_anchor(term) == anchor


# Icons


@pytest.fixture
def themed(tmp_path):
    """A page with two icons, and the theme's own files."""
    import pydata_sphinx_theme

    static = Path(pydata_sphinx_theme.__file__).parent / "theme" / "pydata_sphinx_theme" / "static"
    shutil.copytree(static, tmp_path / "_static")
    (tmp_path / "a.html").write_text(
        "<head>\n  <!-- So that users can add custom icons -->\n  <script defer "
        'src="_static/scripts/fontawesome.js?digest=1"></script></head>'
        '<i class="fas fa-expand"></i><i class="fa-brands fa-github"></i>'
    )
    return tmp_path


def test_only_icons_in_use_are_left(themed):
    style = themed / "_static" / "styles" / "pydata-sphinx-theme.css"
    before = style.stat().st_size
    slim(themed)
    assert "fontawesome.js" not in (themed / "a.html").read_text()
    assert not list(themed.rglob("fontawesome*.js"))
    assert not list(themed.rglob("*.map"))
    assert {"fa-expand", "fa-github"} <= icons_used(themed)
    text = style.read_text(encoding="utf-8")
    assert len(text) < before - 50_000
    assert ".fa-expand:before" in text
    assert ".fa-dragon:before" not in text
    assert '"Font Awesome' not in text
    fonts = {font.stem: TTFont(font) for font in themed.rglob("*.woff")}
    assert len(fonts) == 3
    assert 0xF065 in fonts["fa-solid-900"].getBestCmap()  # expand
    assert 0xF09B in fonts["fa-brands-400"].getBestCmap()  # github
    assert 0xF6D5 not in fonts["fa-solid-900"].getBestCmap()  # dragon
    for font in fonts.values():
        assert "Awesome" not in font["name"].getDebugName(4)
        assert len(font.getGlyphOrder()) < 60
    assert not list(themed.rglob("*.ttf"))
    state = {path: path.read_bytes() for path in themed.rglob("*") if path.is_file()}
    slim(themed)
    assert {path: path.read_bytes() for path in themed.rglob("*") if path.is_file()} == state


def test_another_theme_is_named(themed):
    (themed / "_static" / "styles" / "pydata-sphinx-theme.css").write_text("p {}")
    with pytest.raises(BookError, match="not the style sheet of the theme that was expected"):
        slim(themed)


# Accessibility


def test_axe_finds_what_is_wrong(chromium, axe, tmp_path):
    head = '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>x</title></head>'
    good, bad = tmp_path / "good.html", tmp_path / "bad.html"
    good.write_text(f"{head}<body><main><h1>x</h1><img alt='y' src='data:,'></main></body></html>")
    bad.write_text(
        f"{head}<body><main><h1>x</h1><img src='data:,'><p style='color: #999'>grey</p>"
        "</main></body></html>"
    )
    assert find_axe() == axe
    with Browser(chromium) as browser:
        browser.open(good.as_uri())
        assert violations(browser, axe) == []
        browser.open(bad.as_uri())
        found = violations(browser, axe)
    assert any(one.startswith("critical: ") and "(image-alt) at img" in one for one in found)
    assert any(one.startswith("serious: ") and "(color-contrast) at p" in one for one in found)


def test_clicks_waiting_and_the_dark_mode(chromium, tmp_path):
    page = tmp_path / "a.html"
    page.write_text(
        "<!doctype html><button style='position: absolute; left: 50px; top: 40px; width: 80px;"
        " height: 30px' onclick='setTimeout(() => { window.done = 7 }, 30)'>x</button>"
    )
    dark = "matchMedia('(prefers-color-scheme: dark)').matches"
    with Browser(chromium, timeout=20) as browser:
        browser.open(page.as_uri(), dark=True)
        assert browser.evaluate(dark) is True
        browser.open(page.as_uri())
        assert browser.evaluate(dark) is False
        browser.click(90, 55)
        assert browser.wait_for("window.done") == 7
        with pytest.raises(BookError, match=r"in vain for window\.never"):
            browser.wait_for("window.never", timeout=0.1)
