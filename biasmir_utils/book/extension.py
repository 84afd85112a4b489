"""A Sphinx extension with the few things that Jupyter Book's settings cannot say."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.config import Config

LONGEST_DEFAULT = 60
"""Characters of a default that a signature still shows."""


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension; called by Sphinx."""
    from biasmir_utils.book import bibliography

    bibliography.register()
    for needed in ("sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon"):
        app.setup_extension(needed)
    app.connect("config-inited", _offer_address)
    app.connect("config-inited", _name_headings)
    app.connect("config-inited", _switch_thebe_off)
    # After the extensions that put the page together.
    app.connect("html-page-context", _mend_page, priority=900)
    app.add_post_transform(_linker_of_terms())
    app.add_post_transform(_keeper_of_percents())
    # After napoleon, which is called at 500.
    app.connect("autodoc-process-docstring", _mend_docstring, priority=900)
    app.connect("autodoc-process-signature", _shorten_defaults)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def _offer_address(app: Sphinx, config: Config) -> None:
    """Let pages say `{{ repository }}` for the address that _config.yml sets."""
    config.myst_substitutions = {
        **config.myst_substitutions,
        "repository": config.html_theme_options["repository_url"],
    }


def _name_headings(app: Sphinx, config: Config) -> None:
    """Let links name a section of a page as JupyterLab does: `03_gap.ipynb#To-take-away`."""
    config.myst_heading_anchors = 3
    config.myst_heading_slug_func = f"{heading_anchor.__module__}.{heading_anchor.__name__}"


def heading_anchor(heading: str) -> str:
    """Return the anchor that JupyterLab gives to a heading of a notebook."""
    return heading.strip().replace(" ", "-")


def _switch_thebe_off(app: Sphinx, config: Config) -> None:
    """Take the extension sphinx-thebe out of the build.

    Jupyter Book loads it always, and it writes a script and the address of a CDN into every
    page, though Thebe is off.
    """
    for event, listeners in app.events.listeners.items():
        app.events.listeners[event] = [
            listener
            for listener in listeners
            if listener.handler.__module__.split(".")[0] != "sphinx_thebe"
        ]
    app.registry.css_files = [
        file for file in app.registry.css_files if file[0] != "sphinx-thebe.css"
    ]


