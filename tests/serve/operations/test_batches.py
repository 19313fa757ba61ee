"""Files and batches by the official client; exactly once and the same bytes, whatever is killed."""

import http.client
import io
import json
import os
import random
import re
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import openai
import pytest

from ssljax.serve.jobs_folder import open_jobs

ROOT = Path(__file__).parents[3]
CHILD = """
import importlib.util, sys, threading
from pathlib import Path
spec = importlib.util.spec_from_file_location("toys", sys.argv[1])
toys = importlib.util.module_from_spec(spec)
spec.loader.exec_module(toys)
with toys.serving_toys({"toy": "abcdefgh"}, jobs=Path(sys.argv[2]), part=4) as server:
    print(server.port, flush=True)
    threading.Event().wait()
"""


def client_of(server, secret="none"):
    return openai.OpenAI(base_url=f"http://127.0.0.1:{server.port}/v1", api_key=secret,
                         max_retries=0)


def requests_file(count, *, url="/v1/completions", **more):
    """Return a batch file of `count` requests."""
    lines = [{"custom_id": f"r{i}", "method": "POST", "url": url,
              "body": {"model": "toy", "prompt": f"p{i}", "max_tokens": 3} | more}
             for i in range(count)]
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def upload(client, data):
    return client.files.create(file=("in.jsonl", io.BytesIO(data)), purpose="batch")


