/* What the pages with something to move have in common: they show themselves when their data are
 * there, find their parts by name, and fill their lists.
 */
"use strict";

window.biasmirLive = (id, data, run) => {
  const root = document.getElementById(id);
  if (!data || !root) {
    return;
  }
  const part = (name) => root.querySelector(`[data-part="${name}"]`);
  const fill = (name, options) => {
    part(name).append(...options.map(([value, text]) => new Option(text, value)));
  };
  root.hidden = false;
  run({ root, data, part, fill, INK: "#222222" });
};
