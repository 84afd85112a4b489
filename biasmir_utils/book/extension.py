"""A Sphinx extension with the few things that Jupyter Book's settings cannot say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.config import Config


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension; called by Sphinx."""
    app.connect("config-inited", _offer_address)
    app.connect("config-inited", _switch_thebe_off)
    # After the extensions that put the page together.
    app.connect("html-page-context", _mend_page, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def _offer_address(app: Sphinx, config: Config) -> None:
    """Let pages say `{{ repository }}` for the address that _config.yml sets."""
    config.myst_substitutions = {
        **config.myst_substitutions,
        "repository": config.html_theme_options["repository_url"],
    }


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


def _mend_page(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """Drop MathJax where there is no formula; give references a role that browsers know.

    Sphinx loads MathJax (1.2 MB) also on a page that has a chapter with formulas under it, as
    the first page has. The role `doc-biblioentry` is deprecated, and not allowed in a list.
    """
    if not app.env.get_domain("math").data["has_equations"].get(pagename):
        context["script_files"] = [
            file
            for file in context["script_files"]
            if "mathjax" not in f"{getattr(file, 'filename', file)}{_body(file)}".lower()
        ]
    if context.get("body"):
        context["body"] = context["body"].replace('role="doc-biblioentry"', 'role="listitem"')


def _body(file: Any) -> str:
    return str(getattr(file, "attributes", {}).get("body") or "")
