"""An adapter's folder means W + scale B A here as there, and anything else is refused by name."""

import contextlib
import json
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from ssljax.core.errors import ArtefactError, RequestError
from ssljax.core.tree import named_leaves, unflatten
from ssljax.nn.stack import unstacked
from ssljax.serve.adapter_folder import read_adapter
from ssljax.serve.adapters import make_places

A0 = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
OURS = {"self_attn.o_proj": "attention/w_out", "mlp.gate_proj": "mlp/w_gate",
        "mlp.up_proj": "mlp/w_up", "mlp.down_proj": "mlp/w_down"}


def merged(params, folder, scale):
    """Return our params with scale B A added to theirs, transposed, part by part."""
    tensors = load_file(folder / "adapter_model.safetensors")
    leaves = {name: np.array(leaf) for name, leaf in named_leaves(unstacked(params)).items()}
    for name, a in tensors.items():
        if ".lora_A." not in name:
            continue
        _, _, _, _, layer, kind, module, *_ = name.split(".")
        change = scale * (tensors[name.replace("_A.", "_B.")].astype(np.float64) @ a).T
        if module[0] in "qkv":
            weight = leaves[f"decoder/blocks/{layer}/attention/w_qkv"]
            part = weight[:, "qkv".index(module[0])]
        else:
            part = leaves[f"decoder/blocks/{layer}/{OURS[f'{kind}.{module}']}"]
        part += change.reshape(part.shape)
    return unflatten(leaves)


@pytest.mark.parametrize(("config", "scale"), [({}, 2 / 3), ({"use_rslora": True}, 2 / 3 ** 0.5)])
def test_merged_weights_have_the_same_logits(base, write_adapter, config, scale):
    folder = write_adapter(1, **config)
    places, tokens = make_places(base.artefact), np.arange(60, 92, dtype=np.int32).reshape(2, 16)
    place = places.put(read_adapter(folder, base.artefact))
    score = jax.jit(base.artefact.functions["score"])

    def logits(params, *adapter):
        return np.asarray(score({"params": params}, {
            "tokens": tokens, "adapters": places.stacks(),
            "adapter": np.array(adapter, np.int32)})["logits"])

    here = logits(base.artefact.weights["params"], place, 0)
    plain = logits(base.artefact.weights["params"], 0, 0)
    right = logits(merged(base.params, folder, scale), 0, 0)
    assert np.abs(right[0] - plain[0]).max() > 1                     # it changes much
    assert (here[1] == plain[1]).all()                               # and only its own row
    np.testing.assert_allclose(here[0], right[0], atol=2e-5 * np.abs(right).max())


def test_places_are_given_and_given_back(base, write_adapter):
    places, read = make_places(base.artefact), lambda n: read_adapter(write_adapter(n),
                                                                      base.artefact)
    one, two, again = read(1), read(2), read(1)
    assert one.digest == again.digest != two.digest
    assert (places.put(one), places.put(two)) == (1, 2) and places.count == 2
    with pytest.raises(RequestError, match="2 places for adapters are taken") as refused:
        places.put(again)
    assert refused.value.status == 409
    places.free(1)
    few = read_adapter(write_adapter(4, modules=("self_attn.q_proj",)), base.artefact)
    before = named_leaves(places.stacks())
    assert places.put(few) == 1
    for name, stack in named_leaves(places.stacks()).items():
        stack = np.asarray(stack)
        assert not stack[0].any() and (stack[2] == np.asarray(before[name])[2]).all()
        assert stack[1].any() == ("w_qkv" in name)                   # nothing is left of the first
        if "w_qkv" in name:
            assert not stack[1, 1:].any() and not (stack[1, :, :, 3] if name.endswith("/a")
                                                   else stack[1, :, 3]).any()


