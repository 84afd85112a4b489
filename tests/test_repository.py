"""What the repository says about itself is so: layout, versions, licences, address, README."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import shlex
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from biasmir_utils import __version__
from biasmir_utils.cli import main

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ("3.11", "3.12", "3.13")
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def requirement_lines(text: str) -> list[Requirement]:
    lines = (line.split("#")[0].strip() for line in text.splitlines())
    return [Requirement(line) for line in lines if line]


def linux(python: str) -> dict[str, str]:
    """A Python on Linux, as the markers of requirements see it."""
    names = {"sys_platform": "linux", "platform_machine": "x86_64", "extra": ""}
    return names | {"python_version": python, "python_full_version": f"{python}.9"}


def pins_for(python: str) -> dict[str, Version]:
    """Package -> version that is pinned for a Python on Linux."""
    pins: dict[str, Version] = {}
    for file in ("constraints.txt", "requirements-nodeps.txt"):
        for requirement in requirement_lines((ROOT / file).read_text(encoding="utf-8")):
            if requirement.marker is None or requirement.marker.evaluate(linux(python)):
                (specifier,) = requirement.specifier
                assert specifier.operator == "==", f"{requirement} is not a pin"
                version = Version(specifier.version)
                assert pins.setdefault(canonicalize_name(requirement.name), version) == version
    return pins


def all_requirements() -> list[Requirement]:
    """What the package and its extras ask for, but those that `make setup` does not install."""
    extras = PROJECT["optional-dependencies"]
    groups = [extras[name] for name in extras.keys() - {"compare", "openl3", "recipes"}]
    return [Requirement(text) for group in [PROJECT["dependencies"], *groups] for text in group]


def tracked_files() -> list[Path]:
    done = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip("not a git checkout, so there is no list of committed files")
    return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


# Layout


@pytest.mark.parametrize("name", [".ci/run", ".ci/binder", ".ci/colab", "postBuild"])
def test_scripts_can_be_run(name):
    assert os.access(ROOT / name, os.X_OK)
    subprocess.run(["bash", "-n", str(ROOT / name)], check=True)


def test_committed_files_are_not_built_and_small_except_the_data():
    for path in tracked_files():
        name = path.relative_to(ROOT).as_posix()
        assert not re.search(r"(^|/)(_build|\.venv|__pycache__|\.ipynb_checkpoints)/|\.pyc$", name)
        assert name.startswith("data/") or path.stat().st_size < 2e6, name


# Versions


@pytest.mark.parametrize("python", PYTHONS)
def test_pins_lie_in_the_ranges_of_pyproject(python):
    pins = pins_for(python)
    for requirement in all_requirements():
        if requirement.marker is not None and not requirement.marker.evaluate(linux(python)):
            continue
        name = canonicalize_name(requirement.name)
        assert name in pins, f"{name} is not pinned for Python {python}; run make lock"
        assert requirement.specifier.contains(pins[name], prereleases=True), (
            f"{name} is pinned to {pins[name]}, pyproject.toml asks for {requirement}"
        )


def test_what_runs_here_is_what_is_pinned():
    """The packages that the results depend on; elsewhere than in `make setup` this skips."""
    from importlib.metadata import PackageNotFoundError, version

    if not Path(sys.prefix, ".test").exists():
        pytest.skip("this Python was not made by `make setup`")
    pins = pins_for(f"{sys.version_info.major}.{sys.version_info.minor}")
    different = {}
    for requirement in all_requirements():
        name = canonicalize_name(requirement.name)
        try:
            found = Version(version(name))
        except PackageNotFoundError:
            continue
        if name in pins and pins[name] != found:
            different[name] = (str(found), str(pins[name]))
    assert not different, "installed and pinned version differ; run make setup"


def test_what_the_package_imports_at_once_is_declared():
    """By name: a package that came with another one may be gone with its next version."""
    import ast

    imported = set()
    for path in (ROOT / "biasmir_utils").rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                imported.add((node.module or "").split(".")[0])
    names = {"sklearn": "scikit-learn"}
    needed = {names.get(name, name) for name in imported - sys.stdlib_module_names}
    declared = {Requirement(text).name for text in PROJECT["dependencies"]}
    for extra in PROJECT["optional-dependencies"].values():
        declared |= {Requirement(text).name for text in extra}
    assert needed - {"biasmir_utils"} <= declared


def test_environment_yml_agrees():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    conda = [one for one in environment["dependencies"] if isinstance(one, str)]
    (pip,) = (one["pip"] for one in environment["dependencies"] if isinstance(one, dict))
    (python,) = (one.split("=")[-1] for one in conda if one.startswith("python="))
    assert python in PYTHONS
    assert "pip" in conda
    assert "-c constraints.txt" in pip
    (editable,) = (one for one in pip if one.startswith("-e "))
    extras = set(re.fullmatch(r"-e \.\[([\w,]+)\]", editable).group(1).split(","))
    assert extras <= set(PROJECT["optional-dependencies"])
    assert {"audio", "tensorflow", "book"} <= extras

    # The packages that the project is built on are named; constraints.txt says which versions.
    named = {one for one in pip if not one.startswith("-")}
    asked_for = """jupyter-book jupyterlab numpy scikit-learn seaborn pandas tensorflow-hub
        papermill"""
    assert named == set(asked_for.split())
    assert named <= pins_for(python).keys()


def test_openl3_is_named_for_binder_and_may_fail_there():
    script = (ROOT / "postBuild").read_text(encoding="utf-8")
    (pinned,) = re.findall(r"if ! python -m pip install [^\n]*(openl3==[\d.]+)", script)
    assert pinned in (ROOT / "environment.yml").read_text(encoding="utf-8")


def test_citation_agrees_with_the_version_and_the_paper():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == __version__
    assert citation["license"] == PROJECT["license"] == "MIT"
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["references"][0]["doi"] == "10.48550/arXiv.2307.10834"


def test_the_picture_of_the_main_result_shows_the_bundled_data():
    picture = (ROOT / "book" / "images" / "gap.svg").read_text(encoding="utf-8")
    sums = dict(map(reversed, re.findall(r"([0-9a-f]{64}) ([\w./]+)", picture)))
    del sums["corpus.json"]  # its words may change without the numbers
    assert {"clips.parquet", "embeddings/yamnet.h5"} <= set(sums)
    data = ROOT / "data" / "demo"
    assert sums == {
        name: hashlib.sha256((data / name).read_bytes()).hexdigest() for name in sums
    }, "run make picture"


def test_the_vendored_mathjax_is_the_one_that_its_readme_names():
    folder = ROOT / "book" / "vendor" / "mathjax"
    notice = (folder / "README.md").read_text(encoding="utf-8")
    assert hashlib.sha256((folder / "tex-mml-chtml.js").read_bytes()).hexdigest() in notice


def test_workflows_follow_their_schema_and_run_what_exists():
    workflows = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
    assert {path.stem for path in workflows} >= {"tests", "book"}
    command = ["check_jsonschema", "--builtin-schema", "vendor.github-workflows"]
    done = subprocess.run(
        [sys.executable, "-m", *command, *map(str, workflows)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    tested = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text(encoding="utf-8"))
    assert tuple(tested["jobs"]["test"]["strategy"]["matrix"]["python"]) == PYTHONS
    for path in workflows:
        targets = re.findall(r"run: make ([a-z]+)", path.read_text(encoding="utf-8"))
        assert set(targets) <= make_targets()


# The repository's address


def test_the_address_stands_in_one_place_and_one_line_sets_it_everywhere(tmp_path):
    """_config.yml has it, for the book; the files that need it in full agree."""
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    address = config["repository"]["url"].removeprefix("https://github.com/")
    owner = address.split("/")[0]
    copies = set()
    for path in tracked_files():
        if path.suffix in {".py", ".md", ".cff", ".ipynb", ".yml", ".toml", ".css", ".html"}:
            named = set(re.findall(rf"\b{owner}/BiasMIR", path.read_text(encoding="utf-8")))
            assert named <= {address}, path.name
            if named:
                copies.add(path)
                (tmp_path / path.name).write_bytes(path.read_bytes())
    assert {"_config.yml", "README.md", "CITATION.cff"} <= {path.name for path in copies}
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^ +(sed -i .*)$", contributing, re.MULTILINE)
    assert "you/name" in line
    line = line.replace("you/name", "some-one/a.book").replace("git grep -l", "grep -l")
    subprocess.run(
        line.replace(f"{address})", f"{address} *)"), shell=True, cwd=tmp_path, check=True
    )
    for path in tmp_path.iterdir():
        text = path.read_text(encoding="utf-8")
        assert address not in text
        assert "some-one/a.book" in text


# Makefile


def make_targets() -> set[str]:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    (phony,) = re.findall(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    return set(phony.split())


def test_make_lists_every_target():
    done = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True)
    listed = set(re.findall(r"^  ([a-z]+) +\S", done.stdout, re.MULTILINE))
    assert listed == make_targets()
    assert {"setup", "book", "test", "lab", "lint", "bench", "clean", "help"} <= listed


# README


def shell_commands() -> list[list[str]]:
    blocks = re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def test_the_readme_names_targets_that_exist():
    named = {words[1] for words in shell_commands() if words[0] == "make"}
    named |= set(re.findall(r"`make ([a-z]+)`", README))
    assert {"book", "test"} <= named <= make_targets()


def test_the_biasmir_commands_of_the_readme_have_these_options():
    commands = [words[1:] for words in shell_commands() if words[0] == "biasmir"]
    assert {words[0] for words in commands} >= {"import", "info", "extract", "evaluate", "probe"}
    for words in commands:
        result = CliRunner().invoke(main, [words[0], "--help"])
        assert result.exit_code == 0, result.output
        for option in (word for word in words if word.startswith("--")):
            assert option in result.output, f"biasmir {words[0]} has no {option}"


def test_the_readme_makes_a_corpus_and_the_commands_run_on_it(tmp_path, monkeypatch):
    """The commands of the README on a table with those columns, one after the other."""
    monkeypatch.chdir(tmp_path)
    _write_clips(tmp_path)
    commands = [words for words in shell_commands() if "my-corpus" in words]
    assert [words[1] for words in commands] == ["import", "info", "extract", "probe", "evaluate"]
    for words in commands:
        # One light embedding: what is tested here is that the README's commands fit together.
        arguments = [word for word in words[1:] if word != "musicnn"]
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, f"{' '.join(words)}\n{result.output}"
    assert (tmp_path / "results.csv").is_file()


def _write_clips(folder: Path) -> None:
    """160 clips of half-second tones: two datasets, and labels that can be heard."""
    import numpy as np
    import pandas as pd
    import soundfile

    rng, time = np.random.default_rng(0), np.arange(11025) / 22050
    clips = pd.DataFrame(
        itertools.product(["studio", "stage"], range(80)), columns=["dataset", "n"]
    )
    n = clips.pop("n")
    clips = clips.assign(
        clip=n.map("{:03d}".format),
        track=(n // 4).map("{:03d}".format),
        split=np.where(n % 16 >= 12, "test", "train"),
        group=np.where(n % 3, "jazz", "folk"),
        audio=clips["dataset"] + "/" + n.map("{:03d}.wav".format),
        piano=n % 2,
        voice=n // 2 % 2,
    )
    for dataset, name, piano, voice in clips[["dataset", "audio", "piano", "voice"]].to_numpy():
        wave = rng.normal(0, 0.01 if dataset == "stage" else 0.002, time.size)
        wave += 0.3 * piano * np.sin(2 * np.pi * 440 * time) * np.exp(-8 * time)
        wave += 0.3 * voice * np.sin(2 * np.pi * 220 * time + 3 * np.sin(2 * np.pi * 6 * time))
        (folder / "music" / dataset).mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / "music" / name, wave, 22050)
    clips.to_csv(folder / "clips.csv", index=False)


def test_the_papermill_command_of_the_readme_is_ready_to_run(tmp_path):
    """Everything but the run itself; tests/browser/test_pages.py runs the notebooks."""
    import papermill

    (command,) = (words for words in shell_commands() if words[0] == "papermill")
    notebook, _, *options = command[1:]
    assert options[:2] == ["--cwd", "notebooks"]
    given = {options[i + 1]: options[i + 2] for i, word in enumerate(options) if word == "-p"}
    assert given
    assert set(given) <= set(papermill.inspect_notebook(str(ROOT / notebook)))


def test_links_of_the_markdown_files_lead_to_files():
    broken = []
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("data/**/README.md")]:
        text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"[a-z]+:|#", target):
                continue
            if not (path.parent / target.split("#")[0]).exists():
                broken.append(f"{path.relative_to(ROOT)}: {target}")
    assert not broken


# CONTRIBUTING

# What the examples take for granted, and what becomes of each when it is there.
BEFORE_THE_EXAMPLES = """
from __future__ import annotations
import hashlib, sys
from pathlib import Path
import click, numpy as np, pandas as pd
from click.testing import CliRunner
from matplotlib.axes import Axes
from biasmir_utils.corpus import CorpusWriter, Target
from biasmir_utils.corrections import *
from biasmir_utils.datasets import *
from biasmir_utils.embeddings import *
from biasmir_utils.experiments import Metric, recognition_metrics, register_metric
from biasmir_utils.plots.style import check_table, looks, mark, new_axes, style
"""
AFTER_THE_EXAMPLES = """
place, domain = Path(sys.argv[1]), np.repeat(["a", "b"], 5)
X = np.random.default_rng(0).normal(size=(10, 2))
flip = make_correction("flip").fit(X, sample_domain=domain)
moved = np.where((domain == "b")[:, None], X * [-1, 1], X)
assert np.array_equal(flip.transform(X, sample_domain=domain), moved)
assert load("level").embed(np.full(16_000, 0.5), 16_000) == 0.5
fetch(["bells"], place / "root", from_dir=place)
assert prepare("bells", place / "out", place / "root").labels == ["bell"]
assert recognition_metrics([0, 1], [-1.0, 1.0])["youden"] == 1
assert spread(pd.DataFrame({"dataset": ["a", "b"], "score": [0.1, 0.2]})).has_data()
assert CliRunner().invoke(count, [str(place / "out")]).output == "2\\n"
"""


def test_the_examples_of_what_can_be_added_work(tmp_path):
    """In a process of their own, since each is registered for good."""
    with zipfile.ZipFile(tmp_path / "bells.zip", "w") as archive:
        archive.writestr("bells/list.csv", "clip,split,bell\na,train,1\nb,test,0\n")
    digest = hashlib.md5((tmp_path / "bells.zip").read_bytes()).hexdigest()
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    examples = re.findall(r"^```python\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    assert len(examples) == 6
    for example in examples:
        assert len([line for line in example.splitlines() if line]) <= 12
    code = "\n".join([BEFORE_THE_EXAMPLES, *examples, AFTER_THE_EXAMPLES])
    code = code.replace("md5:...", f"md5:{digest}")
    environment = {**os.environ, "MPLBACKEND": "agg"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
