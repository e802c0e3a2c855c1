"""Find the packages of the distribution; pyproject.toml holds the rest, and where `bistil_ds.ds_configs` lies."""

from setuptools import find_packages, setup

OURS = find_packages(include=["bistil_ds", "bistil_ds.*"])
setup(packages=[*OURS, "bistil_ds.ds_configs", *find_packages("kernels")])
