"""Numbers that stand in the prose itself, which no cell writes: each against its source."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from scipy.stats import norm

from biasmir_utils.corpus import Corpus
from biasmir_utils.corrections import SETS, group_agreement
from biasmir_utils.datasets import DATASETS, INSTRUMENTS
from biasmir_utils.experiments import published_claims, published_cosines, published_figures

ROOT = Path(__file__).resolve().parent.parent.parent


def page(name: str) -> str:
    """Return a page's text on one line, or that of the cells of prose of a notebook."""
    if name.endswith(".md"):
        text = (ROOT / "book" / name).read_text(encoding="utf-8")
    else:
        (path,) = (ROOT / "notebooks").glob(f"{name}_*.ipynb")
        cells = nbformat.read(path, as_version=4).cells
        text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    return " ".join(text.split())


@pytest.fixture(scope="module")
def demo() -> Corpus:
    return Corpus.load(ROOT / "data" / "demo")


# The paper's


def test_published_scores_at_home():
    means = published_figures("mean").query("correction == 'none' and train_set == test_set")
    low, high = 100 * means["published"].min(), 100 * means["published"].max()
    assert f"between {low:.1f} and {high:.1f} % on IRMAS and OpenMIC-2018" in page("02")
    of = 100 * means.set_index(["test_set", "embedding"])["published"].unstack()
    apart = of.max(axis=1) - of.min(axis=1)
    ahead = of["yamnet"] - of.drop(columns="yamnet").max(axis=1)
    said = f"{apart['irmas']:.2f} points apart on IRMAS and {apart['openmic']:.2f} on OpenMIC-2018"
    lead = f"YAMNet is ahead by {ahead['irmas']:.2f} and {ahead['openmic']:.2f}"
    assert f"{said}, and {lead}" in page("02")


def test_published_distances_grow():
    means = published_figures("mean").query("correction == 'none'")
    of = 100 * means.set_index(["train_set", "test_set", "embedding"])["published"].unstack()
    assert (of.idxmax(axis=1) == "yamnet").all()
    apart = of.max(axis=1) - of.min(axis=1)
    irmas = f"on IRMAS from {apart['irmas', 'irmas']:.2f} points in-domain to "
    irmas += f"{apart['openmic', 'irmas']:.2f} across"
    openmic = f"on OpenMIC-2018 from {apart['openmic', 'openmic']:.2f} to "
    openmic += f"{apart['irmas', 'openmic']:.2f}"
    assert f"{irmas}, {openmic} (Wang" in page("03")


def test_published_falls():
    falls = published_figures("mean fall").query("correction == 'none'")
    of = 100 * falls.set_index("embedding")["published"]
    said = f"VGGish falls by {of['vggish']:.2f}, YAMNet by {of['yamnet'] + 1e-9:.2f} and OpenL3 by"
    assert f"{said} {of['openl3'] + 1e-9:.2f} points of a hundred" in page("03")


def test_published_changes():
    changes = published_figures("change against none")
    top = changes.loc[changes["published"].idxmax()]
    keys = ["embedding", "train_set", "test_set"]
    assert [*top[keys], top["correction"], top["mode"]] == [
        "openl3", "irmas", "openmic", "klda", "classwise"
    ]  # fmt: skip
    by_features = (
        changes[changes["correction"] == "k"].set_index(keys)["published"].loc[tuple(top[keys])]
    )
    # Over no correction, and over k for klda and mklda.
    projections = published_claims().set_index("claim").at["projections add little", "ours"]
    text = page("05")
    assert f"no correction is {100 * top['published']:.2f} points of a hundred (OpenL3" in text
    assert f"of which the random features alone give {100 * by_features:.2f}; a" in text
    assert f"a projection by itself never adds more than {100 * projections:.2f} (" in text


