"""The comparison page over HTTP: rounds, votes, what blind rounds hide, and who is refused."""

import json

import pytest
from starlette.testclient import TestClient

from ssljax.serve.arena.journal import open_journal
from ssljax.serve.arena.transcripts import lines_for
from ssljax.serve.arena.viewer import Dataset, Example, Rows
from ssljax.serve.caller import Caller

MINE = {"Authorization": "Bearer k"}
LOCAL = "http://127.0.0.1:8000"


@pytest.fixture
def models(Script):
    return {"one": Script(("a", " b", " c")), "two": Script(("a", " x")), "three": Script(("z",)),
            "bad": Script(error="model bad: <b>no memory</b>"), "silent": Script(())}


@pytest.fixture
def page(make_page, models):
    """A client of a server without keys, and the page's state."""
    app, arena = make_page(models)
    with TestClient(app, base_url=LOCAL) as client:
        client.arena = arena
        yield client


@pytest.fixture
def keyed(make_page, models):
    """A client without a key, of a server with one and a data set."""
    rows = [{"number": n, "text": f"row {n}", "facts": {}} for n in range(3)]
    png = b"\x89PNG\r\n\x1a\n..."
    data = Dataset("texts", {"version": "v", "read": 3, "kept": 3, "path": "p"},
                   lambda query: Rows(rows[query.start:query.start + query.count], None, 3),
                   {0: png, 1: b"<svg onload=alert(1)>"}.get, lambda n: [Example(0, png)], 1)
    app, arena = make_page(models, key="k", datasets=[data])
    with TestClient(app, base_url="http://models.example") as client:
        yield client


def run(client, *names, **more):
    """Return the events of a round."""
    answer = client.post("/arena/rounds", json={"prompt": "p", "models": list(names), **more})
    assert answer.status_code == 200, answer.text
    return [json.loads(event.removeprefix("data: ")) for event in answer.text.split("\n\n")[:-1]]


def vote(client, events, choice, pane=None):
    return client.post(f"/arena/rounds/{events[0]['round']}/vote",
                       json={"choice": choice, "pane": pane})


def texts(events, panes):
    return ["".join(e.get("text", "") for e in events if e.get("pane") == n) for n in range(panes)]


def test_a_round_streams_every_pane_and_its_figures(page):
    events = run(page, "one", "two", seed=7)
    assert [p["name"] for p in events[0]["panes"]] == ["one", "two"] and events[0]["seed"] == 7
    assert texts(events, 2) == ["a b c", "a x"] and events[-1] == {"end": True}
    ended = {e["pane"]: e["ended"] for e in events if "ended" in e}
    assert [ended[n]["tokens"] for n in (0, 1)] == [3, 2] and ended[0]["counted"]
    assert 0 < ended[0]["first_seconds"] <= ended[0]["seconds"] and ended[0]["finish"] == "stop"


def test_all_panes_get_the_same_fields_and_one_seed(make_page, models, scripted):
    app, arena = make_page(models)
    with TestClient(app, base_url=LOCAL) as client:
        events = run(client, "one", "two", "three", temperature=0.5, max_tokens=2)
    record = arena.transcripts.read()[0]
    assert record["seed"] == events[0]["seed"] and record["temperature"] == 0.5
    assert [p["text"] for p in record["panes"]] == ["a b", "a x", "z"]
    assert [p["fingerprint"] for p in record["panes"]] == ["fp-one", "fp-two", "fp-three"]


def test_chat_and_token_details_ask_for_what_openai_calls_them(page):
    assert texts(run(page, "one", "two", mode="chat", details=True), 2) == ["a b c", "a x"]
    events = run(page, "one", details=True)
    parts = [e for e in events if "text" in e]
    assert parts[0]["tokens"] == [["a", -0.2, [["a", -0.2], ["other", -1.7]]]]


