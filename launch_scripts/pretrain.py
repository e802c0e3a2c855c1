"""Pretrain a small MMT: `python launch_scripts/pretrain.py`, or with `--input_folder FOLDER` on your own text."""

from bistil_ds.commands.pretrain import main

if __name__ == "__main__":
    raise SystemExit(main())
