"""A text's vector is the mean over its tokens, and the same in any company."""

import asyncio

import numpy as np
import pytest

from ssljax.core.errors import RequestError
from ssljax.serve.embedding import make_embed
from ssljax.serve.encoder import CPU_TOKENS, MOST_ROWS, cut, default_rows, make_encoder, stacked
from ssljax.serve.encoding import fingerprint, start_encoding


def random_texts(count, longest, seed=0):
    draw = np.random.default_rng(seed)
    return [draw.integers(250, size=draw.integers(1, longest)).astype(np.int32)
            for _ in range(count)]


@pytest.fixture(scope="module")
def embed(artefact):
    return make_embed(artefact)


@pytest.fixture(scope="module")
def encoding(artefact):
    encoding = start_encoding(artefact, limit=256)
    yield encoding
    encoding.close()


def test_a_vector_is_the_mean_of_what_the_network_returns(artefact, trained, embed):
    model, params = trained
    texts = random_texts(5, 40)
    start = artefact.tokenizer.end_of_text
    for ids, vector in zip(texts, embed(texts), strict=True):
        sequence = model.apply(params, {"tokens": np.array([[start, *ids]])})["sequence"]
        np.testing.assert_allclose(vector, np.asarray(sequence[0]).mean(0), rtol=1e-4, atol=1e-5)


def test_a_vector_does_not_depend_on_the_company(embed):
    texts = random_texts(3 * MOST_ROWS + 5, 44)
    together = embed(texts)
    for i in (0, 7, MOST_ROWS, 3 * MOST_ROWS + 4):
        assert embed([texts[i]])[0].tobytes() == together[i].tobytes()
    turned = embed(texts[::-1])[::-1]
    assert turned.tobytes() == together.tobytes()


def test_a_server_gives_the_bits_of_a_job_whoever_else_asks(encoding, embed):
    texts = random_texts(60, 90, seed=1)
    draw = np.random.default_rng(2)

    async def ask(text):
        await asyncio.sleep(draw.random() / 50)
        return await encoding.encode("embed", [text], caller=str(len(text) % 3))

    async def all_at_once():
        return await asyncio.gather(*map(ask, texts))

    found = np.concatenate(asyncio.run(all_at_once()))
    assert found.tobytes() == embed(texts).tobytes()


def test_what_a_server_cannot_encode_is_refused(encoding):
    text = np.zeros(3, np.int32)
    with pytest.raises(RequestError, match="does not classify; it can embed"):
        asyncio.run(encoding.encode("classify", [text]))
    with pytest.raises(RequestError, match="257 rows, windows of long texts counted; at most 256"):
        asyncio.run(encoding.encode("embed", [text] * 257))

    async def twice():
        return await asyncio.gather(*(encoding.encode("embed", [text] * 256) for _ in range(2)))

    with pytest.raises(RequestError, match="256 more do not fit in 256 places") as caught:
        asyncio.run(twice())
    assert (caught.value.status, caught.value.code) == (429, "queue_full")
    assert caught.value.retry_after


def test_a_text_longer_than_the_context_is_the_mean_over_its_windows(artefact, embed):
    context = artefact.manifest["max_context"]
    [long] = [np.arange(2 * context + 9, dtype=np.int32) % 250]
    windows = [np.array(w, np.int32) for w in cut(long, context - 1)]
    assert [len(w) for w in windows] == [context - 1, context - 1, 11]
    lengths = np.array([len(w) + 1.0 for w in windows])
    right = (lengths[:, None] * embed(windows)).sum(0) / lengths.sum()
    np.testing.assert_allclose(embed([long])[0], right, rtol=1e-5, atol=1e-6)


def test_batches_have_one_shape(artefact, monkeypatch):
    encoder, shapes = make_encoder(artefact, rows=5), set()
    monkeypatch.setattr("ssljax.serve.encoder.stacked", lambda inputs, rows: shapes.add(
        tuple(sorted(array.shape for array in stacked(inputs, rows).values()))) or stacked(
            inputs, rows))
    [part] = encoder.parts("embed", np.zeros(9, np.int32))
    one, five = encoder.run(part.bucket, [part]), encoder.run(part.bucket, [part] * 5)
    assert len(one) == 1 and len(five) == 5 and shapes == {((5,), (5, 32))}
    assert {row.tobytes() for row in five} == {one[0].tobytes()}


def test_an_adaptive_encoder_runs_no_more_rows_than_it_must(artefact, monkeypatch):
    seen = []
    monkeypatch.setattr("ssljax.serve.encoder.stacked", lambda inputs, rows: seen.append(
        rows) or stacked(inputs, rows))
    encoder = make_encoder(artefact, rows=8, adaptive=True)
    [part] = encoder.parts("embed", np.zeros(9, np.int32))
    vectors = [encoder.run(part.bucket, [part] * count)[0] for count in (1, 2, 3, 8)]
    assert seen == [1, 2, 4, 8]
    np.testing.assert_allclose(vectors, [vectors[0]] * 4, rtol=1e-5, atol=1e-6)


def test_rows_and_adaptiveness_are_in_the_fingerprint(artefact):
    names = {fingerprint(artefact, rows, adaptive=adaptive)
             for rows in (0, 8) for adaptive in (False, True)}
    assert len(names) == 4 and any(name.endswith("-r8-adaptive") for name in names)


def test_rows_of_a_batch_are_a_power_of_two_that_keeps_a_core_busy():
    assert [default_rows(n, "cpu") for n in (1, 32, 100, CPU_TOKENS, 9999)] == [16, 8, 2, 1, 1]
    assert default_rows(9999, "cuda") == MOST_ROWS
