"""Features, controls and label draws that every few-label judgement shares."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

from ssljax.core import sharding
from ssljax.core.errors import ConfigError, DataError
from ssljax.core.rng import record_id
from ssljax.core.types import Model
from ssljax.evals import features, knn, labels
from ssljax.models import vit
from ssljax.objectives import simclr
from ssljax.pretext import two_views
from ssljax.train.layout import partition

PRETEXT = two_views.make(**two_views.TINY)
MODEL = vit.make(**vit.TINY)
OBJECTIVE = simclr.make(MODEL, **simclr.TINY)


@dataclasses.dataclass(frozen=True)
class Stripes:
    """Images whose class is the row of a bright stripe, under noise."""

    size: int
    first: int = 0
    labelled: bool = True

    def __len__(self) -> int:
        return self.size

    def read(self, indices: np.ndarray) -> list[dict]:
        return [self.record(self.first + int(i)) for i in indices]

    def record(self, index: int) -> dict:
        image = np.random.default_rng(index).integers(0, 120, (8, 8, 1)).astype(np.uint8)
        image[2 * (index % 4)] += 130
        label = {"label": index % 4} if self.labelled else {}
        return {"id": record_id("stripes", index), "image": image, **label}

    def fingerprint(self) -> dict[str, str]:
        return {"stripes": str(self.size)}


@functools.cache
def params_on(mesh):
    view = jnp.zeros((8, 8, 8, 1))

    def init(key):
        return OBJECTIVE.init(key, {"view1": view, "view2": view})

    with sharding.use_mesh(mesh):
        layout = mesh and sharding.shardings(mesh, partition(),
                                             jax.eval_shape(init, jax.random.key(5)))
        return jax.jit(init, out_shardings=layout)(jax.random.key(5))


@functools.cache
def evaluator(**options):
    return knn.make(OBJECTIVE, model=MODEL, plain=PRETEXT.plain, train_source=Stripes(60),
                    test_source=Stripes(21, first=60), **{"batch_size": 16, **options})


def test_draws_are_fixed_balanced_and_differ():
    data = features.read(Stripes(60), PRETEXT.plain)
    first, again, other = (labels.draw_labelled(data, per_class=3, draw=d) for d in (0, 0, 1))
    assert first.tolist() == again.tolist() != other.tolist()
    assert np.bincount(data.labels[first]).tolist() == [3, 3, 3, 3]


def test_draws_do_not_depend_on_the_order_of_the_source():
    data = features.read(Stripes(60), PRETEXT.plain)
    order = np.random.default_rng(0).permutation(60)
    shuffled = features.Labelled(*(x[order] for x in data))
    chosen = labels.draw_labelled(data, per_class=3, draw=0)
    assert order[labels.draw_labelled(shuffled, per_class=3, draw=0)].tolist() == chosen.tolist()


def test_too_few_examples_and_missing_labels_are_refused():
    data = features.read(Stripes(10), PRETEXT.plain)
    with pytest.raises(DataError, match="Class 2 has 2 training examples"):
        labels.draw_labelled(data, per_class=3, draw=0)
    with pytest.raises(DataError, match="no label in its records"):
        features.read(Stripes(3, labelled=False), PRETEXT.plain)
    with pytest.raises(ConfigError, match="draws 1: both are at least 2"):
        evaluator(draws=1)


def test_all_labels_are_one_draw_and_the_interval_is_of_test_images():
    params, extra = params_on(None)
    value, (low, high) = evaluator(labels_per_class=0).run(params, extra)["knn_random_init"]
    assert 0 <= low < value <= high <= 1
    data = features.read(Stripes(60), PRETEXT.plain)
    order = labels.hashed_order(data, 0)
    assert sorted(order.tolist()) == list(range(60)) != order.tolist()
    backwards = features.Labelled(*(x[::-1] for x in data))
    assert (59 - labels.hashed_order(backwards, 0)).tolist() == order.tolist()


def normalised(params, inputs, *, stats=None, key=None, train=False, cache=None):
    """Pool images that are shifted by their mean, of the batch in training, else the running."""
    flat = inputs["image"].reshape(len(inputs["image"]), -1)
    mean = flat.mean(0) if train else stats["mean"]
    moved = {"mean": 0.9 * stats["mean"] + 0.1 * flat.mean(0)} if train else stats
    return {"pooled": (flat - mean) * params["w"], "stats": moved}


def test_statistics_of_the_untrained_network_are_those_of_the_images():
    model = Model(lambda key, inputs: ({"w": jnp.ones(())}, {"mean": jnp.zeros(4)}), normalised)
    images = np.random.default_rng(0).normal(5, 1, size=(48, 2, 2, 1)).astype(np.float32)
    stats = features.calibrated(model, *model.init(None, {}), images, batch_size=16)
    np.testing.assert_allclose(stats["mean"], images.reshape(48, 4).mean(0), rtol=0.1)
    extract = features.extractor(model, 16)
    found = features.random_features(model, None, images, batch_size=16, extract=extract)(images)
    assert np.abs(found.mean(0)).max() < 0.5 < images.mean()
    assert features.calibrated(MODEL, {}, {}, images, batch_size=16) == {}


def test_is_judged_as_often_as_asked():
    assert evaluator(every=7).every == 7


def test_interval_is_students():
    mean, (low, high) = labels.student_interval(np.array([1.0, 2.0, 3.0]))
    assert mean == 2
    assert high - mean == mean - low == pytest.approx(4.302653 / np.sqrt(3), rel=1e-6)


def test_features_do_not_depend_on_the_batch_size_and_are_the_pooled_outputs():
    data = features.read(Stripes(10), PRETEXT.plain)
    params, stats = OBJECTIVE.encoder(*params_on(None))
    expected = jax.jit(MODEL.apply)(params, {"image": jnp.asarray(data.images)})["pooled"]
    for batch_size in (4, 16):
        found = features.extractor(MODEL, batch_size)(params, stats, data.images)
        assert found.shape == (10, 16)
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
def test_judgement_is_the_same_with_parameters_on_a_mesh(kind):
    mesh = sharding.make_mesh({"data": 2, "fsdp": 2, "tensor": 2}, kind)
    judge = evaluator(batch_size=12)
    alone = judge.run(*params_on(None))
    assert judge.run(*params_on(mesh)) == alone
    with sharding.use_mesh(mesh):
        assert judge.run(*params_on(mesh)) == alone


def test_controls_stand_beside_the_method_and_do_not_depend_on_its_weights():
    judge = evaluator(batch_size=12)
    params, extra = params_on(None)
    before = judge.run(params, extra)
    after = judge.run(jax.tree.map(lambda x: -x, params), extra)
    assert set(before) == {"knn", "knn_raw_pixels", "knn_random_init"}
    assert before["knn_raw_pixels"] == after["knn_raw_pixels"]
    assert before["knn_random_init"] == after["knn_random_init"]
    assert all(low <= value <= high for value, (low, high) in before.values())
    assert before["knn_raw_pixels"][0] > 0.9


def test_random_init_is_scored_like_a_method_with_these_weights():
    params, extra = params_on(None)
    weights, _ = features.untrained(MODEL, None, (8, 8, 1))
    result = evaluator(batch_size=12).run({**params, "encoder": weights}, extra)
    assert result["knn"] == result["knn_random_init"]
