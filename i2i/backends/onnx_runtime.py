"""ONNX Runtime, on the CPU, in float32."""

from __future__ import annotations

import onnxruntime
import torch
from torch import Tensor, nn

from i2i.backends.contract import Compute, ComputedIn, exported


def prepare(module: nn.Module, example: Tensor, precision: ComputedIn) -> Compute:
    assert precision == "fp32"
    program = torch.onnx.export(exported(module, example), dynamo=True, external_data=False, verbose=False)
    assert program is not None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # its warnings are of constants that it folds
    model = program.model_proto.SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def compute(images: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {name: images.contiguous().numpy()})[0])

    return compute
