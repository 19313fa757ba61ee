"""ssljax import: a model in Hugging Face's form to an artefact that serves."""  # noqa: N999

import argparse

EXAMPLES = """\
  ssljax import ./gpt2 --output artefacts/gpt2          a folder with config.json and safetensors
  ssljax import openai-community/gpt2 --output artefacts/gpt2     a name of the Hugging Face hub
  ssljax serve artefacts/gpt2
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("model", metavar="MODEL",
                        help="a folder as save_pretrained writes it, or owner/name[@revision] of "
                             "the hub; GPT-2, Llama and ViT")
    parser.add_argument("--output", required=True, metavar="DIR",
                        help="the artefact's folder; an older artefact there is replaced")
    parser.add_argument("--name", help="what the model is called; default: that of MODEL")
    parser.add_argument("--adapters", type=int, default=0, metavar="N",
                        help="of language models: leave room for so many low-rank adapters at "
                             "once, which a server loads (serve --adapter)")
    parser.add_argument("--adapter-rank", type=int, default=0, metavar="R",
                        help="rank of those adapters at most")


def run(args: argparse.Namespace) -> None:
    """Import the model and say what was written."""
    from ssljax.core.wording import count, size
    from ssljax.export.adapters import room_of
    from ssljax.runs.import_model import import_model

    done = import_model(args.model, args.output, name=args.name,
                        adapters=room_of(args.adapters, args.adapter_rank))
    print(f'{done["architecture"]} from {args.model} as {done["kind"]} "{done["name"]}": '
          f"{count(done['parameters'])} parameters, {size(done['bytes'])} in {done['path']}")
    print(f"Next: ssljax serve {done['path']}")
