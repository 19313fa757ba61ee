r"""Fit the palette of image GPT to images: k-means of their pixels, as a JSON file.

    python tools/fit_palette.py --data DIR --colours 512 --out palette.json
    ssljax pretrain --config experiments/vision/image_gpt.py --config.data.path=DIR \
        --config.pretext.palette=palette.json --config.model.palette=palette.json --workdir RUN

DIR is what sources.images reads: a folder, zip or tar of images. Lloyd's algorithm on pixels that
are drawn from images at the network's size (--size), from colours that are drawn the same way; a
colour that no pixel is nearest to moves to the pixel that is farthest from its own. Minutes for 512
colours of 200,000 pixels on one core; the error of the uniform palette with as many levels stands
beside the result.
"""

import argparse
import pathlib

import numpy as np

from ssljax.core.files import write_json
from ssljax.core.rng import host_generator
from ssljax.core.source import Source
from ssljax.pretext.image import image_format
from ssljax.runs.build import cache_folder
from ssljax.sources import images

BLOCK = 8192            # pixels whose distances to all colours are held at once


def draw_pixels(source: Source, *, size: int, count: int, seed: int) -> np.ndarray:
    """Return `count` pixels float32 [count, 3] in [0, 1], as many from each of 2,000 images."""
    form = image_format(size, size, 3, (0.0,), (1.0,))
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(source))[:2000]
    each = -(-count // len(chosen))
    pixels = []
    for record in source.read(chosen):
        image = form.example(record, host_generator(seed, "palette", 0, record["id"]))["image"]
        pixels.append(rng.permutation(image.reshape(-1, 3))[:each])
    return np.concatenate(pixels)[:count].astype(np.float32) / 255


def assign(pixels: np.ndarray, colours: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the nearest colour of each pixel, int64 [n], and its squared distance [n]."""
    nearest, distance = [], []
    for start in range(0, len(pixels), BLOCK):
        block = pixels[start:start + BLOCK]
        square = (block**2).sum(1)[:, None] - 2 * block @ colours.T + (colours**2).sum(1)
        nearest.append(square.argmin(1))
        distance.append(square.min(1).clip(0))
    return np.concatenate(nearest), np.concatenate(distance)


def fit(pixels: np.ndarray, count: int, *, rounds: int, seed: int) -> np.ndarray:
    """Return `count` colours float32 [count, 3] by `rounds` of Lloyd's algorithm."""
    distinct = np.unique(pixels, axis=0)
    if len(distinct) < count:
        raise SystemExit(f"{len(distinct)} distinct colours in the pixels; ask for fewer than "
                         f"{count} colours or draw more pixels.")
    colours = np.random.default_rng(seed).permutation(distinct)[:count]
    for _ in range(rounds):
        nearest, distance = assign(pixels, colours)
        sizes = np.bincount(nearest, minlength=count)
        sums = np.stack([np.bincount(nearest, pixels[:, c], count) for c in range(3)], axis=1)
        colours = (sums / np.maximum(sizes, 1)[:, None]).astype(np.float32)
        empty = np.flatnonzero(sizes == 0)
        colours[empty] = pixels[np.argsort(-distance)[:len(empty)]]
    return colours


def main() -> None:
    """Fit and write a palette; print its error beside the uniform one's."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", required=True, type=pathlib.Path)
    parser.add_argument("--colours", type=int, default=512)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--pixels", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    pixels = draw_pixels(images.make(path=args.data, cache=cache_folder({})), size=args.size,
                         count=args.pixels, seed=args.seed)
    colours = fit(pixels, args.colours, rounds=args.rounds, seed=args.seed)
    write_json(args.out, {"colours": np.round(colours, 5).tolist()})
    levels = round(args.colours ** (1 / 3))
    uniform = np.round(pixels * (levels - 1)) / (levels - 1)
    error = np.sqrt(assign(pixels, colours)[1].mean() / 3)
    print(f"{args.out}: {args.colours} colours, root mean squared error {error:.4f} of [0, 1]; "
          f"uniform with {levels**3}: {np.sqrt(((uniform - pixels) ** 2).mean()):.4f}")


if __name__ == "__main__":
    main()
