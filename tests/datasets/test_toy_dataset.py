"""A data set is added by one file: it is fetched and prepared by its name, here and by command."""

from __future__ import annotations

import runpy
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from running import run_command
from stand_in import sum_of, zipped

from biasmir_utils.cli import main
from biasmir_utils.corpus import Corpus
from biasmir_utils.datasets import DATASETS, fetch, prepare
from biasmir_utils.errors import ArgumentError, CorpusError

ARCHIVE = zipped({"bells/list.csv": b"clip,split,bell\na,train,1\nb,test,0\n"})
MODULE = f'''
from pathlib import Path

import pandas as pd

from biasmir_utils.corpus import CorpusWriter, Target
from biasmir_utils.datasets import Dataset, RemoteFile, add_dataset


def prepare_bells(root, out, *, loud=False):
    clips = pd.read_csv(Path(root) / "bells" / "list.csv").assign(dataset="bells")
    writer = CorpusWriter(
        out, name="bells", title="Loud bells" if loud else "Bells", datasets=["bells"], groups=[],
        targets=[Target("bell", "label")],
    )
    return writer.write(clips)


add_dataset(
    Dataset(
        name="bells",
        title="Bells of the village",
        licence="CC0",
        page="https://example.org/bells",
        files=(
            RemoteFile(
                name="bells.zip",
                url="https://example.org/bells.zip",
                to="bells",
                sum="{sum_of(ARCHIVE)}",
                unpacked=1000,
                holds=("list.csv",),
            ),
        ),
        prepare=prepare_bells,
        help="Make a corpus of bells in OUT.",
        needs="bells/",
        options={{"loud": "Louder."}},
    )
)
'''


@pytest.fixture
def bells(tmp_path, monkeypatch) -> Path:
    """The module of a data set, imported, and the folder with its file."""
    monkeypatch.setitem(DATASETS, "bells", None)
    (tmp_path / "bells.py").write_text(MODULE)
    (tmp_path / "bells.zip").write_bytes(ARCHIVE)
    runpy.run_path(str(tmp_path / "bells.py"))
    return tmp_path


def test_by_command(bells):
    assert "bells             Bells of the village" in run_command("fetch", "--help")
    said = run_command("fetch", "bells", "--root", bells / "root", "--from", bells)
    assert said.startswith("Bells of the village\n  licence: CC0\n")
    assert "Make a corpus of bells in OUT." in run_command("prepare", "--help")
    about = run_command("prepare", "bells", "--help")
    assert "Folder with bells/." in about
    assert "Louder." in about
    said = run_command("prepare", "bells", bells / "out", "--root", bells / "root", "--loud")
    assert said.startswith("Loud bells (bells)")
    assert Corpus.load(bells / "out").labels == ["bell"]


def test_in_python(bells):
    assert fetch(["bells"], bells / "root", from_dir=bells) == {
        "bells.zip": bells / "root" / "bells"
    }
    corpus = prepare("bells", bells / "out", bells / "root")
    assert (corpus.title, len(corpus.clips)) == ("Bells", 2)
    shutil.rmtree(bells / "root")  # nothing is read where nothing can be written
    with pytest.raises(CorpusError, match=r"there is a corpus\.json already"):
        prepare("bells", bells / "out", bells / "root")


@pytest.mark.parametrize("name", ["models", "paper-split", "irma"])
def test_what_cannot_be_prepared_is_said(name, tmp_path):
    with pytest.raises(ArgumentError, match=f"no data set '{name}'; there are irmas, openmic"):
        prepare(name, tmp_path / "out")
    done = CliRunner().invoke(main, ["prepare", name, str(tmp_path / "out")])
    assert done.exit_code == 2
    assert "No such command" in done.output
