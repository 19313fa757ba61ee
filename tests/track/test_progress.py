"""The line of the progress bar says what was measured, and only that."""

from ssljax.track import progress


def test_the_line_has_rate_mfu_and_goodput_where_they_are_known():
    assert progress.summary({"loss": 3.21}, "tokens") == "loss 3.2100"
    full = {"loss": 3.21, "tokens_per_second": 4321.4, "mfu": 0.4118, "goodput": 0.966}
    assert progress.summary(full, "tokens") == (
        "loss 3.2100  4,321 tokens/s  MFU 41.2 %  goodput 97 %")


def test_a_pipe_gets_the_last_step_and_no_evaluation_rows(capsys):
    writer = progress.make(3, start=0, unit="tokens")
    for step in (1, 2, 3):
        writer.write(step, {"loss": 1.0 * step})
        writer.write(step, {"knn/accuracy": 0.5})
    writer.close()
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["step 1/3  loss 1.0000", "step 3/3  loss 3.0000"]