def test_a_blind_round_hides_names_speeds_and_failures_until_the_vote(page):
    events = run(page, "one", "two", blind=True)
    told = json.dumps(events)
    assert "one" not in told and "two" not in told and "seconds" not in told and "fp-" not in told
    shown = vote(page, events, "best", 0).json()
    assert sorted(shown["names"]) == ["one", "two"] and shown["panes"][0]["seconds"] > 0
    [stored] = page.arena.votes.read()
    assert stored["best"] == [shown["names"][0]] and stored["blind"] is True
    assert stored["shown"] == shown["names"]
    failed = json.dumps(run(page, "one", "bad", blind=True))
    assert "no memory" not in failed and "This pane failed" in failed


def test_blind_rounds_are_shuffled(page):
    orders = set()
    for _ in range(30):
        events = run(page, "one", "two", blind=True)
        orders.add(tuple(vote(page, events, "skip").json()["names"]))
    assert orders == {("one", "two"), ("two", "one")}         # by chance missed once in 2**29


def test_votes_reach_the_ranking_and_outlive_the_server(page, make_page, models):
    for _ in range(5):
        vote(page, run(page, "one", "two", "three"), "best", 1)
    vote(page, run(page, "one", "two"), "bad")
    found = page.get("/arena/ranking").json()
    assert found["votes"] == 6 and found["ratings"][0]["name"] == "two"
    assert page.get("/arena/ranking?blind=1").json()["ratings"] == []
    lines = page.get("/arena/votes.jsonl")
    assert "attachment" in lines.headers["content-disposition"]
    assert len(lines.text.splitlines()) == 6
    assert len(page.get("/arena/transcripts.jsonl").text.splitlines()) == 6
    _, again = make_page(models)
    assert again.standings.show(False)["votes"] == 6


def test_transcripts_are_of_models_that_the_key_may_use(make_page, models):
    bound = frozenset(("one", "three"))
    app, arena = make_page(models, key="k", callers={
        "bound": Caller("b", models=bound), "ops": Caller("o", admin=True, models=bound)})
    rounds = [["one"], ["one@2", "three"], ["one", "two"], ["two@1"]]
    for names in rounds:
        arena.transcripts.append({"panes": [{"model": name} for name in names]})
    arena.transcripts.append({"panes": None})
    with TestClient(app, base_url="http://models.example") as client:
        def told(key):
            answer = client.get("/arena/transcripts.jsonl",
                                headers={"Authorization": f"Bearer {key}"})
            assert 'filename="transcripts.jsonl"' in answer.headers["content-disposition"]
            return [[pane["model"] for pane in json.loads(line)["panes"] or ()]
                    for line in answer.text.splitlines()]

        assert told("bound") == rounds[:2]
        assert told("k") == told("ops") == [*rounds, []]


def test_models_of_other_servers_are_compared_by_whoever_may_use_the_page(tmp_path):
    path, panes = tmp_path / "t.jsonl", [{"model": "one@3"}, {"model": "far"}]
    path.write_text(json.dumps({"panes": panes}) + '\n{"panes": [{"mod')
    bound = Caller(models=frozenset(("one",)))
    assert len(list(lines_for(bound, path, {"far"}))) == 1
    assert not list(lines_for(bound, path, ()))


@pytest.mark.parametrize(("choice", "pane", "status"), [
    ("best", 2, 400), ("best", None, 400), ("best", True, 400), ("best", -1, 400),
    ("worst", 0, 400), (None, 0, 400), ([], 0, 400)])
def test_a_vote_that_is_none_is_refused_and_may_be_corrected(page, choice, pane, status):
    events = run(page, "one", "two")
    assert vote(page, events, choice, pane).status_code == status
    assert vote(page, events, "tie").status_code == 200
    assert vote(page, events, "tie").status_code == 409


@pytest.mark.parametrize("names", [["one"], ["one", "bad"], ["one", "silent"]])
def test_what_cannot_be_compared_takes_no_vote_but_shows_its_names(page, names):
    events = run(page, *names)
    assert vote(page, events, "tie").status_code == 409
    assert vote(page, events, "skip").json()["names"] == names
    assert page.arena.votes.read() == []


def test_one_pane_that_fails_leaves_the_others_alone(page):
    events = run(page, "bad", "one")
    assert texts(events, 2) == ["", "a b c"]
    errors = [e["ended"]["error"] for e in events if "ended" in e]
    assert "model bad: <b>no memory</b>" in errors


