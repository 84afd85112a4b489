"""The book's Sphinx extension: parts of pages from the program, captions, cards, links to terms.

Pages take the parts by name, ``{{ models }}``; they are made at every build, so that they cannot
say anything else than the program does. The commands' page is made by sphinx-click, the pages of
functions by autodoc and numpydoc.
"""

from __future__ import annotations

import base64
import hashlib
import html
import inspect
import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import click
import yaml
from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension; called by Sphinx."""
    for needed in ("sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc", "sphinx_click"):
        app.setup_extension(needed)
    app.connect("config-inited", _offer_parts)
    app.connect("source-read", _number_captions)
    app.connect("sphinx-click-process-epilog", _list_names)
    # After numpydoc, and after the extensions that put the page together.
    app.connect("autodoc-process-docstring", _mend_docstring, priority=900)
    app.connect("html-page-context", _mend_page, priority=900)
    app.add_post_transform(LinkTerms)
    return {"version": "2", "parallel_read_safe": True, "parallel_write_safe": True}


# Where the sources are, while nobody has said where: see "Publishing" in CONTRIBUTING.md.
NOWHERE = "https://github.com/OWNER/"


def _offer_parts(app: Sphinx, config: Config) -> None:
    source, options = Path(app.srcdir), config.html_theme_options
    address = options["repository_url"]
    run = "../notebooks/quickstart.html"
    if address.startswith(NOWHERE):
        # Buttons and sentences that would lead nowhere.
        address = ""
        options.update(
            {f"use_{one}_button": False for one in ("repository", "edit_page", "issues")}
        )
        options["launch_buttons"] = {}
    else:
        run = address.replace("https://github.com", "https://mybinder.org/v2/gh")
        run += "/main?urlpath=lab/tree/notebooks/quickstart.ipynb"
    config.myst_substitutions = {
        **config.myst_substitutions,
        "repository": f", {address}," if address else "",
        "buttons": '<p class="buttons"><a class="first" href="#chapters">Read</a>'
        f'<a href="explorer.html">Listen</a><a href="{run}">Run</a></p>',
        "chapters": chapter_cards(source / "notebooks", Path(app.outdir) / "_images"),
        "models": models_table(),
    }
    for name, path, part in (
        ("citation", source / "CITATION.cff", citation),
        ("timings", source / "timings.json", timings_table),
    ):
        if path.is_file():
            config.myst_substitutions[name] = part(path)


def _number_captions(app: Sphinx, docname: str, content: list[str]) -> None:
    """Move captions into figures, take out the names of numbers, give what is wide room.

    A cell of prose tagged `caption` is read under the figure of the cell before it, everywhere; in
    the book it is part of that figure, which has a number.
    """
    if not str(app.env.doc2path(docname)).endswith(".ipynb"):
        return
    notebook = json.loads(content[0])
    cells: list[dict[str, Any]] = []
    for cell, after in zip(notebook["cells"], [*notebook["cells"][1:], {}], strict=True):
        if cell["cell_type"] == "markdown":
            cell["source"] = re.sub(r"(?<=\S)<!--.*?-->", "", "".join(cell["source"]), flags=re.S)
        _mend_outputs(cell, after)
        if any(_is_wide(app, output) for output in cell.get("outputs", [])):
            cell["metadata"].setdefault("tags", []).append("full-width")
        if "caption" not in cell["metadata"].get("tags", []):
            cells.append(cell)
            continue
        figure = cells[-1]["metadata"].get("mystnb", {}).get("figure") if cells else None
        if figure is None or "caption" in figure:
            logging.getLogger(__name__).warning(
                "a caption stands under no figure: %.60s", cell["source"], location=docname
            )
            continue
        figure["caption"] = cell["source"]
    content[0] = json.dumps({**notebook, "cells": cells})


WIDTH = "560px"
"""Of a figure whose cell does not say another; what the output says is for a notebook."""
PLAYER = re.compile(r'<audio [^>]*src="data:audio/[^;]+;base64,(?P<sound>[^"]+)"')


def _mend_outputs(cell: dict[str, Any], after: dict[str, Any]) -> None:
    """Give a figure its width, and players pictures of what they play.

    Where a folded answer follows, the question is one for the ears alone.
    """
    settings = cell["metadata"].get("mystnb", {})
    if "figure" in settings:
        settings.setdefault("image", {}).setdefault("width", WIDTH)
    for_ears = "".join(after.get("source", "")).startswith("<details>")
    for output in cell.get("outputs", []):
        output.get("metadata", {}).pop("image/png", None)
        if "text/html" in output.get("data", {}) and not for_ears:
            shown = "".join(output["data"]["text/html"])
            output["data"]["text/html"] = PLAYER.sub(with_spectrogram, shown)


def with_spectrogram(player: re.Match[str]) -> str:
    """Put a small spectrogram over a player: on a phone it is the player (players.js)."""
    import numpy as np
    import soundfile
    from matplotlib.image import imsave
    from scipy.signal import spectrogram

    wave, rate = soundfile.read(io.BytesIO(base64.b64decode(player["sound"])), always_2d=True)
    hertz, _, power = spectrogram(wave.mean(axis=1), rate, nperseg=min(2048, len(wave)))
    # Forty bands of one ratio, and as many columns for every clip.
    bands = np.searchsorted(hertz, np.geomspace(100, min(10_000, 0.45 * rate), 41))
    columns = np.linspace(0, power.shape[1], 120, endpoint=False).astype(int)
    small = np.add.reduceat(np.add.reduceat(power, bands)[:-1], columns, axis=1)
    level, picture = 10 * np.log10(small + 1e-12), io.BytesIO()
    low = level.max() - 60
    imsave(picture, level, vmin=low, cmap="magma", origin="lower", format="png")
    data = base64.b64encode(picture.getvalue()).decode("ascii")
    return (
        f'<img class="spectrogram" alt="" role="presentation" src="data:image/png;base64,{data}">'
        f"{player[0]}"
    )


def _is_wide(app: Sphinx, output: dict[str, Any]) -> bool:
    """Tell whether an output may use the margin, too: a table of many columns, many panels."""
    table = "".join(output.get("data", {}).get("text/html", ""))
    picture = base64.b64decode(output.get("data", {}).get("image/png", ""))
    drawn = f"{hashlib.sha256(picture).hexdigest()}-wide.png"
    return table.count('<th scope="col"') >= 7 or (Path(app.srcdir) / "widths" / drawn).is_file()


def _choose_picture(app: Sphinx, body: str) -> str:
    """Have a phone and a wide screen show the pictures that tools/widths.py made for them."""
    images = Path(app.outdir) / "_images"

    def chosen(found: re.Match[str]) -> str:
        sources = ""
        for width, media in (("narrow", "max-width: 599px"), ("wide", "min-width: 1200px")):
            name = f"{found['name']}-{width}.png"
            drawn = Path(app.srcdir) / "widths" / name
            if drawn.is_file():
                images.mkdir(exist_ok=True)
                shutil.copy2(drawn, images)
                address = f"{found['folder']}{name}"
                sources += f'<source media="({media})" srcset="{address}">'
        return f"<picture>{sources}{found[0]}</picture>" if sources else found[0]

    picture = r'<img [^>]*src="(?P<folder>[^"]*_images/)(?P<name>[0-9a-f]{64})\.png"[^>]*>'
    return re.sub(picture, chosen, body)


def chapter_cards(notebooks: Path, pictures: Path) -> str:
    """Return a card for each chapter: title, question, minutes, and its first figure, small."""
    cards = []
    for path in sorted(notebooks.glob("[0-9]*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        title, question, *_ = "".join(cells[0]["source"]).split("\n\n")
        text = " ".join("".join(cells[0]["source"]).split())
        (minutes,) = re.findall(r"\*\*How long\.\*\* (.*?) to read", text) or ["Some time"]
        figures = [
            output["data"]["image/png"]
            for cell in cells
            if "figure" in cell["metadata"].get("mystnb", {})
            for output in cell.get("outputs", [])
            if "image/png" in output.get("data", {})
        ]
        picture = ""
        if figures:
            _make_small(figures[0], pictures / f"{path.stem}.png")
            picture = f'<img src="../_images/{path.stem}.png" alt="" role="presentation">'
        cards.append(
            f'<li><a href="../notebooks/{path.stem}.html">{picture}'
            f"<strong>{_plain(title)}</strong></a><p>{_plain(question)}</p>"
            f"<p><small>{minutes} to read</small></p></li>"
        )
    return f'<ol class="chapters">\n{"".join(cards)}\n</ol>'


def _plain(markdown: str) -> str:
    """Return a line of Markdown as text, without marks of headings and emphasis."""
    return html.escape(" ".join(markdown.strip("# *\n").split()))


def _make_small(picture: str, target: Path) -> None:
    """Write a picture of a notebook for a card, 360 pixels wide."""
    from PIL import Image

    target.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(io.BytesIO(base64.b64decode(picture))) as image:
        image.thumbnail((360, 360))
        image.save(target)


def models_table() -> str:
    """Return a table of what each embedding takes and gives, from what stands at their classes."""
    from biasmir_utils.embeddings import available

    lines = ["| name | rate (Hz) | window (s) | hop (s) | dimension |", "|:--|--:|--:|--:|--:|"]
    for name, one in available().items():
        spans = [f"{span:.3f}" if span else "the whole clip" for span in (one.window, one.hop)]
        cells = [f"`{name}`", f"{one.sample_rate:,}", *spans, f"{one.dimension:,}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def citation(path: Path) -> str:
    """Return how to cite the book, as a sentence and as BibTeX, from CITATION.cff."""
    entry = yaml.safe_load(path.read_text(encoding="utf-8"))
    authors = [one.get("name") or f"{one['given-names']} {one['family-names']}"
               for one in entry["authors"]]  # fmt: skip
    version, address = entry["version"], entry["repository-code"]
    address = "" if address.startswith(NOWHERE) else address
    year = str(entry.get("date-released", ""))[:4]
    lines = [
        f"> {', '.join(authors)}{f' ({year})' if year else ''}. *{entry['title']}*, version "
        f"{version}.{f' <{address}>' if address else ''}",
        "",
        "```bibtex",
        "@software{biasmir,",
        f"  author = {{{' and '.join(f'{{{name}}}' for name in authors)}}},",
        f"  title = {{{{{entry['title']}}}}},",
        *([f"  year = {{{year}}},"] if year else []),
        f"  version = {{{version}}},",
        *([f"  url = {{{address}}},"] if address else []),
        "}",
        "```",
    ]
    return "\n".join(lines)


def timings_table(path: Path) -> str:
    """Return a table of what the chapters took, from what tools/execute.py wrote."""
    lines = ["| Chapter | Seconds | Slowest cell (s) | Peak memory (MB) |", "|:--|--:|--:|--:|"]
    runs = json.loads(path.read_text(encoding="utf-8"))
    for name, run in sorted(runs.items()):
        lines.append(
            f"| [](/notebooks/{name}) | {run['seconds']:.1f} | {run['slowest_cell']:.1f} "
            f"| {run['peak_megabytes']:.0f} |"
        )
    lines.append(f"| All chapters | {sum(run['seconds'] for run in runs.values()):.1f} | | |")
    return "\n".join(lines)


def public_names(module: Any) -> list[str]:
    """Return what a module offers: its `__all__`, or else what it defines itself."""
    defined = [
        name
        for name, value in vars(module).items()
        if (inspect.isfunction(value) or inspect.isclass(value))
        and value.__module__ == module.__name__
    ]
    return [one for one in getattr(module, "__all__", defined) if not one.startswith("_")]


def _list_names(app: Sphinx, context: click.Context, lines: list[str]) -> None:
    """Show what a command lists after its options; sphinx-click sees fixed texts only."""
    formatter = click.HelpFormatter(width=80)
    context.command.format_epilog(context, formatter)
    text = formatter.getvalue().strip("\n")
    lines[:] = ["::", "", *(f"   {line}" for line in text.splitlines())] if text else []


def _mend_docstring(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Put a table of all its names, with the first line of each, before a module's functions.

    Its constants follow. In a type such as `ndarray, (rank_, D)`, a name with `_` at its end is no
    reference; a length, |x|, is no substitution.
    """
    lines[:] = [re.sub(r"(?<=[ (])(\w+)_(?=[ ,)])", r"\1\_", line) for line in lines]
    lines[:] = [one if set("`>") & set(one) else one.replace("|", r"\|") for one in lines]
    if what == "module":
        names = public_names(obj)
        data = [one for one in names if not callable(getattr(obj, one))]
        lines += ["", ".. autosummary::", "   :nosignatures:", ""]
        lines += [f"   {one}" for one in names if one not in data]
        # autodoc finds no text of a constant that was defined in another module.
        for one in data:
            value = getattr(obj, one)
            keys = ", ".join(f"``{key}``" for key in value) if isinstance(value, dict) else ""
            text = f"A dictionary with the keys {keys}." if keys else f"``{value!r}``"
            lines += ["", f".. py:data:: {one}", "", f"   {text}"]
        lines.append("")