@pytest.mark.parametrize(("change", "words"), [
    ({"use_dora": True}, "use_dora = True"), ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
    ({"bias": "all"}, "bias = 'all'"), ({"peft_type": "IA3"}, "peft_type = 'IA3'"),
    ({"rank_pattern": {"q_proj": 8}}, "rank_pattern"), ({"init_lora_weights": "pissa"}, "pissa"),
    ({"layers_to_transform": [1]}, "layers_to_transform"), ({"from_the_future": 1}, "the_future"),
    ({"r": 0}, "r = 0"), ({"r": True}, "r = True"), ({"lora_alpha": None}, "lora_alpha = None"),
    ({"lora_alpha": float("inf")}, "lora_alpha = inf"), ({"r": 5}, "room for rank 4"),
    ({"r": 2}, "a matrix of rank 2"), ({"target_modules": {"q_proj": 1}}, "target_modules"),
    ({"target_modules": ["q_proj", "lm_head"]}, "no lm_head of layer 0"),
    ({"base_model_name_or_path": "some/other"}, 'trained on "some/other"'),
    ({"lora_alpha": 1e300}, "too large"),
    ({"revision": "other"}, "trained on revision other"), ({"revision": 7}, "revision = 7"),
])
def test_what_is_not_offered_is_refused_by_name(base, write_adapter, change, words):
    with pytest.raises(ArtefactError) as refused:
        read_adapter(write_adapter(1, **change), base.artefact)
    assert words in str(refused.value)


@pytest.mark.parametrize(("tensors", "words"), [
    ({A0: None}, "only one of lora_A and lora_B"), ({A0: np.ones((3, 15))}, "maps 15 inputs"),
    ({A0: np.ones((2, 16))}, "a matrix of rank 3"), ({A0: np.full((3, 16), np.nan)}, "not finite"),
    ({"base_model.model.lm_head.lora_A.weight": np.ones((3, 16))}, "lm_head.lora_A.weight"),
    ({"base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector": np.ones(16)},
     "lora_magnitude_vector"),
    ({A0: None, A0.replace("_A.", "_B."): None}, "no q_proj of layer 0"),
    ({A0.replace("layers.0", "layers.7"): np.ones((3, 16)),
      A0.replace("layers.0", "layers.7").replace("_A.", "_B."): np.ones((16, 3))},
     "which this model does not have"),
    ({"h.0.attn.c_proj.lora_A.weight": np.ones((3, 16)),
      "h.0.attn.c_proj.lora_B.weight": np.ones((16, 3))}, "which this model does not have"),
])
def test_tensors_without_a_place_are_refused(base, write_adapter, tensors, words):
    with pytest.raises(ArtefactError) as refused:
        read_adapter(write_adapter(1, tensors=tensors), base.artefact)
    assert words in str(refused.value)


def test_pickles_and_damage_are_refused(base, write_adapter, tmp_path):
    folder = write_adapter(1)
    file = folder / "adapter_model.safetensors"
    data = file.read_bytes()
    file.write_bytes(data[:-9])
    with pytest.raises(ArtefactError, match="cannot be read"):
        read_adapter(folder, base.artefact)
    file.rename(folder / "adapter_model.bin")
    with pytest.raises(ArtefactError, match=r"adapter_model\.bin is pickled and is not read"):
        read_adapter(folder, base.artefact)
    with pytest.raises(ArtefactError, match="is no adapter"):
        read_adapter(tmp_path, base.artefact)
    for text in ("[", "[1]", '"x"', "[" * 100_000):
        (folder / "adapter_config.json").write_text(text)
        with pytest.raises(ArtefactError, match="is not JSON|holds no JSON object"):
            read_adapter(folder, base.artefact)


