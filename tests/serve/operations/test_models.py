"""Versions that come, go and share traffic while requests run: nobody notices."""

import http.client
import json
import threading
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

ADMIN = {"ops": {"admin": True}}


def ask(port, method, path, fields=None, *, secret="", name="", timeout=60):
    """Return (status, JSON) of one request."""
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    headers |= {"X-Request-Id": name} if name else {}
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)) as connection:
        connection.request(method, path, None if fields is None else json.dumps(fields), headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def complete(server, model="toy", **more):
    fields = {"model": model, "prompt": "hi", "max_tokens": 3, "seed": 1}
    return ask(server.port, "POST", "/v1/completions", fields, **more)


def admin(server, path, **fields):
    status, body = ask(server.port, "POST", f"/admin/{path}", fields,
                       secret=server.secrets["ops"])
    return status, body


def test_versions_are_asked_by_name_and_by_name_and_version(running):
    with running({"toy": "a", "toy@2": "b", "other": "c"}) as server:
        said = {name: complete(server, name)[1]["choices"][0]["text"]
                for name in ("toy", "toy@1", "toy@2", "other")}
        assert said == {"toy": "aaa", "toy@1": "aaa", "toy@2": "bbb", "other": "ccc"}
        for wrong in ("toy@3", "b", None, 3, ["toy"], "toy@", "@1"):
            status, body = complete(server, wrong)
            assert status == 404 and body["error"]["code"] == "model_not_found"
        listed = ask(server.port, "GET", "/v1/models")[1]["data"]
        assert [one["id"] for one in listed] == ["toy", "other", "toy@1", "toy@2"]
        assert ask(server.port, "GET", "/v1/models/toy@2")[1]["id"] == "toy@2"
        assert ask(server.port, "GET", "/v1/models/none")[0] == 404


def test_keys_may_use_their_models_only_and_see_no_others(running):
    keys = {"bound": {"models": ("toy",)}, "free": {}}
    with running({"toy": "a", "other": "c"}, keys) as server:
        bound, free = server.secrets["bound"], server.secrets["free"]
        assert complete(server, "toy", secret=bound)[0] == 200
        status, body = complete(server, "other", secret=bound)
        assert (status, body["error"]["code"]) == (403, "model_not_allowed")
        assert complete(server, "other", secret=free)[0] == 200
        listed = ask(server.port, "GET", "/v1/models", secret=bound)[1]["data"]
        assert [one["id"] for one in listed] == ["toy"]


def test_limits_are_429_with_retry_after_and_metered_by_tokens(running):
    with running({"toy": "a"}, {"few": {"requests_per_minute": 2}, "short": {
            "tokens_per_minute": 8}}) as server:
        few, short = server.secrets["few"], server.secrets["short"]
        assert [complete(server, secret=few)[0] for _ in range(3)] == [200, 200, 429]
        # 3 tokens of the prompt and 3 of the answer leave 2: one more call, and then a debt
        assert [complete(server, secret=short)[0] for _ in range(3)] == [200, 200, 429]
        with closing(http.client.HTTPConnection("127.0.0.1", server.port)) as connection:
            connection.request("GET", "/v1/models", headers={"Authorization": f"Bearer {short}"})
            answer = connection.getresponse()
            assert answer.status == 429 and 1 <= int(answer.headers["Retry-After"]) <= 60


def test_admin_needs_an_administrators_key(running):
    with running({"toy": "a"}) as server:
        assert ask(server.port, "GET", "/admin/models")[0] == 403
    with running({"toy": "a"}, ADMIN | {"user": {}}) as server:
        for secret, status in ((server.secrets["user"], 403), ("x", 401),
                               (server.secrets["ops"], 200)):
            assert ask(server.port, "GET", "/admin/models", secret=secret)[0] == status


@pytest.mark.parametrize("path, fields, status, message", [
    ("models/load", {"artefact": "broken", "name": "toy", "version": "2"}, 400, "is damaged"),
    ("models/load", {"artefact": "b", "name": "toy", "version": "1"}, 409, "loaded already"),
    ("models/load", {"name": "toy"}, 400, "artefact is missing"),
    ("models/load", {"artefact": "b", "name": "a@b"}, 400, "without @"),
    ("models/load", {"artefact": 3}, 400, "expected a string"),
    ("models/load", {"artefact": "b", "weight": 2}, 400, "from 0 to 1"),
    ("models/unload", {"name": "toy", "version": "9"}, 404, "not served"),
    ("traffic", {"name": "toy", "weights": {"1": "x"}}, 400, "expected a number"),
    ("traffic", {"name": "no", "weights": {"1": 1}}, 404, "not served"),
    ("traffic", {"name": "toy", "weight": {}}, 400, 'did you mean "weights"'),
    ("rollback", {"name": "no"}, 404, "not served"),
    ("shadow", {"name": "toy", "version": "9"}, 404, "not loaded")])
def test_wrong_orders_change_nothing(running, path, fields, status, message):
    with running({"toy": "a"}, ADMIN) as server:
        before = server.state.models.status()
        found, body = admin(server, path, **fields)
        assert found == status and message in body["error"]["message"]
        assert server.state.models.status() == before


def test_callers_stay_with_their_version_and_shares_are_met(running):
    with running({"toy": "a", "toy@2": "b"}, ADMIN) as server:
        def version_of(name):
            call = complete(server, secret=server.secrets["ops"], name=name)
            return call[1]["system_fingerprint"]

        assert admin(server, "traffic", name="toy", weights={"1": 0.5, "2": 0.5})[0] == 200
        assert len({version_of(f"r{i}") for i in range(8)}) == 1          # one key, one version
    with running({"toy": "a", "toy@2": "b"}) as server:
        server.state.models.split("toy", {"1": 0.7, "2": 0.3})
        first = [complete(server, name=f"r{i}")[1]["system_fingerprint"] for i in range(200)]
        again = [complete(server, name=f"r{i}")[1]["system_fingerprint"] for i in range(0, 200, 9)]
        assert first[::9] == again and 35 < Counter(first)["fp-b"] < 85


def test_unloading_waits_for_open_calls_and_new_ones_go_elsewhere(running):
    with running({"toy": "slow", "toy@2": "b"}, ADMIN) as server:
        secret, said = server.secrets["ops"], []
        fields = {"model": "toy", "prompt": "hi", "max_tokens": 30, "seed": 1}
        long = threading.Thread(target=lambda: said.append(
            ask(server.port, "POST", "/v1/completions", fields, secret=secret)))
        long.start()
        while not server.state.models.status()[0]["calls"]:
            time.sleep(0.005)
        gone = threading.Thread(target=lambda: said.append(
            admin(server, "models/unload", name="toy", version="1")))
        gone.start()
        while len(server.state.models.status()) == 2:
            time.sleep(0.005)
        assert complete(server, secret=secret)[1]["choices"][0]["text"] == "bbb"
        assert not said                                      # both wait
        long.join(20)
        gone.join(20)
        assert said[0][0] == 200 and len(said[0][1]["choices"][0]["text"]) == 30
        assert said[1] == (200, {"unloaded": True, "calls_cut_off": 0})


def test_unloading_cuts_off_what_is_not_done_in_time(running):
    with running({"toy": "slow"}, ADMIN) as server:
        said = []
        fields = {"model": "toy", "prompt": "hi", "max_tokens": 300}
        thread = threading.Thread(target=lambda: said.append(ask(
            server.port, "POST", "/v1/completions", fields, secret=server.secrets["ops"])))
        thread.start()
        while not server.state.models.status()[0]["calls"]:
            time.sleep(0.005)
        status, body = admin(server, "models/unload", name="toy", version="1", seconds=0.1)
        thread.join(20)
        assert (status, body["calls_cut_off"]) == (200, 1)
        assert said[0][0] >= 500 and "shutting down" in said[0][1]["error"]["message"]
        assert ask(server.port, "GET", "/ready")[0] == 503


def swap(server, calls, meanwhile):
    """Make `calls` requests while versions come, share the traffic, and go; return the failures."""
    failures = []

    def change(stopped):
        version = 1
        while not stopped():
            new = version + 1
            server.state.models.load(Path("ab"[new % 2]), "toy", str(new), None)
            for part in (0.1, 0.5, 1.0):
                server.state.models.split("toy", {str(version): 1 - part, str(new): part})
                time.sleep(0.01)
            server.state.models.rollback("toy")
            server.state.models.split("toy", {str(new): 1})
            status, body = admin(server, "models/unload", name="toy", version=str(version))
            if (status, body["calls_cut_off"]) != (200, 0):
                failures.append(body)
            version = new

    def client(number):
        headers = {"Authorization": f"Bearer {server.secrets['ops' if number % 2 else 'user']}"}
        fields = json.dumps({"model": "toy", "prompt": f"{number}", "max_tokens": 2,
                             "stream": bool(number % 3)})
        with closing(http.client.HTTPConnection("127.0.0.1", server.port)) as connection:
            for _ in range(calls // 16):
                connection.request("POST", "/v1/completions", fields, headers)
                answer = connection.getresponse()
                text = answer.read()
                if answer.status != 200 or b"error" in text:
                    failures.append((answer.status, text))

    meanwhile(change, client, 16)
    return failures


def test_no_request_fails_while_versions_swap(running, meanwhile):
    with running({"toy": "a"}, ADMIN | {"user": {}}) as server:
        assert swap(server, 480, meanwhile) == []
        assert int(server.state.models.status()[-1]["version"]) > 2


@pytest.mark.slow
def test_none_of_ten_thousand_requests_fails_while_versions_swap(running, meanwhile):
    with running({"toy": "a"}, ADMIN | {"user": {}}) as server:
        assert swap(server, 10_000, meanwhile) == []


def test_shadow_gets_copies_and_the_report_compares(running):
    with running({"toy": "abcdefgh", "toy@2": "abcdefgh", "toy@3": "z"}, ADMIN) as server:
        secret = server.secrets["ops"]

        def report_after(version, calls):
            assert admin(server, "shadow", name="toy", version=version, share=1)[0] == 200
            for seed in range(calls):
                fields = {"model": "toy", "prompt": "hi", "max_tokens": 4, "seed": seed}
                assert ask(server.port, "POST", "/v1/completions", fields, secret=secret)[0] == 200
            end = time.monotonic() + 10
            while time.monotonic() < end:
                [report] = ask(server.port, "GET", "/admin/shadow", secret=secret)[1]["data"]
                if report["compared"] + report["dropped"] == calls:
                    return report
                time.sleep(0.01)
            raise AssertionError(report)

        same = report_after("2", 6)
        assert same["identical"] == same["compared"] > 0 and same["token_agreement"] == 1
        assert same["common_tokens_mean"] == 4 and same["first_difference_min"] is None
        assert same["shadow_seconds_p50"] > 0 and same["difference_p95"] is not None
        other = report_after("3", 6)
        assert other["identical_share"] == 0 and other["token_agreement"] == 0
        assert other["first_difference_min"] == other["first_difference_p50"] == 0
        assert admin(server, "shadow", name="toy", version=None)[0] == 200


def test_a_shadow_that_hangs_delays_nobody_and_copies_are_dropped(running):
    with running({"toy": "a", "toy@2": "slow"}, ADMIN) as server:
        server.state.models.mirror("toy", "2", 1.0)
        fields = {"model": "toy", "prompt": "hi", "max_tokens": 100}
        for _ in range(24):                  # of 50 ms each; the shadow takes 2 s
            assert ask(server.port, "POST", "/v1/completions", fields,
                       secret=server.secrets["ops"])[0] == 200
        [report] = server.state.models.shadows()
        assert report["dropped"] > 0 and report["copied"] >= 8
