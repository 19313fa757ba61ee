"""The watchdog: a stall is reported with stacks, and a run that moves is left alone."""

import threading
import time

import pytest

from ssljax.train.watchdog import watching


def wait_for(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(params=[0, 150])
def others(request):
    """So many threads that wait: a dump of all ends at a hundred."""
    gone = threading.Event()
    threads = [threading.Thread(target=gone.wait) for _ in range(request.param)]
    for thread in threads:
        thread.start()
    yield
    gone.set()
    for thread in threads:
        thread.join()


def test_a_stalled_step_is_reported_with_the_stack_of_the_thread_that_hangs(
        tmp_path, caplog, others):
    def hang_in_here(path):
        wait_for(lambda: path.exists() and "hang_in_here" in path.read_text())

    with watching(tmp_path, 0.1) as watchdog:
        watchdog.beat(41)
        hang_in_here(tmp_path / "stalled-42.txt")
    report = (tmp_path / "stalled-42.txt").read_text()
    assert "since step 41 ended" in report
    assert "Step 42 has not ended" in caplog.text


def test_a_run_that_moves_is_not_reported(tmp_path):
    with watching(tmp_path, 1.0) as watchdog:
        for step in range(30):
            watchdog.beat(step)
            time.sleep(0.05)
    assert not list(tmp_path.iterdir())
