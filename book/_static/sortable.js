/* Long tables can be sorted: a press on a heading sorts by its column, another turns the order. */
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const LONG = 8;

  /* The number that a cell begins with (`−0.012 [−0.03, 0.01]`), or null. */
  const number = (text) => {
    const found = text.replace(/\u2212/g, "-").replace(/,(?=\d{3})/g, "").match(/^[+-]?\d+(\.\d+)?/);
    return found ? Number(found[0]) : null;
  };
  /* Nothing to compare: empty, or the dash of a value that there is not. */
  const blank = (text) => /^[-\u2013\u2014]?$/.test(text);

  for (const table of document.querySelectorAll(".bd-article table")) {
    const heads = [...table.querySelectorAll("thead tr:only-child th")];
    const every = [...table.querySelectorAll("tbody tr")];
    // A sum stays at the bottom.
    const rows = every.filter((row) => !/^All\b/.test(row.cells[0]?.textContent.trim()));
    const whole = rows.every((row) => row.cells.length === heads.length);
    // Without a heading over its first column, a table is a comparison of its columns.
    const headless = !heads.length || !heads[0].textContent.trim();
    if (headless || rows.length < LONG || !whole || table.querySelector("[colspan], [rowspan]")) {
      continue;
    }
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        heads.forEach((one) => one.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const texts = new Map(rows.map((row) => [row, row.cells[column].textContent.trim()]));
        const filled = [...texts.values()].filter((text) => !blank(text));
        const numeric = filled.every((text) => number(text) !== null);
        const compare = (a, b) => (numeric ? number(a) - number(b) : a.localeCompare(b));
        // In either order, rows without a value come last.
        const order = (a, b) =>
          blank(a) || blank(b) ? blank(a) - blank(b) : (down ? -1 : 1) * compare(a, b);
        rows
          .sort((a, b) => order(texts.get(a), texts.get(b)))
          .concat(every.filter((row) => !rows.includes(row)))
          .forEach((row) => row.parentNode.append(row));
      });
    });
  }
});
