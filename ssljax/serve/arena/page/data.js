// Rows of a data set: search them, see which were dropped, by which step and why.
import {ask} from "./api.js";
import {$$, count, el, marked, notify} from "./dom.js";

const FEW = 8;               // reasons shown before the others are asked for

export function makeData(datasets) {
  const box = $$("data");
  let number = 0, reason = "", split = "", text = "", newest = 0, every = false;
  const search = el("input", {type: "search", placeholder: "Search the rows", "aria-label": "Search the rows", maxLength: 200,
                              oninput: () => { clearTimeout(search.due); search.due = setTimeout(() => { text = search.value; load(); }, 250); }});
  const list = el("ol", {className: "rows"}), said = el("p", {className: "faint", role: "status"});
  const more = el("button", {type: "button", hidden: true}, "More rows");
  const filters = el("div", {className: "funnel"});

  function open() {
    const picker = el("select", {"aria-label": "Data set", onchange: () => { number = picker.selectedIndex; reason = split = ""; every = false; head(); load(); }},
      datasets.map(one => el("option", {}, one.name)));
    box.replaceChildren(el("div", {className: "row head"}, el("h1", {}, "Data"), datasets.length > 1 ? picker : el("strong", {}, datasets[0].name),
                                el("span", {className: "grow"}, search)), filters, said, list, more);
    head();
    load();
  }

  function head() {
    const about = datasets[number], dropped = Object.entries(about.dropped ?? {}).sort((a, b) => b[1] - a[1]);
    const most = Math.max(1, about.kept ?? 0, ...dropped.map(([, n]) => n));
    const bar = (title, value, n, kind) => el("button", {type: "button", className: `bar ${kind}`, "aria-pressed": String(reason === value),
      style: {"--share": n / most}, onclick: () => { reason = reason === value ? "" : value; head(); load(); }},
      el("span", {}, title), el("b", {}, count(n)));
    const few = every ? dropped : dropped.filter(([why], i) => i < FEW || why === reason);
    const others = dropped.length - few.length;
    const splits = Object.keys(about.splits ?? {});
    const picker = el("select", {"aria-label": "Split", onchange: () => { split = picker.value; load(); }},
      el("option", {value: ""}, "all splits"), splits.map(name => el("option", {value: name, selected: name === split}, name)));
    filters.replaceChildren(
      el("p", {className: "faint"}, `${count(about.read ?? 0)} rows read, version ${about.version ?? "unknown"}`, about.note ? `. ${about.note}` : ""),
      bar("kept", "kept", about.kept ?? 0, "kept"), ...few.map(([why, n]) => bar(why.replaceAll("_", " "), why, n, "dropped")),
      others ? el("button", {type: "button", className: "quiet", onclick: () => { every = true; head(); }}, `${others} more reasons`) : "",
      splits.length > 1 ? picker : "");
  }

  async function load(start = 0) {
    const own = ++newest;
    said.textContent = "Looking …";
    if (!start) list.replaceChildren();
    try {
      const query = new URLSearchParams({q: text, split, reason, start});
      const found = await ask(`arena/data/${number}/rows?${query}`);
      if (own !== newest) return;                      // an answer to an older question
      list.append(...found.rows.map(draw));
      said.textContent = `${count(list.children.length)} shown, ${count(found.seen)} looked at${found.next === null ? "" : ", there are more"}`;
      more.hidden = found.next === null;
      more.onclick = () => load(found.next);
    } catch (err) { if (own === newest) { said.textContent = ""; notify(err.message); } }
  }

  function draw(row) {
    const about = datasets[number];
    const all = Object.entries(row.facts ?? {}), said = row.facts ?? {};
    const place = said.source ? `${said.source}${Number(said.row) ? `, row ${said.row}` : ""}` : null;
    const first = [place, said.label, said.language, said.split, said.licence === "unknown" ? null : said.licence].filter(Boolean);
    const fields = el("details", {}, el("summary", {}, "All fields"),
      el("dl", {}, all.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value)))));
    const long = (row.text ?? "").length > 600;
    const body = el("div", {className: long ? "body long" : "body", dir: "auto"}, marked(row.text ?? "", text));
    const whole = el("button", {type: "button", className: "quiet", "aria-expanded": "false", onclick: () => {
      const open = body.classList.toggle("open");
      whole.setAttribute("aria-expanded", String(open));
      whole.textContent = open ? "Less" : "All of it";
    }}, "All of it");
    return el("li", {className: "card"}, el("header", {},
        el("b", {}, `#${row.number}`),
        row.dropped ? el("span", {className: "tag dropped"}, row.dropped.replaceAll("_", " ")) : el("span", {className: "tag kept"}, "kept"),
        row.step ? el("span", {className: "faint"}, `by ${row.step}${row.detail ? `: ${row.detail}` : ""}`) : "",
        first.map(value => el("span", {className: "fact"}, value))),
      about.images > 0 && row.image ? el("img", {src: `arena/data/${number}/images/${row.number}`, alt: row.text || `Image of row ${row.number}`, loading: "lazy"}) : "",
      row.text ? body : "", el("div", {className: "row feet"}, long ? whole : "", all.length ? fields : ""));
  }

  let opened = false;
  return {show() { if (!opened) { opened = true; open(); } search.focus(); }};
}
