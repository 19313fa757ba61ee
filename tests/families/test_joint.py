"""What two-view methods share: unit rows, products over the batch, and local crops."""

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.core.sharding import make_mesh, place_whole, use_mesh
from ssljax.core.types import Model
from ssljax.families.heads import mlp
from ssljax.families.joint import branch, cosine, local_embeddings, pooled_width, products, unit

RNG = np.random.default_rng(0)


def means(params, inputs, *, stats=None, key=None, train=False):
    """A network that pools the mean pixel of each channel, times a weight."""
    del key, train
    return {"pooled": jnp.mean(inputs["image"], axis=(1, 2)) * params["gain"], "stats": stats}


TOY = Model(lambda key, inputs: ({"gain": jnp.float32(2)}, {}), means)


def test_unit_rows_and_cosines():
    a, b = RNG.normal(size=(2, 6, 4))
    expected = [x @ y / np.linalg.norm(x) / np.linalg.norm(y) for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(cosine(jnp.asarray(a), jnp.asarray(5 * b)), expected, rtol=1e-5)
    assert np.isfinite(jax.grad(lambda z: jnp.sum(unit(z)))(jnp.zeros((2, 3)))).all()


def test_products_are_of_the_whole_batch_on_any_mesh():
    a, b = RNG.normal(size=(2, 16, 4)).astype(np.float32)
    mesh = make_mesh({"data": 4, "tensor": 2})
    with use_mesh(mesh):
        on_mesh = jax.jit(products)(*place_whole(mesh, (a, b)))
    np.testing.assert_allclose(on_mesh, a.T @ b, rtol=1e-4, atol=1e-5)


def test_local_crops_are_embedded_as_each_would_be_alone():
    net = branch(TOY, mlp((4,)))
    local = jnp.asarray(RNG.normal(size=(3, 5, 4, 4, 3)), jnp.float32)
    params, stats = net.init(jax.random.key(0), local[:, 0])
    z, _ = local_embeddings(net, params, stats, local, jax.random.key(1))
    assert z.shape == (3, 5, 4)
    for v in range(5):
        np.testing.assert_allclose(z[:, v], net.apply(params, stats, local[:, v], None)[0],
                                   rtol=1e-5, atol=1e-6)


def test_local_crops_are_the_same_on_a_mesh():
    net = branch(TOY, mlp((8, 4)))
    local = RNG.normal(size=(8, 3, 4, 4, 2)).astype(np.float32)
    params, stats = net.init(jax.random.key(0), jnp.asarray(local[:, 0]))

    def embed(local):
        return local_embeddings(net, params, stats, local, None)[0]

    mesh = make_mesh({"data": 2, "fsdp": 2, "tensor": 2})
    with use_mesh(mesh):
        on_mesh = np.asarray(jax.jit(embed)(place_whole(mesh, local)))
    np.testing.assert_allclose(on_mesh, jax.jit(embed)(jnp.asarray(local)), rtol=1e-4, atol=1e-5)


def test_the_width_of_what_is_pooled_is_known_without_computing():
    assert pooled_width(TOY, {"gain": jnp.float32(1)}, {}, jnp.zeros((2, 4, 4, 7))) == 7
