"""README.md of an artefact: what the model is, what it learnt from, how well, and how to run it.

The sections of Mitchell et al. 2019, https://arxiv.org/abs/1810.03993, filled from what the run
itself recorded; what was not recorded is said to be unknown, never guessed.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

UNKNOWN = "unknown"

DECODER_LIMITS = """\
- It continues text in the manner of its training data, true or false, and can reproduce passages
  of it. It was not tuned to follow instructions or to refuse anything.
- Every context begins with the end-of-text token, as in training; positions beyond
  {context} tokens were never trained and are refused.
- Figures of another kind of text than the training data will be worse."""

ENCODER_LIMITS = """\
- It returns one vector an image; what the vector is good for was judged only as listed above.
- It expects images exactly as prepared in training: see `preprocessing` in manifest.json."""

DECODER_USE = """\
    ssljax generate . --prompt "..."          in the shell
    ssljax serve .                            over HTTP, in the shape of OpenAI's completions

Without ssljax, with jax, flatbuffers and safetensors only:
"""

CODE = """\
    import pathlib, numpy, safetensors.numpy
    from jax import export
    exported = export.deserialize(bytearray(pathlib.Path("{file}").read_bytes()))
    weights = {{}}
    for file in sorted(pathlib.Path(".").glob("model*.safetensors")):
        for name, leaf in safetensors.numpy.load_file(file).items():
            *parents, last = name.split("/")
            node = weights
            for parent in parents:
                node = node.setdefault(parent, {{}})
            node[last] = leaf
    outputs = exported.call(weights, {{"{name}": {value}}})

