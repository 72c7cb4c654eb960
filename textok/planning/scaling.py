"""What bounds a training step on many GPUs: compute, the sum of gradients, or the data; by calculation.

Data parallel training (DDP) with one ring over all devices: each sends 2 (n − 1) / n of the gradients' bytes (Patarasuk
and Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations", 2009).
"""

from __future__ import annotations

from dataclasses import dataclass

from textok.planning.estimate import Estimate

#: A backward pass is two thirds of the work, and sums of gradients run behind it.
OVERLAP = 2 / 3


@dataclass(frozen=True)
class Cluster:
    """Where training runs, beside the GPUs.

    Args:
        gpus_per_node: GPUs that share a node and its links.
        network: Bytes/s that a node can send to others; eight links of 400 Gbit/s by default.
        link_efficiency: Share of a link's rate that an all-reduce reaches.
        image_bytes: Bytes of an image on the disk; 110 kB is the mean of ImageNet's JPEGs.
        decode_rate: Images that one core decodes and crops in a second.
        cores_per_gpu: Cores for the data of each GPU.
    """

    gpus_per_node: int = 8
    network: float = 8 * 400e9 / 8
    link_efficiency: float = 0.8
    image_bytes: float = 110e3
    decode_rate: float = 100.0
    cores_per_gpu: int = 14


@dataclass(frozen=True)
class Scaling:
    """A step on a number of devices.

    Args:
        devices: How many.
        batch_size: Images of a device in a step.
        compute: Seconds of calculation.
        all_reduce: Seconds in which gradients are summed over all devices.
        row_bytes: Bytes read for an image: the image and, from a cache, its text tokens at full length; or its latents.
        decodes: Whether images are decoded; not from a latent cache.
        cluster: Where it runs.
    """

    devices: int
    batch_size: float
    compute: float
    all_reduce: float
    row_bytes: float
    decodes: bool
    cluster: Cluster

    @property
    def exposed(self) -> float:
        """Seconds of the all-reduce that no backward pass hides."""
        return max(0.0, self.all_reduce - OVERLAP * self.compute)

    @property
    def seconds(self) -> float:
        """Of a step, if data are there in time."""
        return self.compute + self.exposed

    @property
    def efficiency(self) -> float:
        """Share of the time that is spent on calculation."""
        return self.compute / self.seconds

    @property
    def images_per_second(self) -> float:
        return self.devices * self.batch_size / self.seconds

    @property
    def decode_cores(self) -> float:
        """Cores of each GPU that decoding keeps busy."""
        return self.batch_size / self.seconds / self.cluster.decode_rate if self.decodes else 0.0

    @property
    def read(self) -> float:
        """Bytes/s that all devices together read."""
        return self.images_per_second * self.row_bytes

    @property
    def bound(self) -> str:
        """What is waited for: compute, all-reduce or data."""
        if self.decode_cores > self.cluster.cores_per_gpu:
            return "data"
        return "all-reduce" if self.exposed > 0 else "compute"


def scale(found: Estimate, devices: int, batch_size: float, cluster: Cluster, cached: bool) -> Scaling:
    """A step of the run's last and longest phase on a number of devices.

    Args:
        found: The estimate, for one device's memory and an image's work.
        devices: How many GPUs.
        batch_size: Images of a device in a step.
        cluster: Where it runs.
        cached: Whether text tokens (stage 1) or latents (stage 2) come from a cache, as on a large cluster they should.
    """
    phase = found.phases[-1]
    without = list(found.savings.values())[-1] if cached and found.savings else ()
    compute = batch_size * found.step_seconds(phase, without) / (found.batch_size * found.accumulate)
    all_reduce = ring_seconds(found.memory["single"].gradients, devices, found.assumptions.gpu.link, cluster)
    from_latents = cached and found.stage == 2
    stored = found.latent_cache_bytes if from_latents else found.text_cache_bytes if cached else 0
    row_bytes = stored / found.assumptions.num_images + (0.0 if from_latents else cluster.image_bytes)
    return Scaling(devices, batch_size, compute, all_reduce, row_bytes, not from_latents, cluster)


def ring_seconds(size: int, devices: int, link: float, cluster: Cluster) -> float:
    """Seconds of an all-reduce; rings share a node's network, so its slowest hop is that or the link within."""
    if devices == 1:
        return 0.0
    slowest = link if devices <= cluster.gpus_per_node else min(link, cluster.network)
    return 2 * (devices - 1) / devices * size / (slowest * cluster.link_efficiency)
