"""The packages of the distribution. All else, and where `bistil_ds.ds_configs` lies, is in pyproject.toml."""

from setuptools import find_packages, setup

OURS = find_packages(include=["bistil_ds", "bistil_ds.*"])
setup(packages=[*OURS, "bistil_ds.ds_configs", *find_packages("kernels")])
