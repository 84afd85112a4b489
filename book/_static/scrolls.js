/* What is wider than its room scrolls by itself. The edge behind which there is more fades out:
   on a telephone, and on many a desktop, no bar would say so. */
"use strict";

(() => {
  const WIDE = [
    ".cell_output",
    ".cell_output .output",
    ".cell_output [role=region]",
    ".pst-scrollable-table-container",
    "div.math mjx-container",
    "pre",
  ]
    .map((one) => `.bd-article ${one}`)
    .join(", ");

  const tell = (box) => {
    const beyond = box.scrollWidth - box.clientWidth;
    const scrolls = beyond > 1 && /auto|scroll/.test(getComputedStyle(box).overflowX);
    const sides = [];
    if (scrolls && box.scrollLeft > 1) sides.push("left");
    if (scrolls && box.scrollLeft < beyond - 1) sides.push("right");
    if (sides.length) box.dataset.more = sides.join(" ");
    else delete box.dataset.more;
  };

  const watched = new WeakSet();
  const resized = new ResizeObserver((entries) => entries.forEach(({ target }) => tell(target)));
  const look = () => {
    for (const box of document.querySelectorAll(WIDE)) {
      if (!watched.has(box)) {
        watched.add(box);
        resized.observe(box);
        box.addEventListener("scroll", () => tell(box), { passive: true });
      }
      tell(box);
    }
  };

  window.addEventListener("load", () => {
    look();
    // Formulas have their width when they are set.
    window.MathJax?.startup?.promise?.then(look);
  });
})();
