"""Score models: `python launch_scripts/evaluate.py --model FOLDER --sft SFT --task ner --test_file ha/test.txt`."""

from bistil_ds.commands.evaluate import main

if __name__ == "__main__":
    raise SystemExit(main())
