"""The packages of the distribution; all else is in pyproject.toml, which also says where `bistil_ds.ds_configs` lies."""

from setuptools import find_packages, setup

OURS = find_packages(include=["bistil_ds", "bistil_ds.*"])
setup(packages=[*OURS, "bistil_ds.ds_configs", *find_packages("kernels")])
