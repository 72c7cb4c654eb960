"""Both stages on a CUDA device: bf16, compiled blocks, fused attention, R1 through a plain discriminator."""

import pytest
import torch

from textok.types import Request

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def test_both_stages_train_and_sample(make_tokenizer, make_generator, make_data, make_trainer, tmp_path):
    settings = {"accelerator": "gpu", "devices": 1, "precision": "bf16-mixed"}
    first, trainer = make_tokenizer(compile_blocks=True), make_trainer(4, **settings)
    trainer.fit(first, datamodule=make_data())
    assert trainer.callback_metrics["train/r1"].isfinite()
    file = tmp_path / "step00000004.ckpt"
    trainer.save_checkpoint(file)

    second = make_generator(file, compile_blocks=True)
    make_trainer(4, **settings).fit(second, datamodule=make_data())
    second.to("cuda")
    images = second.generate([Request(index=0, label=1), Request(index=1, label=2)])
    assert images.shape == (2, 3, 16, 16)
    assert images.isfinite().all()
