"""Packages are found, not listed: a fixed list would silently drop a new plugin's folder from the wheel."""

from setuptools import find_packages, setup

plugins = ["i2i_plugins"] + [f"i2i_plugins.{name}" for name in find_packages("plugins")]
setup(packages=[*find_packages(include=["i2i", "i2i.*"]), *plugins, "i2i_recipes"])
