"""OpenVINO, on the CPU."""

from __future__ import annotations

import sys

import torch
from torch import Tensor, nn

from i2i.backends.contract import Compute, ComputedIn, exported


def prepare(module: nn.Module, example: Tensor, precision: ComputedIn) -> Compute:
    # Unless told otherwise, OpenVINO reports to Google Analytics that it is imported and what it converts. Without the
    # package that does so it works the same.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    settings = {
        "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "PERFORMANCE_HINT": "LATENCY",
    }
    network = openvino.Core().compile_model(openvino.convert_model(exported(module, example)), "CPU", settings)

    def compute(images: Tensor) -> Tensor:
        return torch.from_numpy(network(images.contiguous().numpy())[0].copy())

    return compute
