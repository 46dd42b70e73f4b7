"""Training on several GPUs of one machine: one process each, the same weights, averaged gradients."""

import os
from collections.abc import Callable
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn


class Ranks:
    """The processes that train together. In a single process, every operation does nothing."""

    def __init__(self, rank: int = 0, world: int = 1):
        self.rank, self.world = rank, world
        self.device = torch.device("cuda", rank) if torch.cuda.is_available() else torch.device("cpu")
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)
        if world > 1:
            os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
            os.environ.setdefault("MASTER_PORT", "29511")
            backend = "nccl" if self.device.type == "cuda" else "gloo"
            dist.init_process_group(backend, rank=rank, world_size=world, timeout=timedelta(minutes=5))
            self.host = dist.new_group(backend="gloo")  # for numbers on the CPU, which do not wait for the GPU

    @property
    def first(self) -> bool:
        return self.rank == 0

    def average_(self, tensor: Tensor) -> None:
        """Replace a tensor with its mean over all ranks."""
        if self.world > 1:
            dist.all_reduce(tensor)
            tensor.div_(self.world)

    def copy_first_(self, tensor: Tensor) -> None:
        """Replace a tensor with that of the first rank."""
        if self.world > 1:
            dist.broadcast(tensor, 0)

    def agree(self, number: float) -> float:
        """Return the first rank's number."""
        if self.world == 1:
            return number
        tensor = torch.tensor([number], dtype=torch.float64)
        dist.broadcast(tensor, 0, group=self.host)
        return float(tensor)

    def wait(self) -> None:
        """Wait until every rank has called this."""
        if self.world > 1:
            dist.barrier(group=self.host)


def flatten_gradients(module: nn.Module) -> Tensor:
    """Put the gradients of all parameters into one vector, for a single all-reduce, norm and fill."""
    parameters = list(module.parameters())
    flat = torch.zeros(sum(p.numel() for p in parameters), device=parameters[0].device)
    offset = 0
    for p in parameters:
        p.grad = flat[offset : offset + p.numel()].view_as(p)
        offset += p.numel()
    return flat


def spawn(work: Callable[..., None], *arguments: object) -> None:
    """Run `work(rank, world, *arguments)` in one process for each GPU."""
    world = max(1, torch.cuda.device_count())
    os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
    if world == 1:
        work(0, 1, *arguments)
    else:
        torch.multiprocessing.spawn(work, (world, *arguments), nprocs=world)
