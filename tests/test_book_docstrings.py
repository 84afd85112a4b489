"""Docstrings as the API pages read them: what would come out garbled there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from sphinx.ext.napoleon import Config, NumpyDocstring

from biasmir_utils.book.extension import _mend_docstring

PACKAGE = Path(__file__).resolve().parent.parent / "biasmir_utils"
_SECTION = re.compile(r"^Attributes\n-+\n(.*?)(?=^[A-Z][\w ]*\n-{3}|\Z)", re.DOTALL | re.MULTILINE)


def attributes(docstring: str) -> list[str]:
    """The first lines of the entries of the sections "Attributes"."""
    sections = _SECTION.findall(docstring)
    return [line for part in sections for line in part.splitlines() if re.match(r"\S", line)]


def documented() -> Iterator[tuple[str, ast.AST, str]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                text = ast.get_docstring(node)
                if text:
                    name = getattr(node, "name", "the module")
                    yield f"{path.relative_to(PACKAGE)}: {name}", node, text


def test_every_attribute_has_a_line_of_its_own():
    """`a, b : str` comes out as the attribute `b` with the type `a`."""
    seen, wrong = 0, []
    for where, _, text in documented():
        for line in attributes(text):
            seen += 1
            if not re.fullmatch(r"\w+(?: : .+)?", line):
                wrong.append(f"{where}: {line}")
    assert wrong == []
    assert seen > 300


def test_attributes_are_found_where_they_are():
    text = "Title.\n\nAttributes\n----------\na, b : str\n    Of c, d.\n\nRaises\n------\nE, F\n"
    assert attributes(text) == ["a, b : str"]


def test_no_colon_in_the_first_line_of_a_property():
    """What stands before it comes out as the property's type."""
    seen, wrong = 0, []
    for where, node, text in documented():
        decorators = [ast.unparse(one) for one in getattr(node, "decorator_list", [])]
        if any(one.endswith("property") for one in decorators):
            seen += 1
            if ":" in text.split("\n\n")[0]:
                wrong.append(f"{where}: {text.splitlines()[0]}")
    assert wrong == []
    assert seen > 20


@pytest.mark.parametrize("name", ["directions_", "n_features_in_", "plain"])
def test_a_name_with_an_underscore_at_its_end_is_no_reference(name):
    from docutils.core import publish_doctree

    text = f"Title.\n\nAttributes\n----------\n{name} : ndarray, (rank_, D)\n    Rows of `x`.\n"
    config = Config(napoleon_use_ivar=True)
    lines = str(NumpyDocstring(text, config, what="class")).splitlines()
    _mend_docstring(None, "class", "a.B", None, None, lines)
    tree = publish_doctree("\n".join(lines), settings_overrides={"report_level": 5})
    names = [one.astext() for one in tree.findall() if one.tagname == "field_name"]
    assert names == [f"ivar {name}", f"vartype {name}"]
    assert "ndarray, (rank_, D)" in tree.astext()
    assert not [one for one in tree.findall() if one.tagname in ("reference", "problematic")]
