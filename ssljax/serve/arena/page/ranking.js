// The ranking: ratings with their intervals, who beat whom, and the votes as a file.
import {ask} from "./api.js";
import {$$, count, el, notify} from "./dom.js";

export function makeRanking() {
  const box = $$("ranking");
  let blind = false;

  async function show() {
    let found;
    try { found = await ask(`arena/ranking${blind ? "?blind=1" : ""}`); }
    catch (err) { return notify(err.message); }
    const only = el("input", {type: "checkbox", role: "switch", checked: blind, onchange: () => { blind = only.checked; show(); }});
    box.replaceChildren(
      el("div", {className: "row head"},
        el("h1", {}, "Ranking"),
        el("p", {className: "faint"}, `${count(found.votes)} votes, ${count(found.blind_votes)} of them blind`),
        el("span", {className: "actions"},
          el("label", {className: "switch"}, only, el("span"), "Blind votes only"),
          el("a", {className: "button", href: "arena/votes.jsonl", download: "votes.jsonl"}, "Votes"),
          el("a", {className: "button", href: "arena/transcripts.jsonl", download: "transcripts.jsonl"}, "Transcripts"))),
      found.ratings.length ? table(found.ratings) : el("p", {className: "card empty"}, "No votes yet. Compare two models and choose the better answer."),
      found.ratings.length > 1 ? duels(found) : "",
      el("p", {className: "faint note"}, "Bradley-Terry ratings: 400 points more are odds of ten to one, the average model has 1000. " +
        "Bars are 95 % intervals; models share a rank while their intervals do not tell them apart. A tie is half a win for each; " +
        "the best of several is one choice among them."));
  }

  return {show};
}

function table(rows) {
  const low = Math.min(...rows.map(row => row.low)), high = Math.max(...rows.map(row => row.high));
  const place = value => `${(100 * (value - low) / Math.max(1, high - low)).toFixed(2)}%`;
  return el("div", {className: "card scroll"}, el("table", {className: "ratings"},
    el("thead", {}, el("tr", {}, ["Rank", "Model", "Rating", "95 % interval", "Votes", "Wins", "Ties", "Bad"].map(title => el("th", {scope: "col"}, title)))),
    el("tbody", {}, rows.map(row => el("tr", {},
      el("td", {className: "number"}, row.rank), el("th", {scope: "row"}, row.name),
      el("td", {className: "number rating"}, Math.round(row.rating)),
      el("td", {}, el("span", {className: "interval", title: `${Math.round(row.low)} to ${Math.round(row.high)}`,
                               style: {"--from": place(row.low), "--at": place(row.rating), "--to": place(row.high)}}, el("i"), el("b")),
        el("span", {className: "sr"}, `${Math.round(row.low)} to ${Math.round(row.high)}`)),
      [row.votes, row.wins, row.ties, row.bad].map(n => el("td", {className: "number"}, count(n))))))));
}

function duels({ratings, duels: won}) {
  const names = ratings.map(row => row.name);
  const cell = (i, j) => {
    const both = won[i][j] + won[j][i];
    if (i === j || !both) return el("td", {className: "number faint"}, i === j ? "" : "–");
    const share = won[i][j] / both;
    return el("td", {className: "number duel", style: {"--share": share}, title: `${won[i][j]} of ${both}`}, `${Math.round(100 * share)} %`);
  };
  return el("div", {className: "card scroll"}, el("h2", {}, "How often the row was chosen over the column"),
    el("table", {className: "duels"}, el("thead", {}, el("tr", {}, el("td"), names.map(name => el("th", {scope: "col"}, name)))),
      el("tbody", {}, names.map((name, i) => el("tr", {}, el("th", {scope: "row"}, name), names.map((_, j) => cell(i, j)))))));
}
