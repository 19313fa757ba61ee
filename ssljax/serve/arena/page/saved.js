// Saved prompts: a menu of them, shared by everyone who uses this server's page.
import {ask} from "./api.js";
import {$$, el, notify} from "./dom.js";

export function makeSaved(prompts, use) {
  const button = $$("saved"), menu = $$("saved-menu");
  let known = prompts;

  function open(shown) {
    menu.hidden = !shown;
    button.setAttribute("aria-expanded", String(shown));
    if (shown) { draw(); menu.querySelector("input").focus(); }
  }

  function draw() {
    const name = el("input", {placeholder: "Save this prompt as …", maxLength: 80, "aria-label": "Name of the prompt"});
    const keep = () => name.value.trim() && change({name: name.value.trim(), prompt: $$("prompt").value});
    name.addEventListener("keydown", event => { if (event.key === "Enter") { event.preventDefault(); keep(); } });
    const rows = Object.entries(known).sort(([a], [b]) => a.localeCompare(b)).map(([title, prompt]) => el("li", {},
      el("button", {type: "button", className: "pick", title: prompt.slice(0, 300), onclick: () => { open(false); use(prompt); }}, title),
      el("button", {type: "button", className: "quiet", "aria-label": `Forget ${title}`, onclick: () => change({name: title})}, "×")));
    menu.replaceChildren(el("div", {className: "row"}, name, el("button", {type: "button", onclick: keep}, "Save")),
      rows.length ? el("ul", {}, rows) : el("p", {className: "faint"}, "None yet."));
  }

  async function change(body) {
    try { known = await ask("arena/prompts", body); draw(); menu.querySelector("input").focus(); }
    catch (err) { notify(err.message); }
  }

  button.addEventListener("click", () => open(menu.hidden));
  menu.addEventListener("keydown", event => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    open(false);
    button.focus();
  });
  document.addEventListener("click", event => { if (!event.target.closest(".menu") && event.target.isConnected) open(false); });
}