def sent(server, path, body, kind):
    """Post a body that the official client would not make; return status and text."""
    with closing(http.client.HTTPConnection("127.0.0.1", server.port)) as connection:
        connection.request("POST", path, body, {"Content-Type": kind})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def ended(client, batch, seconds=30):
    """Return a batch once it has ended."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        batch = client.batches.retrieve(batch.id)
        if batch.status in ("completed", "failed", "cancelled"):
            return batch
        time.sleep(0.01)
    raise AssertionError(batch)


def begin(client, data):
    return client.batches.create(input_file_id=upload(client, data).id, completion_window="24h",
                                 endpoint="/v1/completions", metadata={"who": "me"})


def test_official_client_uploads_lists_reads_and_deletes(running, tmp_path):
    with running({"toy": "a"}, jobs=tmp_path) as server, client_of(server) as client:
        data = requests_file(3)
        file = upload(client, data)
        assert (file.object, file.bytes, file.purpose, file.filename) == (
            "file", len(data), "batch", "in.jsonl")
        assert client.files.retrieve(file.id).id == file.id
        assert client.files.content(file.id).read() == data
        second = upload(client, data)
        assert [f.id for f in client.files.list(limit=1)] and {
            f.id for f in client.files.list(limit=1)} == {file.id, second.id}     # by pages
        assert client.files.delete(file.id).deleted
        for call in (client.files.retrieve, client.files.content, client.files.delete):
            with pytest.raises(openai.NotFoundError):
                call(file.id)
        with pytest.raises(openai.BadRequestError, match="purpose"):
            client.files.create(file=("x", io.BytesIO(b"x")), purpose="fine-tune")


def test_batch_answers_in_order_and_keeps_failures_apart(running, tmp_path):
    with running({"toy": "abcdefgh"}, jobs=tmp_path) as server, client_of(server) as client:
        bad = {"custom_id": "bad", "method": "POST", "url": "/v1/completions",
               "body": {"model": "toy", "prompt": "x", "max_tokens": -1}}
        batch = ended(client, begin(client, requests_file(20) + json.dumps(bad).encode()))
        assert batch.status == "completed" and batch.metadata == {"who": "me"}
        assert (batch.request_counts.total, batch.request_counts.completed,
                batch.request_counts.failed) == (21, 20, 1)
        lines = [json.loads(line) for line in client.files.content(batch.output_file_id)
                 .read().splitlines()]
        assert [line["custom_id"] for line in lines] == [f"r{i}" for i in range(20)]
        assert len({line["response"]["body"]["choices"][0]["text"] for line in lines}) > 10
        [failed] = client.files.content(batch.error_file_id).read().splitlines()
        assert json.loads(failed)["response"]["status_code"] == 400
        assert [b.id for b in client.batches.list()] == [batch.id]


@pytest.mark.parametrize("data, message", [
    (b"{\n", "not JSON"), (b"", "no requests"), (b'{"custom_id": "a"}', "Expected an object"),
    (requests_file(1) * 2, "not the first"), (requests_file(1, stream=True), "without stream"),
    (requests_file(1, url="/admin/models/load"), "url is"), (b"[" * 90_000, "not JSON"),
    (b"\xff\xfe\n", "not JSON")])
def test_bad_files_fail_by_line(running, tmp_path, data, message):
    with running({"toy": "a"}, jobs=tmp_path) as server, client_of(server) as client:
        batch = ended(client, begin(client, data))
        assert batch.status == "failed" and message in batch.errors.data[0].message
        assert batch.errors.data[0].line >= 1


def test_others_files_and_batches_are_not_there(running, tmp_path):
    with running({"toy": "a"}, {"mine": {}, "other": {}}, jobs=tmp_path) as server:
        mine, other = (client_of(server, server.secrets[name]) for name in ("mine", "other"))
        with mine, other:
            batch = ended(mine, begin(mine, requests_file(1)))
            for call, identity in ((other.files.retrieve, batch.input_file_id),
                                   (other.files.content, batch.output_file_id),
                                   (other.files.delete, batch.input_file_id),
                                   (other.batches.retrieve, batch.id),
                                   (other.batches.cancel, batch.id),
                                   (mine.files.retrieve, "file-" + "0" * 24),
                                   (mine.batches.retrieve, "batch-..%2f..%2fx")):
                with pytest.raises(openai.NotFoundError):
                    call(identity)
            assert not list(other.files.list()) and not list(other.batches.list())
            with pytest.raises(openai.NotFoundError):
                other.batches.create(input_file_id=batch.input_file_id,
                                     endpoint="/v1/completions", completion_window="24h")


def test_batches_obey_the_models_of_their_owner(running, tmp_path):
    with running({"toy": "a", "other": "b"}, {"bound": {"models": ("other",)}},
                 jobs=tmp_path) as server, client_of(server, server.secrets["bound"]) as client:
        batch = ended(client, begin(client, requests_file(2)))
        assert batch.request_counts.failed == 2 and batch.output_file_id is None
        text = client.files.content(batch.error_file_id).read()
        assert text.count(b"model_not_allowed") == 2


def test_batches_of_a_key_end_when_it_is_revoked(running, tmp_path):
    limits = {"mine": {}, "ops": {"admin": True}}
    with running({"toy": "slow"}, limits, jobs=tmp_path, part=2) as server:
        mine, admin = (client_of(server, server.secrets[name]) for name in ("mine", "ops"))
        with mine, admin:
            batch, waiting = (begin(mine, requests_file(400)) for _ in range(2))
            while mine.batches.retrieve(batch.id).request_counts.completed < 2:
                time.sleep(0.01)
            server.revoke("mine")
            for one in (batch, waiting):
                one = ended(admin, one)
                assert one.status == "failed" and one.errors.data[0].code == "key_revoked"
                assert "was revoked" in one.errors.data[0].message


def test_cancelled_batch_keeps_what_is_done(running, tmp_path):
    with running({"toy": "slow"}, jobs=tmp_path, part=2) as server, client_of(server) as client:
        batch = begin(client, requests_file(400))
        while client.batches.retrieve(batch.id).request_counts.completed < 2:
            time.sleep(0.01)
        assert client.batches.cancel(batch.id).status == "cancelling"
        batch = ended(client, batch)
        lines = client.files.content(batch.output_file_id).read().splitlines()
        assert batch.status == "cancelled" and 2 <= len(lines) < 400
        with pytest.raises(openai.ConflictError):
            client.batches.cancel(batch.id)


def test_online_requests_find_a_free_slot_beside_a_batch(running, tmp_path):
    with running({"toy": "slow"}, jobs=tmp_path, part=64) as server, client_of(server) as client:
        begin(client, requests_file(60, max_tokens=50))
        [served] = server.state.served()
        while served.engine.load().busy < 7:
            time.sleep(0.005)
        for _ in range(3):
            client.completions.create(model="toy", prompt="x", max_tokens=1)
            assert served.engine.load().waiting == 0 and served.engine.load().busy <= 7


def child(folder):
    """Start a server in a process of its own; return the process and its port."""
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(Path(__file__).with_name("conftest.py")), str(folder)],
        stdout=subprocess.PIPE, text=True, cwd=ROOT)
    return process, int(process.stdout.readline())


def kill_and_resume(running, folder, kills, count):
    """Kill servers at random points of one batch; return its output, and the same uninterrupted."""
    draw, batch = random.Random(4), None
    for _ in range(kills):
        process, port = child(folder)
        with process, openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="x") as client:
            batch = batch or begin(client, requests_file(count))
            time.sleep(draw.uniform(0.0, 0.15))
            process.kill()
    with running({"toy": "abcdefgh"}, jobs=folder, part=4) as server, client_of(server) as client:
        batch = ended(client, batch, 60)
        output = client.files.content(batch.output_file_id).read()
        assert len(list(client.files.list(purpose="batch_output"))) == 1
        assert batch.request_counts.completed == count
    again(folder, batch)
    with running({"toy": "abcdefgh"}, jobs=folder, part=4) as server, client_of(server) as client:
        return output, client.files.content(ended(client, batch).output_file_id).read()


def again(folder, batch):
    """Take a batch back to its beginning: nothing of it but its request is left."""
    path = folder / "batches" / f"{batch.id}.json"
    about = json.loads(path.read_text()) | {"status": "validating", "output_file_id": None}
    path.write_text(json.dumps(about))
    for part in (folder / "files" / batch.output_file_id).iterdir():
        part.unlink()


def check_once(output, count):
    assert [json.loads(line)["custom_id"] for line in output.splitlines()] == [
        f"r{i}" for i in range(count)]


@pytest.mark.slow
@pytest.mark.parametrize("kills, count", [(2, 60), (20, 600)])
def test_killed_servers_leave_the_bytes_of_one_that_was_not(running, tmp_path, kills, count):
    output, uninterrupted = kill_and_resume(running, tmp_path, kills, count)
    assert output == uninterrupted
    check_once(output, count)


def test_an_ended_server_leaves_the_rest_of_a_batch_to_the_next(running, tmp_path):
    with running({"toy": "slow"}, jobs=tmp_path, part=2) as server, client_of(server) as client:
        batch = begin(client, requests_file(30))
        while not client.batches.retrieve(batch.id).request_counts.completed:
            time.sleep(0.01)
    with running({"toy": "abc"}, jobs=tmp_path, part=2) as server, client_of(server) as client:
        batch = ended(client, batch)
        check_once(client.files.content(batch.output_file_id).read(), 30)


def test_uploads_are_limited_and_must_be_multipart(running, tmp_path, monkeypatch):
    monkeypatch.setattr("ssljax.serve.routes.files.BYTES", 1000)
    with running({"toy": "a"}, jobs=tmp_path) as server, client_of(server) as client:
        with pytest.raises(openai.APIStatusError) as caught:
            upload(client, b"x" * 100_000)
        assert caught.value.status_code == 413
        with closing(http.client.HTTPConnection("127.0.0.1", server.port)) as connection:
            for body, kind in ((b"{}", "application/json"), (b"--x\r\n", "multipart/form-data"),
                               (b"junk", "multipart/form-data; boundary=x")):
                connection.request("POST", "/v1/files", body, {"Content-Type": kind})
                answer = connection.getresponse()
                assert answer.status == 400 and re.search("error", answer.read().decode())
        assert not list((tmp_path / "incoming").iterdir())


def test_what_a_batch_wrote_is_on_the_disk_before_anything_speaks_of_it(tmp_path, monkeypatch):
    done, sync, rename = [], os.fsync, Path.replace

    def fsync(descriptor):
        done.append(("sync", Path(os.readlink(f"/proc/self/fd/{descriptor}")).name))
        sync(descriptor)

    def replace(path, target):
        done.append(("rename", Path(target).name))
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    jobs = open_jobs(tmp_path)
    (tmp_path / "incoming" / "new").write_bytes(b"x")
    file = jobs.add_file(tmp_path / "incoming" / "new", "a", "batch", "me")
    folder = ("sync", file["id"])
    moved, told = done.index(("rename", "content")), done.index(("rename", "meta.json"))
    assert done.index(("sync", "new")) < moved < done.index(folder) < told
    assert done[told + 1:] == [folder, ("sync", "files")]
    done.clear()
    jobs.save_batch({"id": "batch-1"})
    assert done[-2:] == [("rename", "batch-1.json"), ("sync", "batches")]


@pytest.mark.parametrize("metadata", [{"a": "\ud800"}, {"\ud800": "a"}])
def test_metadata_that_no_answer_could_carry_are_refused(running, tmp_path, metadata):
    with running({"toy": "a"}, jobs=tmp_path) as server, client_of(server) as client:
        file = upload(client, requests_file(1))
        asked = {"input_file_id": file.id, "endpoint": "/v1/completions", "metadata": metadata}
        status, text = sent(server, "/v1/batches", json.dumps(asked).encode(), "application/json")
        assert status == 400 and "half of a pair" in text
        assert not list(client.batches.list())


def test_filenames_that_no_answer_could_carry_are_refused(running, tmp_path):
    with running({"toy": "a"}, jobs=tmp_path) as server, client_of(server) as client:
        form = (b'--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
                b'--x\r\nContent-Disposition: form-data; name="file"; filename="\\ud800"\r\n'
                b"Content-Type: text/plain\r\n\r\nx\r\n--x--\r\n")
        kind = "multipart/form-data; boundary=x; charset=unicode_escape"
        status, text = sent(server, "/v1/files", form, kind)
        assert status == 400 and "half of a pair" in text
        assert not list(client.files.list()) and not list((tmp_path / "incoming").iterdir())


def test_server_without_a_folder_offers_neither(running):
    with running({"toy": "a"}) as server, client_of(server) as client:
        for call in (client.files.list, client.batches.list):
            with pytest.raises(openai.NotFoundError):
                call()


