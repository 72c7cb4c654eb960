"""Updates that are not finite: skipped by all networks together, counted, and without a trace."""

from functools import partial
from itertools import pairwise

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from textok.losses import L2Loss, NonSaturatingLoss
from textok.modules import AdversarialStage, TrainingModule


class FaultyL2(L2Loss):
    """L2 whose value, and so its gradient, is ``fault`` at some of its calls."""

    def __init__(self, calls, fault=float("nan")):
        super().__init__()
        self.calls, self.fault, self.count = set(calls), fault, 0

    def forward(self, fake, real):
        self.count += 1
        loss = super().forward(fake, real)
        return loss * self.fault if self.count in self.calls else loss


class FaultyAdversarial(NonSaturatingLoss):
    """A loss of the discriminator that is NaN at its n-th call."""

    def __init__(self, call):
        super().__init__()
        self.call, self.count = call, 0

    def discriminator(self, real_logits, fake_logits):
        self.count += 1
        return super().discriminator(real_logits, fake_logits) * (float("nan") if self.count == self.call else 1.0)


def states(trainer):
    return [{k: v.clone() for k, v in s.items()} for o in trainer.optimizers for s in o.state.values()]


ADAM = {"plain": partial(torch.optim.Adam, lr=1e-3), "fused": partial(torch.optim.Adam, lr=1e-3, fused=True)}


@pytest.mark.parametrize("kind", ADAM)
@pytest.mark.parametrize("fault", ["nan", "inf", "discriminator"])
def test_a_broken_update_moves_nothing(make_tokenizer, make_data, make_trainer, copy_weights, kind, fault):
    """Neither weights, nor the optimisers' moments and counts, nor LeCAM's averages; the step itself goes by."""
    faults = {"adversarial": FaultyAdversarial(4)} if fault == "discriminator" else {}
    faults |= {"reconstruction": FaultyL2([4], float(fault))} if not faults else {}
    seen = []

    class Watched(type(make_tokenizer())):
        def training_step(self, batch, batch_idx):
            super().training_step(batch, batch_idx)
            parts = {"pair": self.textok, "critic": self.discriminator, "lecam": self.lecam}
            seen.append(({n: copy_weights(part) for n, part in parts.items()}, states(self.trainer)))

    choices = {"optimizer": ADAM[kind], "discriminator_optimizer": ADAM[kind], "stage": AdversarialStage(start=0)}
    module, trainer = make_tokenizer(**choices, **faults, clip=1.0), make_trainer(6)
    module.__class__ = Watched
    trainer.fit(module, datamodule=make_data())

    def same(a, b):
        weights = all(torch.equal(x, b[0][part][name]) for part in a[0] for name, x in a[0][part].items())
        return weights and all(torch.equal(x, other[name]) for s, other in zip(a[1], b[1]) for name, x in s.items())

    assert [same(a, b) for a, b in pairwise(seen)] == [False, False, True, False, False]
    assert trainer.global_step == 6
    assert [config.scheduler.last_epoch for config in trainer.lr_scheduler_configs] == [6, 6]
    assert module.skipped_steps.tolist() == [0, 1]
    assert all(value.isfinite().all() for value in module.state_dict().values())


def test_a_fault_in_one_micro_batch_skips_its_step(make_tokenizer, make_data, make_trainer):
    module, trainer = make_tokenizer(reconstruction=FaultyL2([3]), accumulate=2), make_trainer(4)
    trainer.fit(module, datamodule=make_data())
    assert module.skipped_steps.tolist() == [0, 1]
    assert all(value.isfinite().all() for value in module.state_dict().values())


def test_the_count_is_in_the_checkpoint(make_tokenizer, make_data, make_trainer, tmp_path):
    trainer = make_trainer(4)
    trainer.fit(make_tokenizer(reconstruction=FaultyL2([1, 3, 4])), datamodule=make_data())
    trainer.save_checkpoint(tmp_path / "cut.ckpt")
    module = make_tokenizer()
    make_trainer(4).fit(module, datamodule=make_data(), ckpt_path=tmp_path / "cut.ckpt")
    assert module.skipped_steps.tolist() == [2, 3]


def test_a_generator_skips_its_broken_updates_too(make_generator, make_tokenizer, make_data, make_trainer, tmp_path):
    trainer = make_trainer(3)
    trainer.fit(make_tokenizer(), datamodule=make_data())
    trainer.save_checkpoint(tmp_path / "pair.ckpt")
    module = make_generator(tmp_path / "pair.ckpt")
    original, calls = module.process.loss, []

    def faulty(*args):
        calls.append(len(calls) + 1)
        return {name: term * (float("inf") if calls[-1] == 2 else 1) for name, term in original(*args).items()}

    module.process.loss = faulty
    make_trainer(3).fit(module, datamodule=make_data())
    assert module.skipped_steps.tolist() == [0, 1]
    assert all(value.isfinite().all() for value in module.state_dict().values())


def judge_on_a_rank(rank, folder):
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    module = TrainingModule(None, image_size=16, num_classes=8, accumulate=1, seed=0, compile_blocks=False)
    verdicts = []
    for broken in (None, 1, 0, None):
        norm = torch.tensor(float("nan") if broken == rank else 1.0)
        verdicts.append(bool(module.judge({"grad_norm": norm})))
    assert verdicts == [True, False, False, True]
    assert module.skipped_steps.tolist() == [0, 2]
    dist.destroy_process_group()


@pytest.mark.slow
def test_all_ranks_skip_what_is_broken_on_one(tmp_path):
    mp.spawn(judge_on_a_rank, args=(str(tmp_path),), nprocs=2)
