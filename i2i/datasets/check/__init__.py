"""What is in a set of images, before anybody trains on it: each is looked at once, then rules say what they find."""

from i2i.datasets.check.opening import of_folders, of_source
from i2i.datasets.check.report import Report, check
from i2i.datasets.check.sets import Training

__all__ = ["Report", "Training", "check", "of_folders", "of_source"]
