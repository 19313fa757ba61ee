"""Export target "hf": a folder that Hugging Face's transformers reads.

    AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)

gives the same logits. Written are config.json, safetensors, the tokenizer and the model card, for
networks that are Llama's or GPT-2's to the number; any other is refused by what makes it so.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ssljax.core.errors import ArtefactError
from ssljax.core.tree import named_leaves
from ssljax.core.types import PyTree
from ssljax.export.artefact import Contents
from ssljax.export.foreign import card_without_use, write_foreign
from ssljax.export.hugging_face import gpt2, llama
from ssljax.export.hugging_face.architecture import Spec
from ssljax.export.hugging_face.rules import Rule, to_tensors
from ssljax.export.weights import write_weights
from ssljax.nn.stack import stacked
from ssljax.tokenizers.bpe import END_OF_TEXT

# Options of models/gpt.py that change what it computes, with the values of Llama.
PLAIN = {"positions": "rope", "norm": "rms", "mlp": "swiglu"}
NEITHER = {"experts": 0, "mup_base_width": 0}
USE = """\
    from transformers import AutoModelForCausalLM, AutoTokenizer
    model, tokenizer = (kind.from_pretrained(".") for kind in (AutoModelForCausalLM, AutoTokenizer))

Begin every prompt with the end-of-text token, as in training: `tokenizer.bos_token + prompt`.
"""


def write(output: Path, contents: Contents) -> dict[str, Any]:
    """Write the folder; return what `write_foreign` does.

    Raises:
        ArtefactError: transformers has no such network, or `output` is something else.
    """
    contents = contents._replace(weights={"params": stacked(contents.weights["params"])})
    about, spec = contents.about, json.loads(contents.files["config.json"])["model"]
    config, rules, prefix = mapping(spec, contents)
    check_plain(rules, contents.weights["params"])
    tensors = to_tensors(rules, contents.weights["params"])
    ends = {"bos_token_id": about["end_of_text"], "eos_token_id": about["end_of_text"]}
    documents = {
        "config.json": {**config, **ends, "dtype": "float32"}, "generation_config.json": ends,
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": END_OF_TEXT,
            "eos_token": END_OF_TEXT, "model_max_length": about["max_context"],
            "clean_up_tokenization_spaces": False}}

    def fill(folder: Path) -> Mapping[str, Any]:
        leaves = {name if name == "lm_head.weight" else prefix + name: t
                  for name, t in tensors.items()}
        write_weights(folder, leaves, metadata={"format": "pt"})
        for name, document in documents.items():
            (folder / name).write_text(json.dumps(document, indent=2) + "\n")
        (folder / "tokenizer.json").write_bytes(contents.files["tokenizer.json"])
        (folder / "README.md").write_text(card_without_use(contents.files["README.md"], USE))
        return {"architecture": config["architectures"][0]}

    return write_foreign(output, about, "hf", fill)


def mapping(spec: Spec, contents: Contents) -> tuple[dict[str, Any], Sequence[Rule], str]:
    """Return their config.json, which weights are which, and the prefix of names.

    Raises:
        ArtefactError: no network of theirs computes the same.
    """
    if spec["name"] != "gpt":
        raise ArtefactError(f'--target hf writes language models of models/gpt.py; "{spec["name"]}"'
                            " is none. Export it as it is, or with --target saved_model.")
    for option, value in NEITHER.items():
        if spec.get(option, value) != value:
            raise ArtefactError(f"--target hf: no network of transformers computes {option} = "
                                f"{spec[option]} as ours does; export it as it is.")
    chosen = {option: spec.get(option, value) for option, value in PLAIN.items()}
    if chosen == PLAIN:
        mlp_dim = contents.weights["params"]["decoder"]["blocks"]["mlp"]["w_up"].shape[-1]
        config = llama.config_of(spec, contents.about["max_context"], mlp_dim)
        return config, llama.rules(spec), llama.ARCHITECTURE.prefix
    if is_gpt2(spec):
        return gpt2.config_of(spec), gpt2.RULES, gpt2.ARCHITECTURE.prefix
    raise ArtefactError(f"--target hf: ours with {chosen}, attention_bias = "
                        f"{spec.get('attention_bias', False)} and tied = {spec.get('tied', True)} "
                        f"is neither Llama ({PLAIN}) nor GPT-2 ({gpt2.OPTIONS}, tied); export it "
                        "as it is.")


def is_gpt2(spec: Spec) -> bool:
    """Say whether a spec of models/gpt.py is GPT-2's network."""
    return spec.get("tied", True) and all(spec.get(o) == v for o, v in gpt2.OPTIONS.items())


def check_plain(rules: Sequence[Rule], params: PyTree) -> None:
    """Raise ArtefactError where params are not the arrays of the network, as when quantised."""
    missing = {rule.ours for rule in rules} - named_leaves(params).keys()
    if missing:
        raise ArtefactError(f"--target hf writes weights as they were trained, and "
                            f"{min(missing)} is quantised or absent; export without quantisation.")
