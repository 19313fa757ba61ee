"""KServe v2's view of a model: which tensors it reads and gives, and one inference.

A model of text reads "text" (BYTES [n]) or "tokens" (INT32 [n, L], ids without the start token); a
model of images reads "image" as bytes of files (BYTES [n]), as pixels (UINT8 [n, h, w, C]) or as
its network does (FP32). What it gives is asked for by name: embedding, sequence, logits,
probabilities, label.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any

import numpy as np

from ssljax.core.errors import RequestError, nearest
from ssljax.serve.encoder import fixed_shape
from ssljax.serve.inputs import MOST_INPUTS, media_of, prepared, read_text, tokens_of
from ssljax.serve.labels import labels_of, softmax
from ssljax.serve.served import Call, Served
from ssljax.serve.tensors import Tensor, objects_of

# Output -> (the function that it is made of, its datatype).
OUTPUTS: Mapping[str, tuple[str, str]] = {
    "embedding": ("embed", "FP32"), "sequence": ("sequence", "FP32"),
    "logits": ("classify", "FP32"), "probabilities": ("classify", "FP32"),
    "label": ("classify", "BYTES"),
}
DEFAULT = {"embed": ("embedding",), "classify": ("probabilities", "label")}


def describe(served: Served, versions: Sequence[str]) -> dict[str, Any]:
    """Return the metadata of a model."""
    return {"name": served.name, "versions": list(versions), "platform": "ssljax_stablehlo",
            "inputs": inputs_of(served), "outputs": outputs_of(served)}


def inputs_of(served: Served) -> list[dict[str, Any]]:
    """Return the tensors that a model reads; one of them is enough."""
    media = media_of(served.artefact)
    if not media:
        return [{"name": "text", "datatype": "BYTES", "shape": [-1]},
                {"name": "tokens", "datatype": "INT32", "shape": [-1, -1]}]
    return [{"name": name, "datatype": "FP32",
             "shape": [-1, *fixed_shape(served.artefact, function_of(served))]} for name in media]


def outputs_of(served: Served) -> list[dict[str, Any]]:
    """Return the tensors that a model can be asked for."""
    functions = served.encoding.functions if served.encoding else ()
    return [{"name": name, "datatype": datatype, "shape": shape_of(served, name, function)}
            for name, (function, datatype) in OUTPUTS.items() if function in functions]


def shape_of(served: Served, name: str, function: str) -> list[int]:
    """Return the shape of an output; -1 for sizes that vary."""
    if name == "label":
        return [-1]
    [spec] = served.artefact.manifest["functions"][function]["outputs"].values()
    return [n if isinstance(n, int) else -1 for n in spec["shape"]]


def function_of(served: Served) -> str:
    """Return the first function of a model that encodes.

    Raises:
        RequestError: it does not.
    """
    if served.encoding is None:
        raise RequestError(f'Model "{served.name}" only generates; see its /generate.')
    return served.encoding.functions[0]


async def infer(served: Served, tensors: Sequence[Tensor], wanted: Sequence[str], *, call: Call,
                threads: Executor) -> list[Tensor]:
    """Return the outputs `wanted`, or what the model gives by default.

    Args:
        served: the model.
        tensors: inputs.
        wanted: names of outputs; none for the default.
        call: who asks; is told of inputs and tokens.
        threads: decode.

    Raises:
        RequestError: a tensor is unknown, or does not fit.
    """
    function_of(served)
    functions = served.encoding.functions
    known = [name for name, (function, _) in OUTPUTS.items() if function in functions]
    for name in wanted:
        if name not in known:
            raise RequestError(f'Model "{served.name}" has no output "{name[:80]}"; '
                               f"{nearest(name, known)}")
    names = list(wanted) or [n for f in functions for n in DEFAULT.get(f, ())]
    examples = await asyncio.get_running_loop().run_in_executor(threads, examples_of, served,
                                                               tensors)
    answers = {function: await served.encoding.encode(function, examples, caller=call.caller.id)
               for function in dict.fromkeys(OUTPUTS[name][0] for name in names)}
    call.note(inputs=len(examples), prompt_tokens=tokens_of(served.artefact, examples))
    return [Tensor(name, MAKE[name](served, answers[OUTPUTS[name][0]])) for name in names]


def examples_of(served: Served, tensors: Sequence[Tensor]) -> list[np.ndarray]:
    """Return the examples in a request's tensors.

    Raises:
        RequestError: there is not exactly one tensor, or it is not of this model.
    """
    media = media_of(served.artefact)
    known = list(media) or ["text", "tokens"]
    if len(tensors) != 1 or tensors[0].name not in known:
        found = ", ".join(tensor.name[:40] for tensor in tensors) or "none"
        raise RequestError(f"The inputs are {found}; expected one of {', '.join(known)}.",
                           param="inputs")
    [tensor] = tensors
    if not tensor.data.ndim or not 1 <= len(tensor.data) <= MOST_INPUTS:
        raise RequestError(f'Tensor "{tensor.name}" has shape {list(tensor.data.shape)}; expected '
                           f"1 to {MOST_INPUTS} rows.", param="inputs")
    return medium_rows(tensor, media[tensor.name]) if media else text_rows(served, tensor)


def text_rows(served: Served, tensor: Tensor) -> list[np.ndarray]:
    """Return the ids of each text of "text" or "tokens"."""
    tokenizer, data = served.artefact.tokenizer, tensor.data
    if tensor.name == "tokens":
        if data.ndim != 2 or data.dtype.kind not in "iu":
            raise RequestError(f'Tensor "tokens" is {data.dtype} {list(data.shape)}; expected '
                               "whole numbers [n, L].", param="inputs")
        return [read_text(row.tolist(), tokenizer) for row in data]
    if data.dtype != object:
        raise RequestError(f'Tensor "text" is {data.dtype}; expected BYTES.', param="inputs")
    return [read_text(decoded(item), tokenizer) for item in data.ravel()]


def decoded(item: bytes) -> str:
    """Return the text of one element of BYTES."""
    try:
        return item.decode()
    except UnicodeDecodeError as err:
        raise RequestError(f"A text is not UTF-8 ({err}).", param="inputs") from err


def medium_rows(tensor: Tensor, operations: Sequence[Mapping[str, Any]]) -> list[np.ndarray]:
    """Return each row prepared, unless it comes as the network reads it."""
    data = tensor.data
    if data.dtype == object:
        return [prepared(item, operations) for item in data.ravel()]
    if data.dtype == np.uint8:
        return [prepared(row, operations) for row in data]
    if data.dtype != np.float32:
        raise RequestError(f'Tensor "{tensor.name}" is {data.dtype}; expected BYTES (files), UINT8 '
                           "(pixels) or FP32 (as the network reads it).", param="inputs")
    return list(data)


def stacked_rows(served: Served, rows: list[np.ndarray]) -> np.ndarray:
    """Return rows as one array.

    Raises:
        RequestError: they are of unequal length, as those of a sequence may be.
    """
    if len({row.shape for row in rows}) > 1:
        raise RequestError("The rows of the output have unequal lengths; ask for one input at a "
                           "time.", param="outputs")
    return np.stack(rows)


def probabilities(served: Served, logits: list[np.ndarray]) -> np.ndarray:
    """Return probabilities f32 [n, K]."""
    return np.stack([softmax(row) for row in logits]).astype(np.float32)


def best_labels(served: Served, logits: list[np.ndarray]) -> np.ndarray:
    """Return the name of each row's most probable class, BYTES [n]."""
    return objects_of([labels_of(served.artefact, len(row))[int(np.argmax(row))].encode()
                       for row in logits])


MAKE: Mapping[str, Callable[[Served, list[np.ndarray]], np.ndarray]] = {
    "embedding": stacked_rows, "sequence": stacked_rows, "logits": stacked_rows,
    "probabilities": probabilities, "label": best_labels,
}