def _mend_docstring(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Read docstrings as they are meant where reStructuredText would see something else.

    An attribute may be `rank_`, and a type say `ndarray, (rank_, D)`: a name with `_` at its end
    is no reference. A length may be written |x|, which is no substitution. The headings of a
    module are no sections of the page.
    """
    for number, line in enumerate(lines):
        line = re.sub(r"^(\s*:ivar \w+)_:", r"\1\\_:", line)
        if line.lstrip().startswith((":vartype ", ":type ", ":rtype:")):
            line = re.sub(r"(?<![\w`])(\w+)_(?![\w`])", r"\1\\_", line)
        if not line.lstrip().startswith(">>>"):
            # Every second part stands in backticks.
            parts = re.split(r"(``.*?``|`[^`]*`)", line)
            parts[::2] = [re.sub(r"(?<!\\)\|(?=\S)", r"\|", part) for part in parts[::2]]
            line = "".join(parts)
        lines[number] = line
    if what == "module":
        for number in range(len(lines) - 1):
            title, below = lines[number].strip(), lines[number + 1].strip()
            if title and re.fullmatch(r"([-=~])\1{2,}", below):
                lines[number : number + 2] = [f".. rubric:: {title}", ""]


class _Dots:
    def __repr__(self) -> str:
        return "..."


def _shorten_defaults(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, arguments: str | None, returns: Any
) -> tuple[str, Any] | None:
    """Write `...` for a default that takes lines, such as the whole design of a corpus."""
    if what != "function" or not arguments or len(arguments) < 200:
        return None
    signature = inspect.signature(obj)
    shown = [
        one.replace(
            annotation=one.empty,
            default=_Dots() if len(repr(one.default)) > LONGEST_DEFAULT else one.default,
        )
        for one in signature.parameters.values()
    ]
    return str(signature.replace(parameters=shown, return_annotation=signature.empty)), returns


def term_anchor(term: str) -> str:
    """Return how a link names a term of the glossary: `glossary.md#dataset-bias`."""
    return re.sub(r"[^a-z0-9]+", "-", term.lower()).strip("-")


def _linker_of_terms() -> type:
    """Return a transform for the plain links by which chapters name terms of the glossary.

    A notebook says `[fall](../book/glossary.md#fall)`, which JupyterLab and GitHub show as a link
    to the glossary; in the book it leads to the term itself. A term that the glossary does not
    have is a warning, and so an error of the build.
    """
    from docutils import nodes
    from sphinx import addnodes
    from sphinx.transforms.post_transforms import SphinxPostTransform
    from sphinx.util import logging

    class LinkTerms(SphinxPostTransform):
        default_priority = 5  # before MyST looks for a heading of that name

        def run(self, **kwargs: Any) -> None:
            objects = self.env.get_domain("std").objects  # type: ignore[attr-defined]
            terms = {
                (place[0], term_anchor(name)): place
                for (kind, name), place in objects.items()
                if kind == "term"
            }
            pages = {page for page, _ in terms}
            for node in list(self.document.findall(addnodes.pending_xref)):
                wanted = node.get("reftargetid")
                if node.get("refdomain") != "doc" or not wanted or node["reftarget"] not in pages:
                    continue
                place = terms.get((node["reftarget"], wanted))
                if place is None:
                    logging.getLogger(__name__).warning(
                        "the glossary %s has no term %r", node["reftarget"], wanted, location=node
                    )
                    continue
                page = self.app.builder.get_relative_uri(self.env.docname, place[0])
                link = nodes.reference(
                    "", "", internal=True, refuri=f"{page}#{place[1]}", classes=["term"]
                )
                link += node.children
                node.replace_self(link)

    return LinkTerms


def keep_percents(document: Any) -> None:
    """Put a space that no line breaks at before the percent signs of a page's text."""
    from docutils import nodes

    code = (nodes.FixedTextElement, nodes.literal, nodes.math, nodes.raw)
    for text in list(document.findall(nodes.Text)):
        if not isinstance(text.parent, code):
            kept = re.sub(r"(?<=\d) %", "\N{NO-BREAK SPACE}%", text)
            if kept != text:
                text.parent.replace(text, nodes.Text(kept))


def _keeper_of_percents() -> type:
    from sphinx.transforms.post_transforms import SphinxPostTransform

    class KeepPercents(SphinxPostTransform):
        default_priority = 900  # when outputs and links have become text

        def run(self, **kwargs: Any) -> None:
            keep_percents(self.document)

    return KeepPercents


def _mend_page(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """Drop MathJax where there is no formula; give names to what has none.

    Sphinx loads MathJax (1.2 MB) also on a page that has a chapter with formulas under it, as
    the first page has. The role `doc-biblioentry` is deprecated, and not allowed in a list. The
    arrows that fold parts of the contents have no text that could be read out.
    """
    if not app.env.get_domain("math").data["has_equations"].get(pagename):
        context["script_files"] = [
            file
            for file in context["script_files"]
            if "mathjax" not in f"{getattr(file, 'filename', file)}{_body(file)}".lower()
        ]
    if context.get("body"):
        context["body"] = context["body"].replace('role="doc-biblioentry"', 'role="listitem"')
    contents = context.get("generate_toctree_html")
    if contents is not None:
        context["generate_toctree_html"] = lambda *given, **named: str(
            contents(*given, **named)
        ).replace("<summary>", '<summary aria-label="Pages of this part">')


def _body(file: Any) -> str:
    return str(getattr(file, "attributes", {}).get("body") or "")