def fake(architecture, width, heads, hidden, matrices):
    """Return an artefact of one layer that is only its manifest."""
    inputs = {f"adapters/decoder/blocks/0/{name}/{which}": {
        "shape": [2, parts, *((i, 4) if which == "a" else (4, o))], "dtype": "float32"}
        for name, (parts, i, o) in matrices.items() for which in "ab"}
    cache = {"cache/0/k": {"shape": ["m", heads, width // heads, "p"], "dtype": "float32"}}
    return SimpleNamespace(path="fake", manifest={
        "name": "fake", "lineage": {"architecture": architecture},
        "functions": {"decode": {"inputs": inputs | cache}}})


def write_tensors(folder, tensors, targets):
    (folder / "adapter_config.json").write_text(json.dumps({
        "peft_type": "LORA", "r": 2, "lora_alpha": 2, "target_modules": targets}))
    save_file({f"base_model.model.{n}.weight": t for n, t in tensors.items()},
              folder / "adapter_model.safetensors")


def test_gpt2_names_and_fused_queries_keys_and_values(tmp_path):
    rng = np.random.default_rng(0)
    artefact = fake("gpt2", 8, 2, 32, {"attention/w_qkv": (3, 8, 8), "attention/w_out": (1, 8, 8),
                                       "mlp/w_up": (1, 8, 32), "mlp/w_down": (1, 32, 8)})
    sizes = {"attn.c_attn": (24, 8), "attn.c_proj": (8, 8), "mlp.c_fc": (32, 8),
             "mlp.c_proj": (8, 32)}
    pairs = {name: (rng.normal(size=(2, i)).astype(np.float32),
                    rng.normal(size=(o, 2)).astype(np.float32)) for name, (o, i) in sizes.items()}
    write_tensors(tmp_path, {f"transformer.h.0.{name}.lora_{which}": pair[which == "B"]
                             for name, pair in pairs.items() for which in "AB"},
                  ["c_attn", "c_proj", "c_fc"])
    arrays = read_adapter(tmp_path, artefact).arrays
    for name, ours in (("attn.c_attn", "attention/w_qkv"), ("attn.c_proj", "attention/w_out"),
                       ("mlp.c_fc", "mlp/w_up"), ("mlp.c_proj", "mlp/w_down")):
        a, b = (arrays[f"decoder/blocks/0/{ours}/{which}"] for which in "ab")
        ours_change = np.einsum("sir,sro->iso", a, b).reshape(len(a[0]), -1)
        np.testing.assert_allclose(ours_change, (pairs[name][1] @ pairs[name][0]).T, atol=1e-5)


def test_shared_heads_are_repeated_and_our_own_names_are_read(tmp_path):
    rng = np.random.default_rng(0)
    artefact = fake("llama", 8, 4, 32, {"attention/w_qkv": (3, 8, 8)})
    a, b = rng.normal(size=(2, 8)).astype("f4"), rng.normal(size=(4, 2)).astype("f4")
    write_tensors(tmp_path, {"model.layers.0.self_attn.k_proj.lora_A": a,
                             "model.layers.0.self_attn.k_proj.lora_B": b}, ["k_proj"])
    arrays = read_adapter(tmp_path, artefact).arrays
    found = np.einsum("sir,sro->sio", *(arrays[f"decoder/blocks/0/attention/w_qkv/{w}"]
                                        for w in "ab"))
    right = np.repeat((b @ a).reshape(2, 2, 8), 2, axis=0).reshape(8, 8).T     # 2 heads, 2 readers
    np.testing.assert_allclose(found, [0 * right, right, 0 * right], atol=1e-6)
    whole = rng.normal(size=(24, 2)).astype("f4")
    for name in ("decoder.blocks.0.attention.w_qkv", "decoder/blocks/0/attention/w_qkv"):
        write_tensors(tmp_path, {f"{name}.lora_A": a, f"{name}.lora_B": whole}, ["w_qkv"])
        arrays = read_adapter(tmp_path, artefact).arrays
        found = np.einsum("sir,sro->iso", *(arrays[f"decoder/blocks/0/attention/w_qkv/{w}"]
                                            for w in "ab"))
        np.testing.assert_allclose(found.reshape(8, 24), (whole @ a).T, atol=1e-5)


def test_random_files_give_nothing_but_an_artefact_error(base, write_adapter):
    rng, folder = np.random.default_rng(0), write_adapter(1)
    config, weights = (folder / n for n in ("adapter_config.json", "adapter_model.safetensors"))
    whole = json.loads(config.read_text())
    for _ in range(60):
        field = rng.choice(list(whole))
        value = [None, 0, -1, 1e308, "x", [], ["x"], {}, {"x": 1}, True, [[]]][rng.integers(11)]
        config.write_text(json.dumps(whole | {field: value}))
        try:
            adapter = read_adapter(folder, base.artefact)
            assert all(np.isfinite(array).all() for array in adapter.arrays.values())
        except ArtefactError:
            pass
    config.write_text(json.dumps(whole))
    data = weights.read_bytes()
    for _ in range(60):
        at = int(rng.integers(600))
        weights.write_bytes(data[:at] + bytes([rng.integers(256)]) + data[at + 1:])
        with contextlib.suppress(ArtefactError):
            read_adapter(folder, base.artefact)
    assert jax.tree.leaves(base.artefact.weights)                    # and nothing else was touched
