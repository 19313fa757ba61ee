// Elements from plain data. Text is set as text, never as markup: the page has Trusted Types on, so
// that a slip would throw instead of running a model's words.
export const $$ = id => document.getElementById(id);

export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, to] of Object.entries(value)) node.style.setProperty(key, to);
    else if (name in node && name !== "list") node[name] = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter(child => child !== null && child !== undefined && child !== false));
  return node;
}

// Hues of the panes, the same everywhere a pane or a model is drawn; all have 4.5:1 on both grounds.
export const hue = index => `var(--hue${index % 6})`;

export const percent = x => x >= 0.9995 ? "100 %" : `${(100 * x).toFixed(1)} %`;

export function seconds(x) {
  if (x === null || x === undefined) return "–";
  return x < 1 ? `${Math.round(1000 * x)} ms` : `${x.toFixed(x < 10 ? 2 : 1)} s`;
}

export const count = n => n.toLocaleString("en-US");

// Text with every place of `wanted` marked, in any case.
export function marked(text, wanted) {
  if (!wanted) return [text];
  const low = text.toLowerCase(), found = wanted.toLowerCase(), parts = [];
  if (low.length !== text.length) return [text];      // a few letters grow in lower case
  let from = 0;
  for (let at; (at = low.indexOf(found, from)) >= 0; from = at + found.length)
    parts.push(text.slice(from, at), el("mark", {}, text.slice(at, at + found.length)));
  return [...parts, text.slice(from)];
}

export function notify(message) {
  $$("notice").textContent = message;
  $$("notice").hidden = !message;
}
