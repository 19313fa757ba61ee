// The first view: a prompt, its panes, a vote.
import {ask, events} from "./api.js";
import {$$, el, hue, notify} from "./dom.js";
import {makePanes} from "./panes.js";

const MOST = 6;
const FIELDS = ["max_tokens", "temperature", "top_p", "seed"];

export function makeCompare(state, onVote) {
  const panes = makePanes($$("panes"), $$("summary"));
  const writers = state.contestants.filter(one => one.kind === "decoder").map(one => one.name);
  let chosen = writers.slice(0, 2), running = null, round = null;

  function drawModels() {
    $$("models").querySelector(".chips").replaceChildren(...writers.map(name => el("button", {
      type: "button", className: "chip", "aria-pressed": String(chosen.includes(name)),
      style: {"--hue": hue(Math.max(0, chosen.indexOf(name)))}, onclick: () => toggle(name)}, name)));
    $$("blind-box").hidden = writers.length < 2;
    $$("models").hidden = writers.length === 0;
  }

  function toggle(name) {
    const focused = writers.indexOf(name);
    if (chosen.includes(name)) { if (chosen.length > 1) chosen = chosen.filter(other => other !== name); }
    else if (chosen.length < MOST) chosen = writers.filter(other => chosen.includes(other) || other === name);
    else notify(`At most ${MOST} models fit side by side.`);
    drawModels();
    $$("models").querySelectorAll(".chip")[focused].focus();
  }

  async function run() {
    if (running) return stop();
    const prompt = $$("prompt").value;
    if (!prompt) return $$("prompt").focus();
    notify("");
    const body = {prompt, mode: $$("mode").value, models: chosen, blind: $$("blind").checked && chosen.length > 1,
                  details: $$("details").checked};
    for (const name of FIELDS) if ($$(name).value !== "") body[name] = Number($$(name).value);
    const own = running = new AbortController();
    $$("vote").hidden = true;
    $$("go").textContent = "Stop";
    round = null;
    try {
      await events("arena/rounds", body, own.signal, event => {
        if (event.round) { round = {...event, voted: false}; panes.open(event); }
        else if ("pane" in event) panes.take(event);
      });
    } catch (err) {
      if (err.name !== "AbortError") notify(err.message);
      if (round) panes.stop();
    }
    if (running === own) {
      running = null;
      $$("go").textContent = "Run";
      offerVote();
    }
  }

  function stop() { running?.abort(); }

  function offerVote() {
    if (!round) return;
    const all = panes.all(), failed = all.some(pane => pane.error || !pane.text);
    if (all.length < 2 || (!state.keeps_votes && !round.blind)) return;
    const button = (label, key, choice, pane, style) => el("button", {
      type: "button", className: `choice ${style ?? ""}`, style: pane === undefined ? {} : {"--hue": hue(pane)},
      onclick: () => vote(choice, pane)},
      label, el("kbd", {}, key));
    const best = all.map((pane, i) => button(all.length === 2 ? `${pane.label} is better` : pane.label, String(i + 1), "best", i, "best"));
    const two = all.length === 2, votes = two ? [best[0], button("Tie", "0", "tie"), button("Both bad", "X", "bad"), best[1]]
      : [...best, button("Tie", "0", "tie"), button("All bad", "X", "bad")];
    $$("vote").replaceChildren(
      el("span", {className: "asks"}, failed ? "A pane failed or is empty: this round cannot be judged." :
        !state.keeps_votes ? "This server keeps no votes." : two ? "Which answer is better?" : "Which answer is best?"),
      el("span", {className: "choices"}, failed || !state.keeps_votes ? null : votes,
        round.blind ? button("Show names", "S", "skip", undefined, "quiet") : null));
    $$("vote").hidden = false;
  }

  async function vote(choice, pane) {
    if (!round || running || round.voted || $$("vote").hidden) return;
    if (choice === "best" && !(pane < panes.all().length)) return;
    if (choice === "skip" ? !round.blind : !state.keeps_votes) return;
    const own = round;
    own.voted = true;
    try {
      const shown = await ask(`arena/rounds/${own.round}/vote`, {choice, pane});
      if (own !== round) return;
      panes.reveal(shown);
      panes.all().forEach((one, i) => one.node.classList.toggle("won", choice === "best" && i === pane));
      const words = {best: `You chose ${choice === "best" ? shown.names[pane] : ""}.`, tie: "You called it a tie.",
                     bad: "You called all of them bad.", skip: "No vote was cast."};
      const again = el("button", {type: "button", className: "choice", onclick: next}, "Next seed", el("kbd", {}, "N"));
      $$("vote").replaceChildren(el("span", {className: "asks", role: "status"}, words[choice]),
                                 el("span", {className: "choices"}, again));
      if (choice !== "skip") onVote();
    } catch (err) {
      own.voted = false;
      notify(err.message);
    }
  }

  function next() {
    $$("seed").value = "";
    run();
  }

  $$("blind").addEventListener("change", () => $$("models").classList.toggle("neutral", $$("blind").checked));
  $$("form").addEventListener("submit", event => { event.preventDefault(); run(); });
  $$("form").addEventListener("keydown", event => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); run(); }
  });
  const shortest = Math.min(...state.contestants.filter(one => one.kind === "decoder").map(one => one.context || Infinity));
  if (shortest < 128) $$("max_tokens").value = shortest >> 1;          // leaves room for a prompt
  drawModels();
  $$("panes").replaceChildren(el("p", {className: "card empty"}, writers.length > 1
    ? "Choose two to six models: they get the same prompt and the same seed, and answer side by side."
    : "The answer appears here."));
  if (!writers.length) {
    $$("form").hidden = true;
    $$("panes").replaceChildren();
    $$("summary").textContent = state.contestants.length ? "No model here writes text; see Images." : "No model can be asked now.";
  }
  if (!window.matchMedia("(pointer: coarse)").matches) $$("prompt").focus();   // no keyboard pops up
  return {run, stop, vote, next, jump: panes.jump, busy: () => running !== null, use: text => { $$("prompt").value = text; $$("prompt").focus(); }};
}
