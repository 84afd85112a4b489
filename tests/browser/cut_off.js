/* What a reader cannot see of the open page, each in words.

Tables and formulas wider than their room have to scroll by themselves and to show that there is
more; with the room of a desktop tables have to fit, and so has code of 88 columns. Links beside and
below the text have to stay in their place. The page itself never scrolls sideways. */
() => {
  const wide = innerWidth >= 1200;
  const columns = 88;
  const found = [];
  const short = (text) => JSON.stringify(text.trim().replace(/\s+/g, " ").slice(0, 60));
  const seen = (one) => one.checkVisibility() && one.getBoundingClientRect().width > 0;
  const scrolls = (one) => /auto|scroll/.test(getComputedStyle(one).overflowX);
  const all = (selector) => [...document.querySelectorAll(selector)].filter(seen);

  const { scrollWidth, clientWidth } = document.documentElement;
  if (scrollWidth > clientWidth) found.push(`the page is ${scrollWidth} px wide`);
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
    // The text itself: an element may be narrow and its words stick out.
    const right = Math.max(...[link, ...link.querySelectorAll("*")].map((one) => {
      const range = document.createRange();
      range.selectNodeContents(one);
      return range.getBoundingClientRect().right;
    }));
    if (right > room + 1) found.push(`the link ${short(link.innerText)} is cut off`);
  }
  for (const code of wide ? all(".bd-article pre") : []) {
    const longest = Math.max(...code.textContent.split("\n").map((line) => line.length));
    if (longest <= columns && code.scrollWidth > code.clientWidth)
      found.push(`code ${short(code.textContent)} of ${longest} columns is cut off`);
  }
  return found;
}