Shapes, types and the constraints on symbolic sizes of every function are in manifest.json."""


class CardFacts(NamedTuple):
    """What a card is written from; plain data.

    about:      the manifest's own part: kind, name, lineage, max_context, ...
    parameters: number of weights
    config:     the run's resolved config
    data:       the dataset's manifest, or None
    evaluation: of this step, or None: "evals" {label: {figure: {"value", "low", "high"}}},
                "against" {label: {baseline: {"percent"}}}, "baselines" {label: {baseline: figure}}
    """

    about: Mapping[str, Any]
    parameters: int
    config: Mapping[str, Any]
    data: Mapping[str, Any] | None
    evaluation: Mapping[str, Any] | None


def model_card(facts: CardFacts) -> str:
    """Return the card as Markdown."""
    sections = (("Training data", data_lines(facts.data)), ("Training", training_lines(facts)),
                ("Evaluation", evaluation_lines(facts.evaluation)),
                *derived(facts.about),
                ("Limits", limits_lines(facts.about)), ("How to run it", use_lines(facts.about)))
    parts = [f"# {facts.about['name']}", "\n".join(what_lines(facts))]
    for title, lines in sections:
        parts += [f"## {title}", "\n".join(lines)]
    return "\n\n".join(parts) + "\n"


def what_lines(facts: CardFacts) -> Iterable[str]:
    """Yield what the model is."""
    about, model = facts.about, facts.config["model"]
    yield (f"A {about['kind']} of {facts.parameters:,} parameters, network `{model['name']}`, "
           f"trained with the objective `{facts.config['objective']['name']}`.")
    yield ""
    settings = {key: value for key, value in model.items() if key != "name"}
    if "max_context" in about:
        settings["context, tokens"] = about["max_context"]
    yield from table(("setting", "value"), ((key, str(value)) for key, value in settings.items()))


def data_lines(data: Mapping[str, Any] | None) -> Iterable[str]:
    """Yield what the model learnt from, with licences and what was dropped."""
    if data is None:
        yield "The run's dataset has no manifest (any more): source and licences are unknown."
        return
    yield (f"Dataset `{data['name']}`, version `{data['version']}`; "
           f"{data['kept']:,} of {data['read']:,} documents were kept.")
    yield ""
    yield from table(("split", "documents", "tokens", "bytes of text"), (
        (name, *(f"{split[key]:,}" for key in ("documents", "tokens", "text_bytes")))
        for name, split in data["splits"].items()))
    yield ""
    yield from table(("licence of the sources", "documents"), (
        (name, f"{count:,}") for name, count in data["licences"].items()))
    if data["dropped"]:
        yield ""
        yield from table(("dropped because", "documents"), (
            (name, f"{count:,}") for name, count in data["dropped"].items()))


def training_lines(facts: CardFacts) -> Iterable[str]:
    """Yield how the model was trained, and what to reproduce it from."""
    config, lineage = facts.config, facts.about["lineage"]
    yield (f"Step {lineage['step']:,} of run `{lineage['run']}`; the whole configuration is in "
           f"config.json (sha256 `{lineage['config_sha256'][:12]}`).")
    yield ""
    rows = {"steps planned": config["total_steps"], "batch size, rows": config["batch_size"],
            "optimizer": config["optim"]["name"], "peak learning rate": config["optim"]["lr"],
            "schedule": config["schedule"]["name"], "compute type": config["compute_dtype"],
            "seed": config["seed"]}
    yield from table(("setting", "value"), ((key, str(value)) for key, value in rows.items()))
    yield ""
    yield "Written by " + ", ".join(f"{name} {version}" for name, version
                                    in lineage["versions"].items()) + "."


def evaluation_lines(evaluation: Mapping[str, Any] | None) -> Iterable[str]:
    """Yield the figures of this step, with intervals and baselines."""
    if evaluation is None:
        yield "This step was not evaluated before export (`ssljax evaluate RUN` does it)."
        return
    yield from table(("on", "figure", "value", "95 % interval"), (
        (label, name.replace("_", " "), number(f["value"]), interval(f))
        for label, judged in evaluation["evals"].items() for name, f in judged.items()))
    against = [(label, name.replace("_", " "),
                number(evaluation["baselines"][label][name]["value"]), f"{saved['percent']:+.1f} %")
               for label, bases in evaluation["against"].items() for name, saved in bases.items()]
    if against:
        yield ""
        yield from table(("on", "baseline", "its bits per byte", "the model saves"), against)


def derived(about: Mapping[str, Any]) -> Iterable[tuple[str, Iterable[str]]]:
    """Yield the sections that only some artefacts have: eight-bit weights, a classifier."""
    if "quantisation" in about:
        yield "Eight-bit weights", rounding_lines(about["quantisation"])
    if head := about.get("functions", {}).get("classify"):
        yield "Classifier", classifier_lines(head)


def rounding_lines(facts: Mapping[str, Any]) -> Iterable[str]:
    """Yield what rounding the weights changed."""
    yield (f"{facts['parameters']:,} weights are stored as {facts['kind']} with a scale a channel "
           f"and made float32 inside the programs: {facts['bytes']:,} bytes instead of "
           f"{facts['bytes_before']:,}. The figures under Evaluation are of the full weights.")
    yield ""
    yield from table(("on made-up inputs", "value"), (
        (name.replace("_", " "), number(value)) for name, value in facts["made_up"].items()))
    if "held_out" in facts:
        yield ""
        yield from table(("on", "figure", "full weights", "rounded"), (
            (label, name.replace("_", " "), number(pair["full"]), number(pair["rounded"]))
            for label, figures in facts["held_out"].items() for name, pair in figures.items()))


def classifier_lines(facts: Mapping[str, Any]) -> Iterable[str]:
    """Yield what the classifier was fitted to, and how well."""
    yield (f"`classify` is multinomial logistic regression on the frozen features, fitted to "
           f"{facts['labelled']:,} labelled examples of {len(facts['labels'])} classes, as the "
           f"evaluator `{facts['evaluator']}` does. Accuracy on its test images: "
           f"{number(facts['accuracy']['value'])} ({interval(facts['accuracy'])}).")


def limits_lines(about: Mapping[str, Any]) -> Iterable[str]:
    """Yield what the model must not be trusted with."""
    if about["kind"] == "decoder":
        yield DECODER_LIMITS.format(context=f"{about['max_context']:,}")
    else:
        yield ENCODER_LIMITS


def use_lines(about: Mapping[str, Any]) -> Iterable[str]:
    """Yield how to run the artefact."""
    if about["kind"] == "decoder":
        yield DECODER_USE
        yield CODE.format(file="score.jaxexp", name="tokens",
                          value=f"numpy.array([[{about['end_of_text']}]], numpy.int32)")
    else:
        yield "With jax, flatbuffers and safetensors only:\n"
        size = (1, *about["image"]["shape"])
        yield CODE.format(file="embed.jaxexp", name="image",
                          value=f"numpy.zeros({size}, numpy.float32)")


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterable[str]:
    """Yield a Markdown table; the first column is text, the others are figures."""
    yield f"| {' | '.join(header)} |"
    yield f"| --- |{' ---: |' * (len(header) - 1)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', '/') for cell in row)} |"


def number(value: float | None) -> str:
    """Return a figure with four digits that matter, counts in full."""
    if value is None:
        return UNKNOWN
    return f"{value:,.0f}" if value == int(value) and abs(value) >= 1000 else f"{value:.4g}"


def interval(figure: Mapping[str, float | None]) -> str:
    """Return a figure's interval; nothing where it is exact."""
    low, high = figure["low"], figure["high"]
    return "" if low == high or low is None else f"{number(low)} to {number(high)}"
