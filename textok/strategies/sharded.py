"""FSDP2: the trained network's weights, gradients and optimiser states are spread over all processes."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer

from textok.storage.sharded import finish, local_parts, temporary_folder, write_part


class FullySharded(ModelParallelStrategy):
    """Lightning's strategy of FSDP2 over all processes, with textok's checkpoints.

    What is sharded is the module's choice, in its ``configure_model``. A checkpoint is written whole, as one process
    would write it, or as a folder with a file of each process; either is read by any strategy on any number of
    processes. Both are complete or not there.

    Args:
        save_sharded: Write checkpoints as folders: no process ever holds the whole.
        process_group_backend: gloo or nccl; by default what fits the device.
        timeout: How long a process waits for another before the job ends with an error.
    """

    def __init__(
        self,
        save_sharded: bool = False,
        process_group_backend: str | None = None,
        timeout: timedelta = timedelta(minutes=30),
    ) -> None:
        super().__init__(
            save_distributed_checkpoint=save_sharded,
            process_group_backend=process_group_backend,
            timeout=timeout,
        )
        self.save_sharded = save_sharded

    def setup_environment(self) -> None:
        # All processes share the batch; how many there are is known now, and not when YAML is written.
        self._data_parallel_size, self._tensor_parallel_size = self.num_nodes * self.num_processes, 1
        super().setup_environment()

    # ---------------------------------------------------------------- save

    def lightning_module_state_dict(self) -> dict[str, Any]:
        return self._to_save(self.lightning_module.state_dict())

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        return self._to_save(getattr(optimizer, "_optimizer", optimizer).state_dict())

    def _to_save(self, value: Any) -> Any:
        """Sharded tensors as they are for a sharded checkpoint; for a whole one gathered, on the first process."""
        if isinstance(value, DTensor) and not self.save_sharded:
            gathered = value.full_tensor()  # one at a time
            return gathered.cpu() if self.is_global_zero else None
        if isinstance(value, dict):
            return type(value)((key, self._to_save(each)) for key, each in value.items())
        if isinstance(value, list):
            return [self._to_save(each) for each in value]
        return value

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint; every process must call it.

        Raises:
            OSError: If the disk does not take it; the checkpoints before it are intact.
        """
        path = Path(self.broadcast(filepath))
        if not self.save_sharded:
            if self.is_global_zero:
                if path.is_dir():
                    shutil.rmtree(path)
                self.checkpoint_io.save_checkpoint(checkpoint, path, storage_options)
            return
        temporary = self.broadcast(temporary_folder(path))
        failure: Exception | None = None
        common, parts = local_parts(checkpoint)
        try:
            temporary.mkdir(parents=True, exist_ok=True)
            write_part(temporary, self.global_rank, self.world_size, common, parts)
        except (OSError, RuntimeError) as error:  # torch's writer tells of a full disk as a RuntimeError
            failure = error
        written = self.reduce_boolean_decision(failure is None, all=True)
        if written and self.is_global_zero:
            finish(temporary, path, self.world_size)
        self.barrier()
        if not written:
            if self.is_global_zero:
                shutil.rmtree(temporary, ignore_errors=True)
            raise OSError(
                f"checkpoint {path} could not be written, those before it are intact: is the disk full, or a quota "
                f"reached? Make room and start the same command again ({failure or 'on another process'})"
            )

    def teardown(self) -> None:
        super().teardown()
        self.checkpoint_io.teardown()  # which Lightning's other strategies do

    # ---------------------------------------------------------------- load

    @property
    def lightning_restore_optimizer(self) -> bool:
        return True  # Lightning's own strategy does it while it reads, and takes numbers of parameters for names

    def load_checkpoint(self, checkpoint_path: str | Path, weights_only: bool | None = None) -> dict[str, Any]:
        return self.checkpoint_io.load_checkpoint(Path(self.broadcast(checkpoint_path)), weights_only=True)

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        own = self.lightning_module.state_dict()
        state = {name: _as(value, own.get(name)) for name, value in checkpoint["state_dict"].items()}
        self.lightning_module.load_state_dict(state, strict=strict)

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        for optimizer, state in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            numbers = [number for group in state["param_groups"] for number in group["params"]]
            parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            like = dict(zip(numbers, parameters, strict=True))
            moments = {
                number: {name: _as(value, like[number]) for name, value in values.items()}
                for number, values in state["state"].items()
            }
            optimizer.load_state_dict({**state, "state": moments})


def _as(value: Any, like: Tensor | None) -> Any:
    """A whole tensor cut as another one of its shape is; anything else as it is."""
    if not (isinstance(value, Tensor) and isinstance(like, DTensor)) or value.shape != like.shape:
        return value
    # Each process cuts out its own part: all have read the same.
    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements, src_data_rank=None)
