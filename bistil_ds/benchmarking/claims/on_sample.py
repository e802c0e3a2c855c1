"""Lay out the package's sample data as the settings in `sample.yaml` name them."""

from __future__ import annotations

from pathlib import Path

from bistil_ds.sample import sample_corpora, sample_task_file

SAMPLE = Path(__file__).with_name("sample.yaml")


def link_sample(folder: Path) -> Path:
    """Link the sample's corpora and task files into `folder`, under the names of `sample.yaml`; return `folder`."""
    links = {folder / "text" / f"{language}.txt": path for language, path in sample_corpora().items()}
    for language, split in (("en", "train"), ("en", "dev"), ("en", "test"), ("tr", "test"), ("sw", "test")):
        path = sample_task_file("ner", language, split)
        links[folder / path.name] = path
    for link, path in links.items():
        link.parent.mkdir(parents=True, exist_ok=True)
        if link.resolve() != path.resolve():  # there is no link yet, or it points to another version's sample
            link.unlink(missing_ok=True)
            link.symlink_to(path.resolve())
    return folder
