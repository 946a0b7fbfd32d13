"""What computes a translator's network: torch as it stands or compiled, ONNX Runtime, OpenVINO."""

from i2i.backends.choosing import BACKEND_NAMES, Computing, choose

__all__ = ["BACKEND_NAMES", "Computing", "choose"]
