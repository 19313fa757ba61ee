// What encoders see in an image: classes, nearest neighbours, and where the models differ.
// Texts are drawn alike (texts.js).
import {send} from "./api.js";
import {$$, el, hue, notify, percent, seconds} from "./dom.js";

export function makeImages(state) {
  const box = $$("images"), names = state.contestants.filter(one => one.reads.length).map(one => one.name);
  const sets = state.datasets.map((one, number) => ({...one, number})).filter(one => one.images);
  const found = el("div", {className: "panes"}), said = el("p", {className: "summary", role: "status"});
  const preview = el("img", {className: "preview", alt: "", hidden: true});
  const file = el("input", {type: "file", accept: [...new Set(state.contestants.flatMap(one => one.reads))].map(kind => `${kind}/*`).join(","), id: "image-file", onchange: () => file.files[0] && compare(file.files[0])});
  const among = el("select", {id: "among", onchange: () => last && compare(last)},
    sets.map(one => el("option", {value: one.number}, one.name)), el("option", {value: ""}, "no data set"));
  const drop = el("label", {className: "drop card", htmlFor: "image-file"}, preview,
    el("span", {}, el("strong", {}, "Choose an image"), " or drop one here"), file);
  let last = null, newest = 0;

  for (const [kind, over] of [["dragover", true], ["dragleave", false], ["drop", false]])
    drop.addEventListener(kind, event => {
      event.preventDefault();
      drop.classList.toggle("over", over);
      if (kind === "drop" && event.dataTransfer.files[0]) compare(event.dataTransfer.files[0]);
    });

  async function compare(image) {
    const own = ++newest;
    last = image;
    notify("");
    if (preview.src) URL.revokeObjectURL(preview.src);
    preview.src = URL.createObjectURL(image);
    preview.hidden = !image.type.startsWith("image/");
    said.textContent = sets.length && among.value !== "" ? "Asking … the first image also has the rows embedded." : "Asking …";
    const query = new URLSearchParams({models: names.slice(0, 6).join("\n"), data: among.value});
    try {
      const answer = await send(`arena/images?${query}`, "POST", image);
      if (own !== newest) return;
      found.replaceChildren(...answer.panes.map((pane, index) => drawPane(pane, index, answer)));
      said.textContent = answer.sentence;
    } catch (err) { if (own === newest) { said.textContent = ""; notify(err.message); } }
  }

  box.replaceChildren(el("div", {className: "row head"}, el("h1", {}, "Images"),
    sets.length ? el("label", {className: "inline"}, "Neighbours from ", among) : el("p", {className: "faint"}, "Start with --data DIR to see nearest neighbours.")),
    drop, said, found);
  return {show() { file.focus(); }};
}

export function drawPane(pane, index, answer) {
  const body = pane.error ? [el("p", {className: "error"}, pane.error)] : [
    pane.classes.length ? el("ul", {className: "classes", "aria-label": "Classes"}, pane.classes.map(one => el("li", {className: one.spread >= 0.2 ? "apart" : ""},
      el("span", {}, one.label), el("i", {style: {"--share": one.probability}}), el("b", {}, percent(one.probability)),
      one.spread >= 0.2 ? el("small", {}, `models differ by ${Math.round(100 * one.spread)} points`) : ""))) : "",
    pane.neighbours.length ? el("ul", {className: pane.neighbours[0].text ? "neighbours passages" : "neighbours", "aria-label": "Nearest neighbours"}, pane.neighbours.map(one => el("li", {className: one.shared ? "" : "own"},
      one.text ? el("p", {}, one.text) : el("img", {src: `arena/data/${answer.data}/images/${one.row}`, alt: `Row ${one.row}`, loading: "lazy"}), el("small", {}, one.label || `row ${one.row}`), el("small", {}, one.similarity.toFixed(3))))) : ""];
  return el("article", {className: "pane card", style: {"--hue": hue(index)}, "aria-label": pane.name},
    el("header", {}, el("span", {className: "label"}, "ABCDEF"[index]), el("span", {className: "name"}, pane.name)), el("div", {className: "found"}, body),
    el("footer", {}, el("span", {}, seconds(pane.seconds)), pane.size ? el("span", {}, `${pane.size} numbers`) : ""));
}
