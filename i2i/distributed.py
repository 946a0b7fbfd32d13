"""Several processes, or machines, as one: started by torchrun, each with its share of every batch."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import distributed as dist
from torch import nn

from i2i.errors import I2IError

MESSAGE_BYTES = 4096


class World:
    """The processes of a run. One alone is a world too: then nothing is sent and nobody is waited for.

    Gradients go over the device's own network (nccl on CUDA), control messages over the CPU's (gloo).
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size
        if size > 1:
            dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")

    @classmethod
    def join(cls) -> World:
        """The world that torchrun started this process into, if it did."""
        size = int(os.environ.get("WORLD_SIZE", 1))
        return cls(int(os.environ.get("RANK", 0)) if size > 1 else 0, size)

    def leave(self) -> None:
        if self.size > 1:
            dist.destroy_process_group()

    @property
    def leads(self) -> bool:
        """Whether this is the process that logs, samples and writes."""
        return self.rank == 0

    def device(self, name: str) -> str:
        """`auto` and `cuda` become this process's own GPU where there are several processes."""
        if self.size > 1 and torch.cuda.is_available() and name in ("auto", "cuda"):
            return f"cuda:{os.environ.get('LOCAL_RANK', 0)}"
        return name

    def average(self, parameters: Sequence[nn.Parameter]) -> None:
        """Gradients become their mean over all processes, in one message; a missing one counts as zeros.

        A flag for each travels along: a gradient stays None only where it is None on every process, so that all
        optimizers skip the same parameters.
        """
        if self.size == 1:
            return
        used = parameters[0].new_tensor([float(p.grad is not None) for p in parameters])
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        message = torch.cat([*(g.flatten() for g in gradients), used])
        dist.all_reduce(message)
        *sums, counts = torch.split(message, [*(p.numel() for p in parameters), len(parameters)])
        for parameter, total, count in zip(parameters, sums, counts.tolist(), strict=True):
            parameter.grad = (total / self.size).view_as(parameter) if count else None

    def share(self, module: nn.Module) -> None:
        """Parameters and buffers become those of the leading process."""
        if self.size > 1:
            for tensor in [*module.parameters(), *module.buffers()]:
                dist.broadcast(tensor.detach(), 0)

    def means(self, values: Mapping[str, float]) -> dict[str, float]:
        """Numbers of the same names on all processes, as their mean."""
        if self.size == 1:
            return dict(values)
        total = torch.tensor([*values.values()], dtype=torch.float64)
        dist.all_reduce(total)
        return dict(zip(values, (total / self.size).tolist(), strict=True))

    def gather(self, parts: Sequence[torch.Tensor], width: Sequence[int]) -> torch.Tensor:
        """The rows of all processes, on the CPU, in float64: the first part of each by rank, then the second of each, …

        Args:
            parts: this process's, (n_i, *width), float64, on the CPU; how many there are may differ.
            width: of a row.
        """
        empty = torch.empty(0, *width, dtype=torch.float64)
        if self.size == 1:
            return torch.cat([*parts, empty])
        n_rounds = torch.tensor(len(parts))
        dist.all_reduce(n_rounds, dist.ReduceOp.MAX)
        found = [empty]
        for i in range(int(n_rounds)):
            part = parts[i] if i < len(parts) else empty
            sizes = [torch.empty(1, dtype=torch.int64) for _ in range(self.size)]
            dist.all_gather(sizes, torch.tensor([len(part)]))
            padded = torch.zeros(int(max(sizes)), *width, dtype=torch.float64)
            padded[: len(part)] = part
            everywhere = [torch.empty_like(padded) for _ in range(self.size)]
            dist.all_gather(everywhere, padded)
            found += [rows[: int(size)] for rows, size in zip(everywhere, sizes, strict=True)]
        return torch.cat(found)

    def agree(self, text: str) -> str:
        """The first text that is not empty, by rank; the same on all processes, and all must ask."""
        if self.size == 1:
            return text
        encoded = text.encode()[:MESSAGE_BYTES].ljust(MESSAGE_BYTES, b"\0")
        own = torch.frombuffer(bytearray(encoded), dtype=torch.uint8)
        texts = [torch.empty_like(own) for _ in range(self.size)]
        dist.all_gather(texts, own)
        said = (bytes(t.tolist()).rstrip(b"\0").decode(errors="replace") for t in texts)
        return next((t for t in said if t), "")

    @contextmanager
    def leader_first(self) -> Iterator[None]:
        """A block that the leading process runs alone, then the others; what it cannot do, they do not try."""
        if not self.leads and (failure := self.agree("")):
            raise I2IError(failure)
        try:
            yield
        except I2IError as error:
            if self.leads:
                self.agree(str(error))
            raise
        if self.leads:
            self.agree("")

    @contextmanager
    def together(self) -> Iterator[None]:
        """A block that all processes run: where it fails on one, it fails on all. OSError and I2IError are told."""
        failure: Exception | None = None
        try:
            yield
        except (OSError, I2IError) as error:
            failure = error
        elsewhere = self.agree(str(failure) if failure else "")
        if failure:
            raise failure
        if elsewhere:
            raise OSError(f"another process failed: {elsewhere}")
