// The panes of a round: what came, where it parts from the others, how fast it was.
import {el, hue, percent, seconds} from "./dom.js";
import {partings, sentence, tokenAt} from "./divergence.js";

export function makePanes(box, said) {
  let panes = [], due = 0;

  function open(round) {
    panes = round.panes.map((about, index) => makePane(about, index, round.panes.length));
    box.replaceChildren(...panes.map(pane => pane.node));
    box.dataset.count = panes.length;
    said.textContent = "";
  }

  function take(event) {
    const pane = panes[event.pane];
    if (!pane) return;
    if (event.text) pane.text += event.text;
    if (event.tokens) pane.tokens.push(...event.tokens);
    if (event.ended) end(pane, event.ended);
    if (!due) due = requestAnimationFrame(draw);      // once a frame, however many parts came
  }

  function end(pane, figures) {
    pane.ended = true;
    Object.assign(pane, {finish: figures.finish, error: figures.error});
    pane.live.setAttribute("aria-busy", "false");
    pane.node.classList.toggle("failed", Boolean(figures.error));
    pane.node.classList.remove("writing");
    if ("seconds" in figures) pane.figures.replaceChildren(...facts(figures));
  }

  function stop() {
    for (const pane of panes) if (!pane.ended) end(pane, {finish: "stopped", error: null});
    draw();
  }

  function reveal(shown) {
    shown.names.forEach((name, index) => {
      panes[index].name.textContent = name;
      panes[index].name.classList.remove("hidden-name");
      end(panes[index], shown.panes[index]);
    });
    draw();
  }

  function draw() {
    due = 0;
    const at = partings(panes);
    panes.forEach((pane, index) => {
      pane.live.replaceChildren(...parts(pane, at[index]));
      if (!pane.ended) pane.live.scrollTop = pane.live.scrollHeight;
    });
    const message = sentence(panes, at);
    if (said.textContent !== message) said.textContent = message;
  }

  function jump() {
    const marks = box.querySelectorAll(".parting");
    for (const mark of marks) mark.scrollIntoView({block: "nearest"});
    marks[0]?.closest(".pane").focus();
  }

  return {open, take, stop, reveal, jump, all: () => panes};
}

function makePane(about, index, number) {
  const name = el("span", {className: about.name ? "name" : "name hidden-name"}, about.name ?? "hidden until you vote");
  // Polite: a screen reader reads on when it has time; the busy state keeps it from reading halves.
  const live = el("div", {className: "text", role: "log", tabIndex: 0, "aria-live": "polite", "aria-busy": "true",
                          "aria-label": `Answer ${about.label}`, dir: "auto"});
  const figures = el("footer");
  const node = el("article", {className: "pane card writing", tabIndex: -1, "aria-label": `Pane ${about.label}`,
                              style: {"--hue": hue(index)}},
    el("header", {}, el("span", {className: "label"}, number > 1 ? about.label : "●"), name, el("span", {className: "dot", "aria-hidden": "true"})),
    live, figures);
  return {label: about.label, node, name, live, figures, text: "", tokens: [], ended: false, finish: null, error: null};
}

function parts(pane, at) {
  if (pane.error) return [pane.text, el("p", {className: "error"}, pane.error)];
  if (!pane.text) return pane.ended ? [el("span", {className: "faint"}, "(an empty answer)")] : [];
  if (at === null) return [pane.text];
  const point = Array.from(pane.text.slice(at, at + 2))[0] ?? "";
  const token = tokenAt(pane.tokens, at, pane.text);
  // A token is marked whole where tokens are known, else the character; the end of a text by a sign.
  const from = token ? token.start : at;
  const length = token ? token.token[0].length : point.length;
  const shown = pane.text.slice(from, from + length), blank = shown.length - shown.trimStart().length;
  const lead = blank < shown.length ? blank : 0;      // a mark over a line's end would cover two lines
  const mark = el("mark", {className: "parting", title: token ? chances(token.token) : "Here the answers part"},
    shown === "" ? "⏹" : lead < blank ? visible(shown) : shown.slice(lead));
  return [el("span", {className: "same"}, pane.text.slice(0, from + lead)), mark, pane.text.slice(from + length),
          token && token.token[2].length ? alternatives(token) : null].filter(Boolean);
}

const visible = blank => blank.replaceAll("\n", "⏎\n").replaceAll(" ", "␣");

const chances = ([text, logprob]) => logprob === null ? JSON.stringify(text) : `${JSON.stringify(text)} had ${percent(Math.exp(logprob))}`;

function alternatives({number, token}) {
  const best = token[2].slice(0, 4).sort((a, b) => b[1] - a[1]);
  return el("ul", {className: "chances", "aria-label": `Most probable at token ${number + 1}`},
    best.map(([text, logprob]) => el("li", {className: text === token[0] ? "drawn" : ""},
      el("code", {}, JSON.stringify(text).slice(1, -1)), el("i", {style: {"--share": Math.exp(logprob)}}), el("b", {}, percent(Math.exp(logprob))))));
}

function facts(figures) {
  const ends = {length: "cut at the limit", stop: "came to an end", stopped: "stopped", error: "failed"};
  const tokens = figures.tokens === null ? null : `${figures.counted ? "" : "about "}${figures.tokens} tokens`;
  const rate = figures.tokens_per_second ? `${figures.tokens_per_second.toFixed(figures.tokens_per_second < 100 ? 1 : 0)} per second` : null;
  const first = figures.first_seconds === null ? null : seconds(figures.first_seconds);
  return [["first token", first], ["tokens", tokens], ["speed", rate], ["in all", seconds(figures.seconds)],
          ["end", ends[figures.finish] ?? figures.finish]]
    .filter(([, value]) => value)
    .map(([title, value]) => el("span", {title}, title === "first token" ? `first token ${value}` : value));
}
