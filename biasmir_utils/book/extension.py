"""A Sphinx extension with the few things that Jupyter Book's settings cannot say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.config import Config

_THEBE = ("THEBE_JS_URL", "sphinx-thebe.js", "sphinx-thebe.css")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension; called by Sphinx."""
    app.connect("config-inited", _offer_address)
    # After the extensions that add their scripts to the page.
    app.connect("html-page-context", _drop_thebe, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def _offer_address(app: Sphinx, config: Config) -> None:
    """Let pages say `{{ repository }}` for the address that _config.yml sets."""
    config.myst_substitutions = {
        **config.myst_substitutions,
        "repository": config.html_theme_options["repository_url"],
    }


def _drop_thebe(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """Take Thebe's scripts out of the page.

    Jupyter Book loads the sphinx-thebe extension always, and it writes the address of a CDN
    into every page, though Thebe is off.
    """
    for kind in ("script_files", "css_files"):
        context[kind] = [
            file
            for file in context.get(kind, [])
            if not any(
                mark in str(getattr(file, "filename", file)) + _body(file) for mark in _THEBE
            )
        ]


def _body(file: Any) -> str:
    return str(getattr(file, "attributes", {}).get("body") or "")