def heading_anchor(heading: str) -> str:
    """Return the anchor of a heading: as GitHub writes it, and JupyterLab but for its capitals."""
    return heading.strip().replace(" ", "-").lower()


def term_anchor(term: str) -> str:
    """Return how a link names a term of the glossary: `glossary.md#dataset-bias`."""
    return re.sub(r"[^a-z0-9]+", "-", term.lower()).strip("-")


class LinkTerms(SphinxPostTransform):
    """Follow the plain links by which chapters name sections, and terms of the glossary.

    A notebook says `[fall](../book/glossary.md#fall)`, which JupyterLab and GitHub show as a link
    to the glossary; in the book it leads to the term itself. A term that the glossary does not
    have is a warning, and so an error of the build.
    """

    default_priority = 5  # before MyST looks for a heading of that name

    def run(self, **kwargs: Any) -> None:
        """Replace the references of one page."""
        terms = {
            (page, term_anchor(name)): anchor
            for name, _, kind, page, anchor, _ in self.env.get_domain("std").get_objects()
            if kind == "term"
        }
        pages = {page for page, _ in terms}
        for node in list(self.document.findall(addnodes.pending_xref)):
            page, wanted = node["reftarget"], node.get("reftargetid")
            if node.get("refdomain") != "doc" or not wanted:
                continue
            if page not in pages:
                node["reftargetid"] = wanted.lower()
                continue
            if (page, wanted) not in terms:
                logging.getLogger(__name__).warning(
                    "the glossary %s has no term %r", page, wanted, location=node
                )
                continue
            address = self.app.builder.get_relative_uri(self.env.docname, page)
            address += f"#{terms[page, wanted]}"
            link = nodes.reference("", "", internal=True, refuri=address, classes=["term"])
            link += node.children
            node.replace_self(link)


