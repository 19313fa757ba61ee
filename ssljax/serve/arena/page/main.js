// The page: views, colours, keys. Every view's module draws its own section.
import {ask, send} from "./api.js";
import {makeCompare} from "./compare.js";
import {makeData} from "./data.js";
import {$$, notify} from "./dom.js";
import {makeImages} from "./images.js";
import {makeRanking} from "./ranking.js";
import {makeSaved} from "./saved.js";
import {corpora, makeTexts, readers} from "./texts.js";

const THEMES = {auto: "Auto", light: "Light", dark: "Dark"};

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  $$("theme").textContent = THEMES[theme];
  $$("theme").setAttribute("aria-label", `Colours: ${THEMES[theme]}`);
  try { localStorage.setItem("theme", theme); } catch { /* private windows may refuse */ }
}

function nextTheme() {
  const names = Object.keys(THEMES), now = document.documentElement.dataset.theme;
  setTheme(names[(names.indexOf(now) + 1) % names.length]);
}

function savedTheme() {
  try { return localStorage.getItem("theme") in THEMES ? localStorage.getItem("theme") : "auto"; } catch { return "auto"; }
}

function makeViews(views) {
  const tabs = [...document.querySelectorAll("[role=tab]")], open = tabs.filter(tab => views[tab.getAttribute("aria-controls")]);
  function show(tab, focus) {
    for (const other of tabs) {
      other.setAttribute("aria-selected", String(other === tab));
      other.tabIndex = other === tab ? 0 : -1;
      $$(other.getAttribute("aria-controls")).hidden = other !== tab;
    }
    if (focus) tab.focus();
    else views[tab.getAttribute("aria-controls")].show?.();
  }
  open.forEach((tab, i) => {
    tab.hidden = false;
    tab.addEventListener("click", () => show(tab));
    tab.addEventListener("keydown", event => {
      const step = {ArrowRight: 1, ArrowLeft: -1}[event.key];
      if (step) { event.preventDefault(); show(open[(i + step + open.length) % open.length], true); }
      if (event.key === "Enter" || event.key === "ArrowDown") { event.preventDefault(); show(tab); }
    });
  });
  return {open: number => open[number] && show(open[number]), now: () => tabs.find(tab => tab.getAttribute("aria-selected") === "true").getAttribute("aria-controls")};
}

function listen(compare, views) {
  const keys = {
    "0": () => compare.vote("tie"), x: () => compare.vote("bad"), s: () => compare.vote("skip"), n: () => compare.next(),
    p: () => $$("prompt").focus(), d: () => compare.jump(), b: () => { if (!$$("blind-box").hidden) $$("blind").click(); },
  };
  for (let i = 0; i < 6; i++) keys[String(i + 1)] = () => compare.vote("best", i);
  document.addEventListener("keydown", event => {
    if ($$("keys").open) return;
    if (event.altKey && /^Digit[1-5]$/.test(event.code)) { event.preventDefault(); return views.open(Number(event.code.slice(5)) - 1); }
    const typing = event.target.matches("input, textarea, select");
    if (event.key === "Escape") { if (typing) event.target.blur(); if (compare.busy()) compare.stop(); return; }
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "?") $$("keys").showModal();
    else if (event.key === "t") nextTheme();
    else if (views.now() === "compare" && keys[event.key.toLowerCase()]) { event.preventDefault(); keys[event.key.toLowerCase()](); }
  });
}

async function begin() {
  setTheme(savedTheme());
  $$("theme").addEventListener("click", nextTheme);
  $$("help").addEventListener("click", () => $$("keys").showModal());
  $$("sign-out").addEventListener("click", async () => { await send("arena/session", "DELETE"); location.reload(); });
  const state = await ask("arena/state");
  $$("sign-out").hidden = state.keyless;
  const ranking = makeRanking(), compare = makeCompare(state, () => {});
  makeSaved(state.prompts, compare.use);
  const silent = Object.entries(state.silent);
  if (silent.length) notify(silent.map(([name, why]) => `${name}: ${why}`).join(" "));
  const views = makeViews({compare: {}, images: state.contestants.some(one => one.reads.length) ? makeImages(state) : null,
                           texts: readers(state).length && corpora(state).length ? makeTexts(state) : null,
                           ranking: state.keeps_votes ? ranking : null, data: state.datasets.length ? makeData(state.datasets) : null});
  listen(compare, views);
  if (state.contestants.length && state.contestants.every(one => one.kind === "encoder")) views.open(1);
  document.documentElement.dataset.ready = "yes";
}

begin().catch(err => notify(err.message));
