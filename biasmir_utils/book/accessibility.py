"""What axe-core, the accessibility checker, finds on a page that is open in the browser.

Only its script is used, from a Python package that carries it; nothing of that package is run.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

from biasmir_utils.book.browser import Browser
from biasmir_utils.errors import BookError

PACKAGE = "axe_playwright_python"
SERIOUS = ("serious", "critical")

_RUN = """axe.run(document, {resultTypes: ["violations"]}).then(found => found.violations.map(
  one => ({id: one.id, impact: one.impact, help: one.help,
           where: one.nodes.map(node => node.target.join(" ")),
           why: one.nodes.map(node => node.failureSummary)})))"""


def find_axe() -> Path:
    """Return the path of axe's script.

    Raises
    ------
    BookError
        It is not installed; the message says how to install it.
    """
    found = importlib.util.find_spec(PACKAGE)
    folders = [] if found is None else list(found.submodule_search_locations or [])
    for folder in folders:
        script = Path(folder, "axe.min.js")
        if script.is_file():
            return script
    raise BookError(
        "axe-core is not installed; the package that carries it needs none of its requirements: "
        "pip install --no-deps -c constraints.txt axe-playwright-python"
    )


def violations(
    browser: Browser, script: Path | None = None, impacts: tuple[str, ...] = SERIOUS
) -> list[str]:
    """Return what axe finds on the page that is open, one line for each rule.

    Parameters
    ----------
    browser : Browser
    script : path, optional
        axe's script; looked for when not given.
    impacts : tuple of str
        The kinds to name: of `minor`, `moderate`, `serious`, `critical`.
    """
    source = (script or find_axe()).read_text(encoding="utf-8")
    browser.evaluate(f"(() => {{ {source}\nreturn true; }})()")
    found = browser.evaluate(_RUN)
    return [
        f"{one['impact']}: {one['help']} ({one['id']}) at {'; '.join(one['where'][:5])}"
        + (f" and {len(one['where']) - 5} more" if len(one["where"]) > 5 else "")
        + f": {json.dumps(one['why'][0])}"
        for one in found
        if one["impact"] in impacts
    ]