def _description(app: Sphinx, context: dict[str, Any], doctree: Any) -> str:
    """Return what is shown of a page where somebody sends a link to it: words, and a picture."""
    paragraphs = doctree.findall(nodes.paragraph) if doctree is not None else ()
    texts = [" ".join(one.astext().split()) for one in paragraphs]
    said = html.escape(next((text for text in texts if len(text) > 60), app.config.html_title))
    said = said if len(said) <= 200 else said[:197].rsplit(" ", 1)[0] + " ..."
    address = app.config.html_theme_options["repository_url"]
    # The picture has to have a whole address: the one where .github/workflows/book.yml publishes.
    owner, _, name = address.removeprefix("https://github.com/").partition("/")
    base = app.config.html_baseurl or f"https://{owner}.github.io/{name}/"
    base = "" if address.startswith(NOWHERE) else base
    tags = {
        "og:type": "article",
        "og:title": html.escape(re.sub("<[^>]*>", "", context.get("title", "BiasMIR"))),
        "og:description": said,
        "og:image": f"{base}_static/preview.png",
        "twitter:card": "summary_large_image",
    }
    lines = [f'<meta property="{key}" content="{value}" />' for key, value in tags.items()]
    return "\n".join(["", f'<meta name="description" content="{said}" />', *lines, ""])


def _mend_page(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """Take out Thebe, let pictures fit the screen, name what a screen reader could not.

    Jupyter Book loads sphinx-thebe always, and the theme does once more: a script that is an error
    the second time, with the address of a CDN, though Thebe is off.
    """
    for kind in ("script_files", "css_files"):
        files = context[kind]
        context[kind] = [one for one in files if "thebe" not in str(vars(one)).lower()]
    if "body" in context:
        # The role that docutils writes is deprecated, and not allowed in a list.
        body = context["body"].replace('role="doc-biblioentry"', 'role="listitem"')
        context["body"] = _choose_picture(app, body)
    context["metatags"] = context.get("metatags", "") + _description(app, context, doctree)
    contents = context.get("generate_toctree_html")
    if contents is not None:
        context["generate_toctree_html"] = lambda *given, **named: str(
            contents(*given, **named)
        ).replace("<summary>", '<summary aria-label="Pages of this part">')
