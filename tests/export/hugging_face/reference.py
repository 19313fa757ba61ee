"""What transformers answers for a folder; runs in an environment that has it.

    .bench-env/bin/python tests/export/hugging_face/reference.py FOLDER INPUTS.npy OUTPUTS.npy

Reads tokens i32 [B, L] or image f32 [B, H, W, C]; writes logits f32 [B, L, V], or those of the
classes f32 [B, classes]. golden.json holds some numbers of this for the models of folders.py.
"""

import sys

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageClassification


def main() -> None:
    """Load, run, write."""
    folder, inputs, outputs = sys.argv[1:]
    given = np.load(inputs)
    text = AutoConfig.from_pretrained(folder).model_type != "vit"
    kind = AutoModelForCausalLM if text else AutoModelForImageClassification
    model = kind.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        out = (model(torch.tensor(given.astype(np.int64))) if text else
               model(torch.tensor(given.transpose(0, 3, 1, 2).copy())))
    np.save(outputs, out.logits.numpy())


if __name__ == "__main__":
    main()
