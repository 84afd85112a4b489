/* The explorer page: clips of the demonstration corpus as points that can be heard.
 *
 * Everything it shows is in window.BIASMIR_EXPLORER (data.js, made at the build); nothing is
 * fetched but the one sound file that is played. Large marks are clips with sound: they can be
 * pointed at, clicked, and walked to with the arrow keys. Small dots are all the other clips.
 */
"use strict";

window.biasmirLive("explorer", window.BIASMIR_EXPLORER, ({ root, data, part, fill, INK }) => {
  const MARGIN = 16; // pixels between the outermost points and the edge
  const REACH = 22; // pixels within which a click or a touch finds a mark
  const GLIDE = 450; // milliseconds from one view to the next

  /* Marks as paths in a box from -1 to 1, with the names that the book's figures use. */
  const MARKS = {
    o: "M1 0A1 1 0 1 1-1 0A1 1 0 1 1 1 0Z",
    "^": "M0-1.1L1.05.8L-1.05.8Z",
    s: "M-.88-.88H.88V.88H-.88Z",
    D: "M0-1.15L1.15 0L0 1.15L-1.15 0Z",
    v: "M0 1.1L1.05-.8L-1.05-.8Z",
    P: "M-.4-1.1H.4V-.4H1.1V.4H.4V1.1H-.4V.4H-1.1V-.4H-.4Z",
    X: "M-1.1-.6L-.6-1.1L0-.5L.6-1.1L1.1-.6L.5 0L1.1.6L.6 1.1L0 .5L-.6 1.1L-1.1.6L-.5 0Z",
    "<": "M-1.1 0L.8-1.05L.8 1.05Z",
    "*": "M0-1.25L.31-.4L1.2-.38L.5.15L.74 1.02L0 .52L-.74 1.02L-.5.15L-1.2-.38L-.31-.4Z",
    ">": "M1.1 0L-.8-1.05L-.8 1.05Z",
  };

  const choice = { embedding: part("embedding"), correction: part("correction"), by: part("by") };
  const map = part("map");
  const canvas = part("canvas");
  const legend = part("legend");
  const label = part("label");
  const told = part("told");
  const reading = part("reading");
  const player = part("player");
  const context = canvas.getContext("2d");
  const calm = window.matchMedia("(prefers-reduced-motion: reduce)");

  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const unpacked = new Map();
  const view = (embedding, correction) => {
    const key = `${embedding} ${correction}`;
    if (!unpacked.has(key)) {
      const raw = bytes(data.embeddings[embedding][correction].points);
      unpacked.set(key, Float32Array.from(new Uint16Array(raw.buffer), (one) => one / data.grid));
    }
    return unpacked.get(key);
  };
  const categories = {};
  for (const [name, one] of Object.entries(data.colours)) {
    categories[name] = bytes(one.of);
  }
  const soundOf = new Map(data.sounds.map((one, number) => [one.row, number]));

  let current = null; // coordinates that are drawn, between two views while they glide
  let selected = 0; // position in data.sounds
  let highlighted = null; // a category that stands out, or null
  let ticket = 0; // of the glide that is under way

  /* ------------------------------------------------------------------ drawing */

  const place = (row) => [
    MARGIN + current[2 * row] * (canvas.clientWidth - 2 * MARGIN),
    canvas.clientHeight - MARGIN - current[2 * row + 1] * (canvas.clientHeight - 2 * MARGIN),
  ];

  function mark(path, colour, x, y, size, faint) {
    context.save();
    context.translate(x, y);
    context.scale(size, size);
    context.globalAlpha = faint ? 0.15 : 1;
    context.fillStyle = colour;
    context.fill(path);
    context.lineWidth = 1.2 / size;
    context.strokeStyle = INK;
    context.stroke(path);
    context.restore();
  }

  function draw() {
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.fillStyle = "#ffffff";
    context.fillRect(0, 0, width, height);
    const looks = data.colours[choice.by.value].looks;
    const of = categories[choice.by.value];
    const outside = (row) => highlighted !== null && of[row] !== highlighted;
    for (let row = 0; row < data.clips; row += 1) {
      if (!soundOf.has(row)) {
        const [x, y] = place(row);
        context.globalAlpha = outside(row) ? 0.06 : 0.45;
        context.fillStyle = looks[of[row]][0];
        context.fillRect(x - 1.25, y - 1.25, 2.5, 2.5);
      }
    }
    context.globalAlpha = 1;
    const size = width < 500 ? 4.5 : 5.5;
    for (const { row } of data.sounds) {
      const [colour, shape] = looks[of[row]];
      mark(paths[shape], colour, ...place(row), size, outside(row));
    }
    const { row } = data.sounds[selected];
    const [colour, shape] = looks[of[row]];
    const [x, y] = place(row);
    mark(paths[shape], colour, x, y, size * 1.6, false);
    context.beginPath();
    context.arc(x, y, size * 2.6, 0, 2 * Math.PI);
    context.lineWidth = 2.5;
    context.strokeStyle = INK;
    context.stroke();
  }

  const paths = {};
  for (const [name, path] of Object.entries(MARKS)) {
    paths[name] = new Path2D(path);
  }

  function glide(target) {
    ticket += 1;
    const mine = ticket;
    if (!current || calm.matches) {
      current = target;
      draw();
      return;
    }
    const from = current;
    const start = performance.now();
    const step = (now) => {
      if (mine !== ticket) {
        return;
      }
      const share = Math.min(1, (now - start) / GLIDE);
      const eased = share * share * (3 - 2 * share);
      current = target.map((value, index) => from[index] + (value - from[index]) * eased);
      if (share === 1) {
        current = target;
      }
      draw();
      if (share < 1) {
        requestAnimationFrame(step);
      }
    };
    requestAnimationFrame(step);
  }

  /* ---------------------------------------------------------- what can be chosen */

  function showLegend() {
    highlighted = null;
    const { names, looks } = data.colours[choice.by.value];
    legend.replaceChildren(
      ...names.map((name, number) => {
        const button = document.createElement("button");
        button.type = "button";
        button.setAttribute("aria-pressed", "false");
        const [colour, shape] = looks[number];
        button.innerHTML =
          `<svg viewBox="-1.6 -1.6 3.2 3.2" aria-hidden="true"><path d="${MARKS[shape]}"` +
          ` fill="${colour}" stroke="${INK}" stroke-width=".25"/></svg>`;
        button.append(name);
        button.addEventListener("click", () => {
          highlighted = highlighted === number ? null : number;
          [...legend.children].forEach((one, index) =>
            one.setAttribute("aria-pressed", String(index === highlighted))
          );
          draw();
        });
        return button;
      })
    );
  }

  function showView() {
    const [embedding, correction] = [choice.embedding.value, choice.correction.value];
    root.dataset.view = `${embedding} ${correction}`;
    const of = (table, key) => table[embedding][key];
    const before = (value) => (correction === "none" ? "" : ` (${value.toFixed(3)} uncorrected)`);
    const fall = of(data.falls, correction);
    const { auc } = of(data.embeddings, correction);
    reading.textContent =
      `Trained on the other dataset, recognisers of ten instruments on ${embedding} lose ` +
      `${fall.toFixed(3)} of their mean ROC-AUC${before(of(data.falls, "none"))}. A linear probe ` +
      `reads the dataset with a ROC-AUC of ${auc.toFixed(3)}` +
      `${before(of(data.embeddings, "none").auc)}.`;
    glide(view(embedding, correction));
  }

  /* ------------------------------------------------------- clips: to name, to play */

  function select(number, announce) {
    selected = number;
    root.dataset.selected = String(number);
    const one = data.sounds[number];
    const text = `${one.name}. Clip ${number + 1} of ${data.sounds.length} with sound.`;
    label.textContent = text;
    if (announce) {
      told.textContent = text;
    }
    if (player.dataset.file !== one.file) {
      player.pause();
      player.dataset.file = one.file;
      player.setAttribute("aria-label", one.name);
      player.src = root.dataset.folder + one.file;
    }
    if (current) {
      draw();
    }
  }

  function play() {
    if (!player.paused) {
      player.pause();
      return;
    }
    player.currentTime = 0;
    player.play().catch(() => {
      told.textContent = "This browser could not play the clip.";
    });
  }

  function nearest(x, y) {
    let [best, distance] = [-1, REACH];
    data.sounds.forEach(({ row }, number) => {
      const [px, py] = place(row);
      const away = Math.hypot(px - x, py - y);
      if (away < distance) {
        [best, distance] = [number, away];
      }
    });
    return best;
  }

  /* The next mark in a direction: near, and not too far aside. */
  function towards(dx, dy) {
    const [x, y] = place(data.sounds[selected].row);
    let [best, least] = [selected, Infinity];
    data.sounds.forEach(({ row }, number) => {
      const [px, py] = place(row);
      const along = (px - x) * dx + (py - y) * dy;
      const aside = Math.abs((px - x) * dy) + Math.abs((py - y) * dx);
      const cost = along + 2 * aside;
      if (number !== selected && along > 0.5 && aside <= 2 * along && cost < least) {
        [best, least] = [number, cost];
      }
    });
    return best;
  }

  const KEYS = {
    ArrowRight: () => towards(1, 0),
    ArrowLeft: () => towards(-1, 0),
    ArrowUp: () => towards(0, -1),
    ArrowDown: () => towards(0, 1),
    PageDown: () => (selected + 1) % data.sounds.length,
    PageUp: () => (selected + data.sounds.length - 1) % data.sounds.length,
    Home: () => 0,
    End: () => data.sounds.length - 1,
  };

  map.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) {
      return;
    }
    if (KEYS[event.key]) {
      select(KEYS[event.key](), true);
    } else if (event.key === "Enter" || event.key === " ") {
      play();
    } else if (event.key === "Escape") {
      player.pause();
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  });

  const under = (event) => {
    const box = canvas.getBoundingClientRect();
    return nearest(event.clientX - box.left, event.clientY - box.top);
  };
  canvas.addEventListener("pointermove", (event) => {
    const found = under(event);
    canvas.style.cursor = found < 0 ? "default" : "pointer";
    // While a clip plays, passing over others does not cut it off.
    if (found >= 0 && found !== selected && player.paused) {
      select(found, false);
    }
  });
  canvas.addEventListener("click", (event) => {
    const found = under(event);
    if (found < 0) {
      return;
    }
    if (found !== selected) {
      player.pause();
      select(found, true);
    }
    play();
  });
  map.addEventListener("focus", () => {
    told.textContent = label.textContent;
  });

  for (const event of ["play", "pause", "ended"]) {
    player.addEventListener(event, () => {
      root.dataset.playing = String(!player.paused && !player.ended);
    });
  }

  fill("embedding", Object.keys(data.embeddings).map((name) => [name, name]));
  fill("correction", Object.entries(data.corrections));
  fill("by", Object.keys(data.colours).map((name) => [name, name]));
  choice.embedding.value = "musicnn" in data.embeddings ? "musicnn" : choice.embedding.value;
  choice.correction.value = "none";
  choice.by.value = "dataset";
  choice.embedding.addEventListener("change", showView);
  choice.correction.addEventListener("change", showView);
  choice.by.addEventListener("change", () => {
    showLegend();
    draw();
  });
  new ResizeObserver(() => current && draw()).observe(canvas);

  // Where a clip with sound is on the canvas: for tests.
  canvas.place = (number) => place(data.sounds[number].row);

  showLegend();
  select(0, false);
  showView();
});
