"""Peers' losses and their gradients of given arrays; run by losses.py in .bench-env.

python tools/bench/contestant_losses.py IN.npz OUT.npz
"""

import importlib.abc
import importlib.machinery
import math
import sys
import types

import numpy as np
import torch
from transformers.models.clip.modeling_clip import image_text_contrastive_loss
from transformers.models.siglip.modeling_siglip import SiglipModel


class Absent(types.ModuleType):
    """A module whose every name is an empty class."""

    __path__: list[str] = []

    def __getattr__(self, name):
        """Return the class."""
        return type(name, (torch.nn.Module,), {})


class Torchvision(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds torchvision: lightly imports it, no loss here uses it, and its wheels on PyPI do not
    load beside a CPU build of torch.
    """

    def find_spec(self, name, path=None, target=None):
        """Return how to import a module of torchvision."""
        return (importlib.machinery.ModuleSpec(name, self, is_package=True)
                if name.partition(".")[0] == "torchvision" else None)

    def create_module(self, spec):
        """Return the empty module."""
        return Absent(spec.name)

    def exec_module(self, module):
        """Run nothing."""


sys.meta_path.insert(0, Torchvision())

from lightly import loss as peer  # noqa: E402
from lightly.loss.lejepa_loss import SIGReg  # noqa: E402


def siglip(images, texts, scale, bias):
    """Return the loss of transformers' SigLIP between two towers that return these embeddings."""
    towers = {name: lambda x=x, **inputs: types.SimpleNamespace(pooler_output=x)
              for name, x in (("vision_model", images), ("text_model", texts))}
    model = types.SimpleNamespace(**towers, logit_scale=torch.tensor(math.log(scale)),
                                  logit_bias=torch.tensor(bias))
    forward = SiglipModel.forward
    while hasattr(forward, "__wrapped__"):          # what its decorators add reads a whole model
        forward = forward.__wrapped__
    return forward(model, return_loss=True).loss


def losses(given):
    """Return name -> (function of the first array's tensor, that array's name)."""
    b = {k: torch.tensor(v) for k, v in given.items()}
    dino = peer.DINOLoss(output_dim=b["scores1"].shape[1])
    ibot = peer.IBOTPatchLoss(output_dim=b["scores1"].shape[1])
    sigreg = SIGReg(num_vectors=b["directions"].shape[1])
    sigreg._generate_unit_vectors = lambda *about: b["directions"]
    queue = peer.NTXentLoss(0.2, memory_bank_size=tuple(b["queue"].shape))
    queue.memory_bank.bank = b["queue"].clone()
    queue.memory_bank.bank_ptr = torch.zeros(1, dtype=torch.long)
    unit = torch.nn.functional.normalize
    hidden = torch.ones((1, 1, len(b["scores1"])), dtype=torch.bool)
    return {
        "simclr": ("z1", lambda z: peer.NTXentLoss(0.2)(z, b["z2"])),
        "moco_v2": ("z1", lambda z: queue(z, b["z2"])),
        "clip": ("z1", lambda z: image_text_contrastive_loss(10 * unit(z) @ unit(b["z2"]).T)),
        "siglip": ("z1", lambda z: siglip(z, b["z2"], 10.0, -10.0)),
        "simsiam": ("z1", lambda z: peer.NegativeCosineSimilarity()(z, b["z2"])),
        "barlow_twins": ("z1", lambda z: peer.BarlowTwinsLoss(0.0051)(z, b["z2"])),
        "vicreg": ("z1", lambda z: peer.VICRegLoss()(z, b["z2"])),
        "swav": ("scores1", lambda s: peer.SwaVLoss()([s, b["scores2"]], [b["scores3"]])),
        "dino": ("scores1", lambda s: dino([b["scores2"], b["scores3"]], [s, b["scores4"]],
                                           teacher_temp=0.05)),
        "ibot": ("scores1", lambda s: ibot(b["scores2"], s, hidden, teacher_temp=0.05)),
        "koleo": ("z1", lambda z: peer.KoLeoLoss()(z)),
        "sigreg": ("z1", sigreg),
    }


def main():
    """Read arrays, write losses and gradients."""
    torch.set_default_dtype(torch.float64)
    given = dict(np.load(sys.argv[1]))
    found = {}
    for name, (array, function) in losses(given).items():
        x = torch.tensor(given[array], requires_grad=True)
        value = function(x)
        value.sum().backward()
        found[name], found[f"{name}/gradient"] = float(value.detach().sum()), x.grad.numpy()
    np.savez(sys.argv[2], **found)


if __name__ == "__main__":
    main()
