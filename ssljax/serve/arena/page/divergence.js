// Where answers part. Pure functions over texts and tokens; positions count from 0.

// Characters two texts begin with in common; never half of a surrogate pair.
export function common(one, other) {
  const most = Math.min(one.length, other.length);
  let at = 0;
  while (at < most && one[at] === other[at]) at++;
  const code = one.charCodeAt(at - 1);
  return at > 0 && code >= 0xD800 && code <= 0xDBFF && at < Math.max(one.length, other.length) ? at - 1 : at;
}

// Where each pane leaves the first one, in characters; null while or because it does not. The first
// pane leaves where the earliest other does. A text that is a beginning of the other has only ended
// earlier: it parts from it once it is known to have ended, since more may come.
export function partings(panes) {
  const [first, ...others] = panes;
  const found = others.map(pane => {
    if (first.error || pane.error) return null;       // a pane that failed says nothing of a model
    const at = common(first.text, pane.text);
    if (at < Math.min(first.text.length, pane.text.length)) return at;
    if (first.text.length === pane.text.length) return null;
    const shorter = first.text.length < pane.text.length ? first : pane;
    return shorter.ended && shorter.finish !== "length" && shorter.finish !== "stopped" ? at : null;
  });
  const known = found.filter(at => at !== null);
  return [known.length ? Math.min(...known) : null, ...found];
}

// The token that has the character at `at`: its number, its first character, and itself. Null where
// tokens are unknown, or do not spell the text (a part of a character has no spelling of its own).
export function tokenAt(tokens, at, text) {
  let start = 0;
  for (let number = 0; number < tokens.length; number++) {
    const spelt = tokens[number][0];
    if (text.slice(start, start + spelt.length) !== spelt) return null;
    if (at < start + spelt.length) return {number, start, token: tokens[number]};
    start += spelt.length;
  }
  return null;
}

export function sentence(panes, at) {
  if (panes.length < 2) return "";
  const known = at.filter(x => x !== null);
  const writing = panes.some(pane => !pane.ended);
  if (!known.length)
    return writing || panes.some(pane => pane.error) ? "" :
      panes.every(pane => pane.text === panes[0].text) ? "All panes wrote the same text."
        : "The panes agree as far as they go.";
  const first = Math.min(...known);
  const labels = panes.filter((pane, i) => i > 0 && at[i] === first).map(pane => pane.label);
  const leaving = labels.length > 1 && labels.length === panes.length - 1 ? "all others"
    : labels.length > 1 ? `${labels.slice(0, -1).join(", ")} and ${labels.at(-1)}` : labels[0];
  const many = labels.length > 1;
  const token = tokenAt(panes[0].tokens, first, panes[0].text);
  const where = token ? `token ${token.number + 1} (character ${first + 1})` : `character ${first + 1}`;
  return first === 0 ? `From the first character on, ${leaving} ${many ? "differ" : "differs"} from A.`
    : `The same up to ${where}, where ${leaving} ${many ? "leave" : "leaves"} A.`;
}
