"""`trim.py`: trim a model's vocabulary to the tokens of some languages, and write one plain Hugging Face folder."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bistil_ds.console import cli
from bistil_ds.console.terminal import say
from bistil_ds.errors import InputError
from bistil_ds.runs.folder import run_folder
from bistil_ds.sample.defaults import SAMPLE_LANGUAGES
from bistil_ds.text.specification import parse_by_language
from bistil_ds.trimming.options import TrimOptions
from bistil_ds.trimming.trim import rebuild_trimmed, trim_pretrained

DESCRIPTION = (
    "Trim a model's vocabulary to the tokens of some languages. Without --model and --text, on the embedded sample."
)


@dataclass
class TrimArguments:
    """Flags of the command beside those of `TrimOptions`."""

    model: str | None = field(
        default=None,
        metadata={"help": "Folder or hub id of an encoder, with any head, or of a sentence-transformers model."},
    )
    text: list[str] | None = field(
        default=None,
        metadata={
            "nargs": "+",
            "help": "LANGUAGE=TEXT for one language or more: a file or folder of text, JSONL, CSV or Parquet, "
            "compressed or not, or hf:DATASET[:CONFIG][:SPLIT][:COLUMN].",
        },
    )
    rebuild: str | None = field(
        default=None, metadata={"help": "Make the model of this folder of kept ids; --model only if it has moved."}
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command `bistil-trim` and return its exit code: 0, 2 for bad input, 130 after Ctrl-C, or 1.

    1 means that a folder was written that does not load.
    """
    return cli.run(lambda: _main(sys.argv[1:] if argv is None else argv))


def _main(argv: Sequence[str]) -> None:
    ns = cli.parse(argv, [TrimArguments, TrimOptions], DESCRIPTION)
    options = TrimOptions(**{name: getattr(ns, name) for name in TrimOptions.__dataclass_fields__})
    if ns.rebuild is not None:
        changed = [name for name, value in asdict(options).items() if value != getattr(TrimOptions(), name)]
        if given := ["text"] * bool(ns.text) + [name for name in changed if name != "output_dir"]:
            raise InputError(f"--{given[0]}: has no effect beside --rebuild {ns.rebuild}; leave it out")
        say(rebuild_trimmed(ns.rebuild, model=ns.model, output_dir=ns.output_dir))
        return
    if bool(ns.model) != bool(ns.text):
        raise InputError(f"--{'text' if ns.model else 'model'} missing: give --model and --text, or neither")
    texts: Mapping[str, str | Path] = parse_by_language(ns.text or (), "--text", "tr=tr.txt")
    if ns.model is None:
        options.check(SAMPLE_LANGUAGES)  # before the sample's model is made
        run_folder(options.output_dir, "trim", None, resumable=False)
        from bistil_ds.sample import sample_corpora, sample_mmt

        files = sample_corpora()
        texts, ns.model = {language: files[language] for language in SAMPLE_LANGUAGES}, str(sample_mmt())
    say(trim_pretrained(ns.model, texts, **asdict(options)))


if __name__ == "__main__":
    raise SystemExit(main())
