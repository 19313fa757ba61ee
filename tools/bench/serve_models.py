"""Write the models that every contestant of serve.py reads: random weights, one time for all.

    .bench-env-serve/bin/python tools/bench/serve_models.py FOLDER [--quick]

Writes FOLDER/gpt (GPT-2 small in Hugging Face's form), FOLDER/vit (ViT-S/16), FOLDER/vit.onnx (the
same weights), FOLDER/trivial-gpt and FOLDER/trivial-vit, whose answers cost nothing, so that what a
request costs is the server's. Does nothing where FOLDER/done says that the same is there.
"""

import argparse
import json
import pathlib

import torch
from transformers import GPT2Config, GPT2LMHeadModel, ViTConfig, ViTModel

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-"
END_OF_TEXT = "<|endoftext|>"
# Widths of heads are 64 throughout: vLLM's attention on CPUs knows few others.
FULL = {"gpt": dict(vocab_size=50257, n_positions=1024, n_embd=768, n_layer=12, n_head=12),
        "vit": dict(hidden_size=384, num_hidden_layers=12, num_attention_heads=6,
                    intermediate_size=1536, image_size=224, patch_size=16)}
QUICK = {"gpt": dict(vocab_size=4353, n_positions=256, n_embd=128, n_layer=2, n_head=2),
         "vit": dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=2,
                     intermediate_size=128, image_size=64, patch_size=16)}
TRIVIAL = {"gpt": dict(vocab_size=257, n_positions=64, n_embd=8, n_layer=1, n_head=1),
           "vit": dict(hidden_size=8, num_hidden_layers=1, num_attention_heads=1,
                       intermediate_size=8, image_size=16, patch_size=16)}


def alphabet() -> list[str]:
    """Return GPT-2's printable stand-in of every byte, in their order."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = [b for b in range(256) if b not in printable]
    return [chr(b if b in printable else 256 + others.index(b)) for b in range(256)]


def tokenizer(vocab_size: int) -> dict:
    """Return a tokenizer.json of bytes, then pairs and triples of letters, then end of text.

    Every id but those of half the bytes is plain ASCII, so that any answer can be shown token by
    token, whoever shows it.
    """
    pairs = [(a, b) for a in LETTERS for b in LETTERS]
    triples = ((a + b, c) for a, b in pairs for c in LETTERS)
    wanted = vocab_size - 257
    merges = [*pairs[:wanted], *(next(triples) for _ in range(wanted - len(pairs)))]
    vocab = {token: i for i, token in enumerate([*alphabet(), *("".join(m) for m in merges)])}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
             "use_regex": False}
    end = {"id": vocab_size - 1, "content": END_OF_TEXT, "single_word": False, "lstrip": False,
           "rstrip": False, "normalized": False, "special": True}
    model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
             "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
             "ignore_merges": False, "vocab": vocab, "merges": [list(m) for m in merges]}
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [end],
            "normalizer": None, "pre_tokenizer": level, "post_processor": None, "decoder": level,
            "model": model}


def write_gpt(folder: pathlib.Path, shape: dict) -> None:
    """Write a language model; weights are large enough that answers vary."""
    end = shape["vocab_size"] - 1
    config = GPT2Config(**shape, bos_token_id=end, eos_token_id=end, pad_token_id=end)
    model = GPT2LMHeadModel(config)
    for name, weight in model.named_parameters():
        if name.endswith(("wte.weight", "wpe.weight")):
            weight.data *= 5
    model.save_pretrained(folder)
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer(shape["vocab_size"])))
    (folder / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": END_OF_TEXT,
        "eos_token": END_OF_TEXT, "pad_token": END_OF_TEXT,
        "model_max_length": shape["n_positions"]}))


def write_vit(folder: pathlib.Path, shape: dict) -> torch.nn.Module:
    """Write an image encoder and return it."""
    model = ViTModel(ViTConfig(**shape), add_pooling_layer=False).eval()
    model.save_pretrained(folder)
    side = shape["image_size"]
    (folder / "preprocessor_config.json").write_text(json.dumps({
        "do_resize": True, "do_rescale": True, "do_normalize": True, "resample": 2,
        "rescale_factor": 1 / 255, "image_mean": [0.5] * 3, "image_std": [0.5] * 3,
        "size": {"height": side, "width": side}}))
    return model


class Pooled(torch.nn.Module):
    """The class token after the last norm: what an embedding is."""

    def __init__(self, model: torch.nn.Module):
        """Hold the encoder."""
        super().__init__()
        self.model = model

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Map [B, C, H, W] to [B, D]."""
        return self.model(image).last_hidden_state[:, 0]


def write_onnx(file: pathlib.Path, model: torch.nn.Module, side: int) -> None:
    """Write an encoder for onnxruntime, with any number of rows."""
    torch.onnx.export(Pooled(model).eval(), (torch.zeros(2, 3, side, side),), str(file),
                      input_names=["image"], output_names=["pooled"], dynamo=True,
                      dynamic_shapes={"image": {0: torch.export.Dim("rows", min=1, max=64)}})


def main() -> None:
    """Write what is not there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    told = "quick" if args.quick else "full"
    done = args.folder / "done"
    if done.exists() and done.read_text() == told:
        return
    args.folder.mkdir(parents=True, exist_ok=True)
    done.unlink(missing_ok=True)
    torch.manual_seed(0)
    shapes = QUICK if args.quick else FULL
    write_gpt(args.folder / "gpt", shapes["gpt"])
    encoder = write_vit(args.folder / "vit", shapes["vit"])
    write_onnx(args.folder / "vit.onnx", encoder, shapes["vit"]["image_size"])
    write_gpt(args.folder / "trivial-gpt", TRIVIAL["gpt"])
    write_vit(args.folder / "trivial-vit", TRIVIAL["vit"])
    done.write_text(told)


if __name__ == "__main__":
    main()
