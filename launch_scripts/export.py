"""Export a model: `python launch_scripts/export.py --model runs/en-ha --sft SFT --output_dir ha-ner`, or no flags."""

from bistil_ds.commands.export import main

if __name__ == "__main__":
    raise SystemExit(main())
