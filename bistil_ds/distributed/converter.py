"""Convert a DeepSpeed checkpoint to its universal form, in a process of its own, without running code that is in it.

    python -m bistil_ds.distributed.converter --input_folder CHECKPOINT/TAG --output_folder FOLDER

The flags are those of `deepspeed.checkpoint.ds_to_universal`.
"""

from __future__ import annotations

import multiprocessing

from bistil_ds.distributed.weights_only import weights_only


def main() -> None:
    """Convert as the flags say."""
    from deepspeed.checkpoint import ds_to_universal

    multiprocessing.set_start_method("fork")  # its workers must inherit what may be read
    with weights_only():
        ds_to_universal.main(ds_to_universal.parse_arguments())


if __name__ == "__main__":
    main()
