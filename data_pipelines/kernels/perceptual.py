"""Images as 64-bit hashes that survive scaling and compression, and which hashes are close.

dHash: is each pixel of an 8 by 9 thumbnail darker than the next
(http://www.hackerfactor.com/blog/index.php?/archives/529-Kind-of-Like-That.html). pHash: is each of
the 64 lowest frequencies of a 32 by 32 thumbnail above their median (Zauner 2010, "Implementation
and benchmarking of perceptual image hash functions"). Neighbours within a Hamming distance r agree
in one of r + 1 pieces of the hash (Norouzi, Punjani and Fleet 2012, https://arxiv.org/abs/1307.2982),
so a sort by each piece finds them all. Pieces of fewer than 4 bits would compare everything with
everything: r is at most 15.

Reads greyscale thumbnails or hashes; returns hashes, or pairs.
"""

import functools

import numpy as np

BITS = 64
BLOCK = 1 << 22                # distances computed at a time


def difference_hash(thumbnail: np.ndarray) -> int:
    """Return the dHash of a greyscale thumbnail, uint8 [8, 9]."""
    return pack(thumbnail[:, 1:] > thumbnail[:, :-1])


def frequency_hash(thumbnail: np.ndarray) -> int:
    """Return the pHash of a greyscale thumbnail, uint8 [32, 32]."""
    basis = cosine_basis(len(thumbnail))[:8]
    low = np.round(basis @ thumbnail.astype(np.float64) @ basis.T, 6)
    # The mean brightness is the first coefficient; it would shift the median of all.
    return pack(low > np.median(low.ravel()[1:]))


@functools.lru_cache(maxsize=2)
def cosine_basis(size: int) -> np.ndarray:
    """Return the rows of the discrete cosine transform (type II), float64 [size, size]."""
    places = (np.arange(size) + 0.5) * np.pi / size
    return np.cos(np.arange(size)[:, None] * places)


def pack(bits: np.ndarray) -> int:
    """Return 64 booleans as one number."""
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def distance(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the number of bits in which hashes differ, int64."""
    return np.bitwise_count(left ^ right).astype(np.int64)


def pieces(hashes: np.ndarray, within: int) -> list[np.ndarray]:
    """Return within + 1 pieces of each hash, uint64 [n] each; none where equal ones suffice."""
    edges = np.linspace(0, BITS, within + 2).round().astype(int) if within else []
    return [hashes >> np.uint64(low) & np.uint64((1 << int(high - low)) - 1)
            for low, high in zip(edges[:-1], edges[1:], strict=True)]


def bucket_pairs(hashes: np.ndarray, piece: np.ndarray, within: int) -> list[np.ndarray]:
    """Return the close pairs among hashes that agree in a piece, int64 [n, 2] a block."""
    order = np.argsort(piece, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(piece[order]) != 0)[:len(order)])
    found = []
    for bucket in np.split(order, starts[1:]) if len(order) else []:
        rows = max(1, BLOCK // len(bucket))
        for start in range(0, len(bucket), rows):
            some = bucket[start:start + rows]
            near = distance(hashes[some][:, None], hashes[bucket][None]) <= within
            left, right = np.nonzero(near)
            ahead = right > left + start
            found.append(np.stack([some[left[ahead]], bucket[right[ahead]]], axis=1))
    return found
