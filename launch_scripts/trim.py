"""Trim a model: `python launch_scripts/trim.py --model MODEL --text tr=tr.txt --output_dir MODEL-tr`, or no flags."""

from bistil_ds.commands.trim import main

if __name__ == "__main__":
    raise SystemExit(main())
