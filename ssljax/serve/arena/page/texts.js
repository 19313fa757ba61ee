// What models find near a text: the rows of a data set whose vectors are the most similar.
import {send} from "./api.js";
import {$$, el, notify} from "./dom.js";
import {drawPane} from "./images.js";

export const readers = state => state.contestants.filter(one => !one.reads.length).map(one => one.name);
export const corpora = state => state.datasets.map((one, number) => ({...one, number})).filter(one => !one.images);

export function makeTexts(state) {
  const names = readers(state).slice(0, 6), found = el("div", {className: "panes"}), said = el("p", {className: "summary", role: "status"});
  const among = el("select", {id: "corpus"}, corpora(state).map(one => el("option", {value: one.number}, one.name)));
  const field = el("textarea", {id: "near", rows: 3, spellcheck: false, placeholder: "Write a text, then press Ctrl + Enter",
    onkeydown: event => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); compare(); } }});
  let newest = 0;

  async function compare() {
    const own = ++newest;
    if (!field.value.trim()) return;
    notify("");
    said.textContent = "Asking … the first text also has the rows embedded.";
    try {
      const answer = await send(`arena/texts?${new URLSearchParams({models: names.join("\n"), data: among.value})}`, "POST", field.value);
      if (own !== newest) return;
      found.replaceChildren(...answer.panes.map((pane, index) => drawPane(pane, index, answer)));
      said.textContent = answer.sentence;
    } catch (err) { if (own === newest) { said.textContent = ""; notify(err.message); } }
  }

  $$("texts").replaceChildren(
    el("div", {className: "row head"}, el("h1", {}, "Texts"), el("label", {className: "inline"}, "Neighbours from ", among)),
    el("form", {className: "card composer", onsubmit: event => { event.preventDefault(); compare(); }},
      el("label", {className: "sr", htmlFor: "near"}, "Text"), field,
      el("div", {className: "row settings"}, el("span", {className: "actions"}, el("button", {className: "primary"}, "Find")))),
    said, found);
  return {show() { field.focus(); }};
}
