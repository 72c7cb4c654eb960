from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from textok.losses import LeCAM, adaptive_weight

STEPS = 4


def test_two_steps_by_hand():
    lecam = LeCAM(decay=0.9)
    real, fake = torch.tensor([2.0, 4.0]), torch.tensor([-1.0, -3.0])
    assert lecam(real, fake).item() == pytest.approx(3.0**2 + 2.0**2)  # against averages of zero
    lecam.update(real, fake)
    assert lecam.ema_real.item() == pytest.approx(0.3)
    assert lecam.ema_fake.item() == pytest.approx(-0.2)
    assert lecam(real, fake).item() == pytest.approx((3 + 0.2) ** 2 + (0.3 + 2) ** 2)
    # Logits on the wrong side of the averages cost nothing.
    assert lecam(torch.tensor([-1.0]), torch.tensor([1.0])).item() == 0.0


def test_forward_leaves_the_averages_and_the_averages_survive_a_checkpoint():
    lecam, logits = LeCAM(), torch.randn(4)
    lecam(logits, -logits)
    assert lecam.ema_real == 0 and lecam.ema_fake == 0
    lecam.update(logits.requires_grad_(True), -logits)
    assert not lecam.ema_real.requires_grad
    other = LeCAM()
    other.load_state_dict(lecam.state_dict())
    assert other.ema_real == lecam.ema_real != 0
    assert set(lecam.state_dict()) == {"ema_real", "ema_fake"}


def test_decay_is_checked():
    with pytest.raises(ValueError, match=r"decay must be in \[0, 1\), got 1"):
        LeCAM(decay=1.0)


def _inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    draw = torch.randn(2, STEPS, 8, 5, generator=generator, dtype=torch.float64)
    return draw[0] + 0.5, draw[1], torch.linspace(-0.5, 1, 5, dtype=torch.float64)


def _train(rows: slice, world_size: int) -> dict[str, torch.Tensor]:
    """A linear discriminator under LeCAM on some rows of each batch, its gradients averaged as DDP does."""
    real, fake, weight = _inputs()
    weight.requires_grad_(True)
    lecam, penalties = LeCAM(decay=0.5).double(), []
    for step in range(STEPS):
        logits = real[step, rows] @ weight, fake[step, rows] @ weight
        penalty = lecam(*logits)
        (gradient,) = torch.autograd.grad(penalty, weight)
        if world_size > 1:
            dist.all_reduce(gradient)
        lecam.update(*logits)
        weight = (weight - 0.1 * gradient / world_size).detach().requires_grad_(True)
        penalties.append(penalty.detach())
    # The adaptive weight too must be that of the whole batch.
    ratio = adaptive_weight((real[0, rows] @ weight).square().mean(), (fake[0, rows] @ weight).tanh().mean(), weight)
    return {"weight": weight.detach(), "penalties": torch.stack(penalties), "ratio": ratio, **lecam.state_dict()}


def _worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    result = _train(slice(4 * rank, 4 * rank + 4), world_size=2)
    torch.save(result, Path(folder, f"{rank}.pt"))
    dist.destroy_process_group()


def test_two_processes_equal_one_with_the_doubled_batch(tmp_path):
    expected = _train(slice(None), world_size=1)
    assert (expected["penalties"] > 0).all()
    mp.spawn(_worker, args=(str(tmp_path),), nprocs=2)
    for rank in range(2):
        result = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for name, value in expected.items():
            torch.testing.assert_close(result[name], value, rtol=1e-12, atol=1e-12, msg=f"{name} on rank {rank}")
