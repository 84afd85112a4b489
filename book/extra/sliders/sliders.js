/* The page with two sliders. All that it shows is in window.BIASMIR_SLIDERS (data.js, made at the
 * build): nothing is computed anew but where points lie between two places, and what is counted.
 */
"use strict";

window.biasmirLive("sliders", window.BIASMIR_SLIDERS, ({ data, part, fill, INK }) => {
  const BLUE = "#3f90da";
  const RED = "#bd1f01";
  const draw = (name, attributes) => {
    const one = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) {
      one.setAttribute(key, value);
    }
    return one;
  };
  const word = (text, x, y, attributes = {}) => {
    const one = draw("text", { x, y, fill: INK, "font-size": 14, ...attributes });
    one.textContent = text;
    return one;
  };
  const share = (value) => `${Math.round(100 * value)}\u00a0%`;

  /* ------------------------------------------------------------ the dose, on a toy */

  const [WIDE, HIGH, PAD] = [400, 300, 14];

  function showDose() {
    const toy = data.toys[part("toy").value];
    const at = Number(part("dose").value);
    const dose = at / (toy.steps.length - 1);
    const all = [...toy.from, ...toy.to];
    const low = [0, 1].map((axis) => Math.min(...all.map((one) => one[axis])));
    const high = [0, 1].map((axis) => Math.max(...all.map((one) => one[axis])));
    const x = (value) => PAD + ((value - low[0]) / (high[0] - low[0])) * (WIDE - 2 * PAD);
    const y = (value) => HIGH - PAD - ((value - low[1]) / (high[1] - low[1])) * (HIGH - 2 * PAD);
    const marks = toy.from.map((one, row) => {
      const px = x(one[0] + dose * (toy.to[row][0] - one[0]));
      const py = y(one[1] + dose * (toy.to[row][1] - one[1]));
      const colour = toy.b[row] ? RED : BLUE;
      const look = { fill: toy.y[row] ? colour : "#ffffff", stroke: colour, "stroke-width": 1.5 };
      return toy.b[row]
        ? draw("path", { d: `M${px} ${py - 5}l5 9h-10z`, ...look })
        : draw("circle", { cx: px, cy: py, r: 4, ...look });
    });
    const { line, auc, balanced } = toy.steps[at];
    const [a, b, c] = line;
    // The line on which the score is zero, drawn along the axis on which it is flatter.
    const ends =
      Math.abs(b) * (high[0] - low[0]) >= Math.abs(a) * (high[1] - low[1])
        ? [0, 1].map((end) => [low, high][end][0]).map((u) => [u, -(a * u + c) / b])
        : [0, 1].map((end) => [low, high][end][1]).map((v) => [-(b * v + c) / a, v]);
    const [[x1, y1], [x2, y2]] = ends.map(([u, v]) => [x(u), y(v)]);
    const dashes = { stroke: INK, "stroke-width": 2, "stroke-dasharray": "7 5" };
    part("plane").replaceChildren(...marks, draw("line", { x1, y1, x2, y2, ...dashes }));
    part("dose-said").textContent =
      `Dose ${dose.toFixed(2)}. Trained on A and tested on B: ROC-AUC ${auc.toFixed(2)}, ` +
      `balanced accuracy ${balanced.toFixed(2)}.`;
  }

  /* --------------------------------------------------------- the threshold, on scores */

  const BINS = 24;
  const { sides, label, test_set: testSet } = data.threshold;
  const scores = sides.flatMap((side) => side.score);
  const [least, most] = [Math.min(...scores), Math.max(...scores)];

  function histogram(side, top, threshold) {
    const place = (value) => PAD + ((value - least) / (most - least)) * (WIDE - 2 * PAD);
    const marks = [word(side.title, PAD, top + 12)];
    for (const positive of [false, true]) {
      const some = side.score.filter((_, row) => side.y[row] === positive);
      const counts = new Array(BINS).fill(0);
      for (const one of some) {
        counts[Math.min(BINS - 1, Math.floor((BINS * (one - least)) / (most - least)))] += 1;
      }
      const tallest = Math.max(...counts);
      const base = top + (positive ? 62 : 112);
      counts.forEach((count, bin) => {
        const height = (42 * count) / tallest;
        const width = (WIDE - 2 * PAD) / BINS;
        const fill = positive ? BLUE : "#ffffff";
        const box = { x: PAD + bin * width, y: base - height, width: width - 1, height };
        marks.push(draw("rect", { ...box, fill, stroke: INK, "stroke-width": count ? 1 : 0 }));
      });
      const text = positive ? `${label}` : `no ${label}`;
      marks.push(word(text, WIDE - PAD, base - 28, { "text-anchor": "end", "font-size": 12 }));
    }
    const at = place(threshold);
    const dashes = { stroke: RED, "stroke-width": 2.5 };
    marks.push(draw("line", { x1: at, x2: at, y1: top + 18, y2: top + 114, ...dashes }));
    return marks;
  }

  function showThreshold() {
    const threshold = Number(part("threshold").value);
    part("scores").replaceChildren(
      ...sides.flatMap((side, number) => histogram(side, 130 * number, threshold))
    );
    const rows = sides.map((side) => {
      const found = (positive, above) =>
        side.score.filter((one, row) => side.y[row] === positive && one > threshold === above).length;
      const recall = found(true, true) / (found(true, true) + found(true, false));
      const kept = found(false, false) / (found(false, false) + found(false, true));
      const cells = [share(recall), share(kept), ((recall + kept) / 2).toFixed(2), side.auc.toFixed(2)];
      const row = document.createElement("tr");
      [side.title, ...cells].forEach((text, place) => {
        const cell = document.createElement(place ? "td" : "th");
        cell.textContent = text;
        row.append(cell);
      });
      row.firstChild.scope = "row";
      return row;
    });
    part("rates").replaceChildren(...rows);
    part("threshold-said").textContent =
      `Threshold ${threshold.toFixed(1).replace("-", "\u2212")}, tested on ${testSet}.`;
  }

  fill("toy", Object.keys(data.toys).map((name) => [name, name]));
  part("threshold").min = Math.floor(10 * least) / 10;
  part("threshold").max = Math.ceil(10 * most) / 10;
  part("threshold").value = 0;
  part("toy").addEventListener("change", showDose);
  part("dose").addEventListener("input", showDose);
  part("threshold").addEventListener("input", showThreshold);
  showDose();
  showThreshold();
});
