"""What is cut off on a page that is open in the browser, and so cannot be read or not easily."""

from __future__ import annotations

import json

from biasmir_utils.book.browser import Browser

DESKTOP = 1200
"""From this width on, in CSS pixels, tables and lines of code have room beside the contents."""
COLUMNS = 88
"""Characters of code that fit into a line there."""

_CUT_OFF = """(({desktop, columns}) => {
  const wide = innerWidth >= desktop;
  const found = [];
  const short = (text) => JSON.stringify(text.trim().replace(/\\s+/g, " ").slice(0, 60));
  const seen = (one) => one.checkVisibility() && one.getBoundingClientRect().width > 0;
  const scrolls = (one) => /auto|scroll/.test(getComputedStyle(one).overflowX);
  const all = (selector) => [...document.querySelectorAll(selector)].filter(seen);

  for (const inner of all(".bd-article table, .bd-article div.math mjx-math")) {
    const isTable = inner.tagName === "TABLE";
    const kind = isTable ? "table" : "formula";
    const words = isTable ? inner.innerText : inner.parentElement.textContent;
    const box = inner.parentElement.closest(
      isTable ? "[role=region], .output, .pst-scrollable-table-container" : "mjx-container"
    );
    if (!box) continue;
    const over = box.scrollWidth - box.clientWidth;
    if (over <= 1) continue;
    if (!scrolls(box)) found.push(`${kind} ${short(words)} is cut off by ${over} px`);
    else if (!box.dataset.more) found.push(`${kind} ${short(words)} does not show that it scrolls`);
    else if (wide && isTable) found.push(`${kind} ${short(words)} is ${over} px too wide`);
  }
  for (const link of all(".prev-next-area a, .bd-sidebar-secondary nav a")) {
    const room = (link.closest(".bd-sidebar-secondary") ?? link).getBoundingClientRect().right;
    const parts = [link, ...link.querySelectorAll("*")];
    // The text itself: an element may be narrow and its words stick out.
    const right = Math.max(...parts.map((one) => {
      const range = document.createRange();
      range.selectNodeContents(one);
      return range.getBoundingClientRect().right;
    }));
    if (right > room + 1) found.push(`the link ${short(link.innerText)} is cut off`);
  }
  if (wide) {
    for (const code of all(".bd-article pre")) {
      const longest = Math.max(...code.textContent.split("\\n").map((line) => line.length));
      if (longest <= columns && code.scrollWidth > code.clientWidth)
        found.push(`code ${short(code.textContent)} of ${longest} columns is cut off`);
    }
  }
  return found;
})"""


def cut_off(browser: Browser) -> list[str]:
    """Return what a reader cannot see of the page that is open, each in words.

    Tables and formulas wider than their room have to scroll by themselves and to show that there
    is more; with the room of a desktop tables have to fit, and so have `COLUMNS` of code. Links
    beside and below the text have to stay in their place.
    """
    settings = json.dumps({"desktop": DESKTOP, "columns": COLUMNS})
    found: list[str] = browser.evaluate(f"{_CUT_OFF}({settings})")
    return found
