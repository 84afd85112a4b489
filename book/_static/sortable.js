/* Long tables can be sorted: a press on a heading sorts by its column, another turns the order. */
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const LONG = 8;

  /* The number that a cell begins with (`−0.012 [−0.03, 0.01]`), or null. */
  const number = (text) => {
    const found = text.replace(/\u2212/g, "-").replace(/,(?=\d{3})/g, "").match(/^[+-]?\d+(\.\d+)?/);
    return found ? Number(found[0]) : null;
  };

  for (const table of document.querySelectorAll(".bd-article table")) {
    const heads = [...table.querySelectorAll("thead tr:only-child th")];
    const every = [...table.querySelectorAll("tbody tr")];
    // A sum stays at the bottom.
    const rows = every.filter((row) => !/^All\b/.test(row.textContent.trim()));
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
        const numeric = rows.every((row) => !texts.get(row) || number(texts.get(row)) !== null);
        const compare = (a, b) =>
          numeric
            ? (number(texts.get(a)) ?? -Infinity) - (number(texts.get(b)) ?? -Infinity)
            : texts.get(a).localeCompare(texts.get(b));
        rows
          .sort((a, b) => (down ? -1 : 1) * compare(a, b))
          .concat(every.filter((row) => !rows.includes(row)))
          .forEach((row) => row.parentNode.append(row));
      });
    });
  }
});
