"""What the devices can do: peak rates, memory and links, from their makers' data sheets."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from textok.runs.messages import nearest

GIB = 2**30
#: Memory that no tensor gets: CUDA's context, the libraries' workspaces, and what the allocator cannot use for holes.
RESERVED = 2 * GIB


@dataclass(frozen=True)
class Gpu:
    """One kind of GPU.

    Args:
        name: What it is called on the command line.
        bf16: Peak FLOP/s of dense matrix products in bfloat16; None where the hardware has no bfloat16.
        tf32: Peak FLOP/s in TF32, in which torch computes float32 convolutions unless told otherwise.
        fp32: Peak FLOP/s in float32, in which torch computes other float32 products unless told otherwise.
        memory: Bytes of memory.
        link: Bytes/s that one GPU can send to another of its node, in one direction.
    """

    name: str
    bf16: float | None
    tf32: float
    fp32: float
    memory: int
    link: float

    def rate(self, dtype: torch.dtype, convolutional: bool) -> float:
        """Peak FLOP/s of a network in a type; half precision that the hardware lacks is computed as float32."""
        if dtype in (torch.bfloat16, torch.float16) and self.bf16 is not None:
            return self.bf16
        return self.tf32 if convolutional else self.fp32

    @property
    def usable(self) -> int:
        """Bytes that tensors can have."""
        return self.memory - RESERVED


# Rates are dense: data sheets print twice as much, with sparsity. A link is half of what they print, the sum of both
# directions. Memory is what the driver reports, which is the advertised number in GiB up to the H100.
GPUS = {
    gpu.name: gpu
    for gpu in (
        # NVIDIA V100 data sheet (SXM2 32 GB): 15.7 TFLOP/s, NVLink 300 GB/s; tensor cores in float16 only
        Gpu("v100", None, 15.7e12, 15.7e12, 32 * GIB, 150e9),
        # NVIDIA A100 data sheet (SXM): 312 / 156 / 19.5 TFLOP/s, NVLink 600 GB/s
        Gpu("a100-40gb", 312e12, 156e12, 19.5e12, 40 * GIB, 300e9),
        Gpu("a100", 312e12, 156e12, 19.5e12, 80 * GIB, 300e9),
        # NVIDIA L40S data sheet: 362 / 183 / 91.6 TFLOP/s, PCIe 4 x16
        Gpu("l40s", 362e12, 183e12, 91.6e12, 48 * 10**9, 32e9),
        # NVIDIA Ada architecture white paper, GeForce RTX 4090: 165.2 TFLOP/s with float32 sums, 82.6, 82.6, PCIe 4 x16
        Gpu("rtx4090", 165.2e12, 82.6e12, 82.6e12, 24 * GIB, 32e9),
        # NVIDIA H100 data sheet (SXM): 1,979 / 2, 989 / 2 and 67 TFLOP/s, NVLink 900 GB/s
        Gpu("h100", 989.4e12, 494.7e12, 66.9e12, 80 * GIB, 450e9),
        # NVIDIA H200 data sheet (SXM): as H100, 141 GB
        Gpu("h200", 989.4e12, 494.7e12, 66.9e12, 141 * 10**9, 450e9),
        # NVIDIA HGX B200 data sheet: 4,500 / 2, 2,200 / 2 and 80 TFLOP/s, 180 GB, NVLink 1,800 GB/s
        Gpu("b200", 2250e12, 1100e12, 80e12, 180 * 10**9, 900e9),
    )
}


def find_gpu(name: str) -> Gpu:
    """The GPU of a name.

    Raises:
        ValueError: If there is none in the table; the nearest name is told.
    """
    if name.lower() in GPUS:
        return GPUS[name.lower()]
    hint = nearest(name.lower(), GPUS)
    raise ValueError(f"there is no GPU {name!r} in the table{hint or ':'} known are {', '.join(GPUS)}")
