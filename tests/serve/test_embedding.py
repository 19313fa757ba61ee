"""A text's vector is the mean over its tokens, and the same in any company."""

import numpy as np

from ssljax.serve.embedding import ROWS, cut, in_batches, make_embed


def random_texts(count, longest, seed=0):
    draw = np.random.default_rng(seed)
    return [draw.integers(250, size=draw.integers(1, longest)).astype(np.int32)
            for _ in range(count)]


def test_a_vector_is_the_mean_of_what_the_network_returns(artefact, trained):
    model, params = trained
    texts = random_texts(5, 40)
    found = make_embed(artefact)(texts)
    start = artefact.tokenizer.end_of_text
    for ids, vector in zip(texts, found, strict=True):
        sequence = model.apply(params, {"tokens": np.array([[start, *ids]])})["sequence"]
        np.testing.assert_allclose(vector, np.asarray(sequence[0]).mean(0), rtol=1e-4, atol=1e-5)


def test_a_vector_does_not_depend_on_the_company(artefact):
    embed, texts = make_embed(artefact), random_texts(3 * ROWS + 5, 44)
    together = embed(texts)
    for i in (0, 7, ROWS, 3 * ROWS + 4):
        assert embed([texts[i]])[0].tobytes() == together[i].tobytes()
    turned = embed(texts[::-1])[::-1]
    assert turned.tobytes() == together.tobytes()


def test_a_text_longer_than_the_context_is_the_mean_over_its_windows(artefact):
    embed, context = make_embed(artefact), artefact.manifest["max_context"]
    [long] = [np.arange(2 * context + 9, dtype=np.int32) % 250]
    windows = [np.array(w, np.int32) for w in cut(long, context - 1)]
    assert [len(w) for w in windows] == [context - 1, context - 1, 11]
    lengths = np.array([len(w) + 1.0 for w in windows])
    right = (lengths[:, None] * embed(windows)).sum(0) / lengths.sum()
    np.testing.assert_allclose(embed([long])[0], right, rtol=1e-5, atol=1e-6)


def test_batches_have_one_shape_and_lose_no_row():
    shapes = []

    def double(x):
        shapes.append(x.shape)
        return 2 * x

    rows = np.arange(2.0 * (ROWS + 3)).reshape(-1, 2).astype(np.float32)
    np.testing.assert_array_equal(in_batches(double, rows), 2 * rows)
    assert set(shapes) == {(ROWS, 2)}