def test_nobody_votes_on_a_round_that_is_not_his(make_page, models):
    app, _ = make_page(models, key="k")
    with TestClient(app, base_url="http://models.example") as client:
        events = json.loads(client.post("/arena/rounds", json={"prompt": "p", "models": ["one"]},
                                        headers=MINE).text.split("\n\n")[0][6:])
        address = f"/arena/rounds/{events['round']}/vote"
        assert client.post(address, json={"choice": "skip"}).status_code == 401
        assert client.post("/arena/rounds/none/vote", json={"choice": "skip"},
                           headers=MINE).status_code == 404
        assert client.post(address, json={"choice": "skip"}, headers=MINE).status_code == 200


@pytest.mark.parametrize("fields", [
    {"prompt": ""}, {"prompt": 3}, {"models": []}, {"models": ["one"] * 2}, {"models": "one"},
    {"models": ["nobody"]}, {"models": list("abcdefg")}, {"mode": "sing"}, {"max_tokens": 0},
    {"max_tokens": 1.5}, {"max_tokens": True}, {"temperature": 3}, {"temperature": float("1e300")},
    {"seed": -1}, {"top_p": "x"}, {"blind": "yes"}, {"unknown": 1}])
def test_bad_rounds_are_refused_by_name(page, fields):
    answer = page.post("/arena/rounds", json={"prompt": "p", "models": ["one"], **fields})
    assert answer.status_code in (400, 404)
    assert next(iter(fields)) in answer.json()["error"]["message"]


@pytest.mark.parametrize("body", [b"", b"[1]", b"{", b"\xff", b"[" * 100_000])
def test_bodies_that_are_no_objects_are_refused(page, body):
    assert page.post("/arena/rounds", content=body).status_code == 400


def test_prompts_are_saved_for_everyone_and_forgotten(page, tmp_path):
    page.post("/arena/prompts", json={"name": "greeting", "prompt": "Hello"})
    assert page.get("/arena/state").json()["prompts"] == {"greeting": "Hello"}
    assert json.loads((tmp_path / "arena" / "prompts.json").read_text()) == {"greeting": "Hello"}
    assert page.post("/arena/prompts", json={"name": "greeting"}).json() == {}
    for name, prompt in (("", "x"), ("\ud800", "x"), ("x", "\ud800")):
        refused = page.post("/arena/prompts", content=json.dumps({"name": name, "prompt": prompt}))
        assert refused.status_code == 400 and "prompts" not in refused.json()
    assert page.get("/arena/state").json()["prompts"] == {}


@pytest.mark.parametrize("fields", [
    {"\ud800": 1}, {"models": ["\ud800"]}, {"blind": "\ud800"}, {"seed": "\ud800"},
    {"mode": "\ud800"}, {"prompt": "\ud800"}])
def test_halves_of_characters_are_refused_by_name(page, fields):
    asked = {"prompt": "p", "models": ["one"], **fields}
    answer = page.post("/arena/rounds", content=json.dumps(asked))
    assert answer.status_code in (400, 404) and "\\ud800" in answer.text or "pair" in answer.text


def test_without_a_folder_nothing_is_kept_and_no_vote_is_taken(make_page, models, tmp_path):
    app, _ = make_page(models, keeps=False)
    with TestClient(app, base_url=LOCAL) as client:
        events = run(client, "one", "two")
        assert "--arena" in vote(client, events, "tie").json()["error"]["message"]
        assert client.get("/arena/votes.jsonl").status_code == 404
        assert client.get("/arena/state").json()["keeps_votes"] is False
    assert not (tmp_path / "arena").exists()


def test_the_page_runs_its_own_scripts_only(page):
    first, second = page.get("/"), page.get("/")
    policy = first.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "require-trusted-types-for 'script'" in policy
    assert "unsafe" not in policy and "frame-ancestors 'none'" in policy
    assert policy != second.headers["content-security-policy"]          # a nonce is used once
    nonce = policy.split("'nonce-")[1].split("'")[0]
    assert first.text.count(f'nonce="{nonce}"') == 2
    assert "http:" not in first.text and "https:" not in first.text
    assert first.headers["x-content-type-options"] == "nosniff"