def test_published_cosines(shared):
    """Of OpenL3 and YAMNet from the coefficients; those of VGGish are known as means only."""
    table = pd.read_csv(shared / "paper" / "cosine_similarity_global.csv")
    sizes = table.assign(size=table["cosine_similarity"].abs())
    mean = sizes.groupby(["embedding", "train_set"])["size"].mean()
    openl3, yamnet = (
        [f"{mean[name, side]:.3f}" for side in ("irmas", "openmic")]
        for name in ("openl3", "yamnet")
    )
    said = f"{' and '.join(openl3)} for OpenL3 with 512, and {' and '.join(yamnet)} for YAMNet"
    assert f"{said} with 1,024" in page("04")
    assert len(set(yamnet)) == 1
    protocol = (shared / "spec" / "paper-protocol.md").read_text(encoding="utf-8")
    (vggish,) = re.findall(r"VGGish (0\.\d+) / (0\.\d+), OpenL3", protocol)
    assert f"are {' and '.join(vggish)} for VGGish with 128 dimensions, {said}" in page("04")
    assert f"absolute values, {vggish[0]} for both training sets" in page("00")
    retyped = published_cosines().rename(columns={"label": "instrument"})
    both = table.merge(retyped, on=["embedding", "train_set", "instrument"], validate="1:1")
    assert len(both) == len(table) == len(retyped)
    assert (both["cosine"] - both["cosine_similarity"]).abs().max() <= 5.001e-6


def test_counts_of_the_real_datasets():
    text = page("datasets.md")
    irmas, openmic = DATASETS["irmas"].counts, DATASETS["openmic"].counts
    assert f"{irmas['train']:,} training and {irmas['test']:,} test clips" in text
    assert f"{openmic['train']:,} training and {openmic['test']:,} test clips" in text
    labels = {name: irmas[name] for name in INSTRUMENTS}
    assert max(labels, key=labels.__getitem__) == "guitar"
    assert f"{labels['guitar']:,} training clips, where the cello has {labels['cello']}." in text


def test_size_of_openmic():
    size = f"{DATASETS['openmic'].files[0].size / 1e9:.1f} GB"
    card = " ".join((ROOT / "data" / "demo" / "README.md").read_text(encoding="utf-8").split())
    assert f"OpenMIC-2018 is a download of {size}" in card
    assert f"OpenMIC-2018 is a download of {size}" in page("introduction.md")


# The bundled corpora's


def test_counts_of_the_demonstration_corpus(demo):
    text = page("datasets.md")
    for name, length in (("solo", "3 s"), ("band", "10 s")):
        count = int((demo.clips["dataset"] == name).sum())
        assert f"demonstration corpus, *{name}* | {count:,} | {length} |" in text
    heard = int(demo.clips["audio"].notna().sum())
    assert f"The {heard} listening examples" in text
    chords = (ROOT / "data" / "demo" / "README.md").read_text(encoding="utf-8")
    (share,) = re.findall(r"in (\d+) % of the clips it is a guitar or a piano", chords)
    assert "in about a third of the clips of *solo* it is a guitar or a piano" in text
    assert 28 <= int(share) <= 38


def test_counts_of_the_counterfactual_corpus():
    corpus = Corpus.load(ROOT / "data" / "counterfactual")
    assert corpus.clips.groupby("dataset")["clip"].nunique().unique().tolist() == [400]
    text = re.sub(r"\]\([^)]*\)|\[", "", page("08"))
    assert "holds 400 such pieces, one clip of ten seconds each, in four datasets" in text


def test_how_far_found_groups_agree_with_genres(demo):
    agreement = group_agreement(demo)["adjusted_rand"]
    low, high = agreement.min(), agreement.max()
    assert f"is {low:.2f} to {high:.2f} in its four embeddings" in page("corrections.md")


# What can be computed


def test_the_corrections_of_a_set_are_counted_alike():
    plain = {name for name in SETS["standard"] if not name.startswith("placebo")}
    assert len(plain - {"none", "random", "shift"}) == 9
    said = "nine corrections, beside none and the controls"
    assert said in page("09")
    assert said in " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())


def test_one_mean_and_two_spreads():
    wide, narrow = norm.sf(2, scale=10), norm.sf(2)
    balanced = (wide + 1 - narrow) / 2
    said = f"in {100 * wide:.0f} of 100 cases and the first in {100 * narrow:.0f}: a balanced"
    assert f"{said} accuracy of {balanced:.2f}, where a constant has 0.5" in page("notation.md")
