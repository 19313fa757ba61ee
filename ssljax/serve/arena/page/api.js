// The server's answers: JSON, or server-sent events as they arrive.
export class ServerError extends Error {
  constructor(message, status) { super(message); this.status = status; }
}

async function refused(answer) {
  let message = `The server answered ${answer.status}.`;
  try { message = (await answer.json()).error.message; } catch { /* not ours, or cut */ }
  if (answer.status === 401) location.reload();       // the session has ended: the form comes back
  return new ServerError(message, answer.status);
}

export async function ask(path, body, signal) {
  const options = body === undefined ? {signal} : {
    method: "POST", signal, headers: {"Content-Type": "application/json"}, body: JSON.stringify(body)};
  const answer = await fetch(path, options);
  if (!answer.ok) throw await refused(answer);
  return answer.status === 204 ? null : answer.json();
}

export async function send(path, method, body) {
  const answer = await fetch(path, {method, body});
  if (!answer.ok) throw await refused(answer);
  return answer.status === 204 ? null : answer.json();
}

export async function events(path, body, signal, take) {
  const answer = await fetch(path, {method: "POST", signal, body: JSON.stringify(body),
                                    headers: {"Content-Type": "application/json"}});
  if (!answer.ok) throw await refused(answer);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (let part; !(part = await reader.read()).done;) {
    const whole = (rest + part.value).split("\n\n");
    rest = whole.pop();
    for (const event of whole) take(JSON.parse(event.slice("data: ".length)));
  }
}