def test_the_page_is_small_and_never_writes_markup():
    from ssljax.serve.arena.app import page_files
    files = page_files()
    assert sum(map(len, files.values())) < 150_000
    for name, text in files.items():
        for word in (b"innerHTML", b"outerHTML", b"insertAdjacent", b"document.write", b"eval("):
            assert word not in text, name


@pytest.mark.parametrize("path", ["/arena/page/app.py", "/arena/page/..%2Fapp.py",
                                  "/arena/page/index.html", "/arena/nothing"])
def test_other_files_are_not_served(page, path):
    assert page.get(path).status_code == 404


def test_what_is_not_the_page_goes_to_the_server_within(page):
    assert [m["id"] for m in page.get("/v1/models").json()["data"]][:2] == ["one", "two"]


@pytest.mark.parametrize(("method", "path"), [
    ("GET", "/arena/state"), ("POST", "/arena/rounds"), ("POST", "/arena/rounds/x/vote"),
    ("GET", "/arena/ranking"), ("GET", "/arena/votes.jsonl"), ("GET", "/arena/transcripts.jsonl"),
    ("POST", "/arena/prompts"), ("POST", "/arena/images"), ("POST", "/arena/texts"),
    ("GET", "/arena/data/0/rows"),
    ("GET", "/arena/data/0/images/0"), ("GET", "/arena/page/main.js"), ("POST", "/arena/session")])
def test_every_route_needs_the_key(keyed, method, path):
    assert keyed.request(method, path).status_code == 401
    wrong = keyed.request(method, path, headers={"Authorization": "Bearer wrong"})
    assert wrong.status_code == 401


def test_signing_in_gives_the_page_and_signing_out_takes_it(keyed):
    door = keyed.get("/")
    assert door.status_code == 401 and "API key" in door.text and "main.js" not in door.text
    assert keyed.post("/arena/session", headers=MINE).status_code == 204
    assert keyed.get("/").status_code == 200 and keyed.get("/arena/state").status_code == 200
    assert texts(run(keyed, "one"), 1) == ["a b c"]            # the models see the caller's own key
    assert keyed.delete("/arena/session").status_code == 204
    assert keyed.get("/arena/state").status_code == 401


def test_rows_of_data_are_shown_with_a_key(keyed):
    found = keyed.get("/arena/data/0/rows?start=1&count=1", headers=MINE).json()
    assert [row["text"] for row in found["rows"]] == ["row 1"] and found["seen"] == 3
    image = keyed.get("/arena/data/0/images/0", headers=MINE)
    assert image.headers["content-type"] == "image/png"
    assert image.headers["content-security-policy"] == "sandbox"


@pytest.mark.parametrize("path", ["0/images/1", "0/images/7", "1/rows", "0/rows?start=-1",
                                  "0/rows?start=1e9", "0/rows?count=5000", "0/rows?start=%C2%B2",
                                  "0/rows?q=" + "x" * 300])
def test_bad_views_of_data_are_refused(keyed, path):
    answer = keyed.get(f"/arena/data/{path}", headers=MINE)
    assert answer.status_code in (400, 404) and answer.json()["error"]["message"]


def test_data_is_never_shown_by_a_server_without_keys(make_page, models):
    data = Dataset("texts", {}, lambda query: Rows([], None, 0), lambda n: b"", lambda n: [], 1)
    app, _ = make_page(models, datasets=[data])
    with TestClient(app, base_url=LOCAL) as client:
        assert client.get("/arena/data/0/rows").status_code == 403
        assert client.get("/arena/data/0/images/0").status_code == 403


def test_a_damaged_journal_line_costs_one_vote(page, make_page, models, tmp_path):
    vote(page, run(page, "one", "two"), "best", 0)
    journal = open_journal(tmp_path / "arena" / "votes.jsonl")
    journal.append({"shown": ["a"], "best": ["a"]})
    journal.append({"shown": ["a", "a"], "best": ["a"]})
    journal.append({"shown": ["a", "b"], "best": ["c"]})
    journal.append({"shown": "ab", "best": [1]})
    journal.close()
    assert make_page(models)[1].standings.show(False)["votes"] == 1
