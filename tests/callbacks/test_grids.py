"""Picture grids through a real Trainer."""

import json

import pytest
import torch
from PIL import Image

from textok.callbacks import PromptGrid, ReconstructionGrid, SampleGrid
from textok.callbacks.drawing import DARK, draw_grid, wrap
from textok.callbacks.pictures import spread_rows


def test_a_reconstruction_grid_per_validation(make_trainer, make_module, make_data, tmp_path):
    data = make_data(count=12, batch_size=5, padding=1)
    trainer = make_trainer([ReconstructionGrid(num_images=4)], limit_val_batches=1.0, val_check_interval=1, max_steps=2)
    trainer.fit(make_module(), data)
    folder = tmp_path / "pictures"
    endings = ["", "_step00000001", "_step00000002"]
    names = ["reconstruction.json", *(f"reconstruction{ending}.png" for ending in endings)]
    assert sorted(path.name for path in folder.iterdir()) == names
    assert (folder / names[1]).read_bytes() == (folder / names[3]).read_bytes()
    assert (folder / names[2]).read_bytes() != (folder / names[3]).read_bytes()
    words = json.loads((folder / names[0]).read_text())
    assert words["step"] == 2 and len(words["captions"]) == 4
    assert all(
        entry["own"].startswith("a picture of") and entry["other"] != entry["own"] for entry in words["captions"]
    )


def test_originals_are_spread_over_the_set_and_enlarged(make_trainer, make_module, make_data, tmp_path):
    data = make_data(count=12, batch_size=4)
    make_trainer([ReconstructionGrid(num_images=3)], limit_val_batches=1.0).validate(make_module(), data, verbose=False)
    picture = torch.tensor(list(Image.open(tmp_path / "pictures/reconstruction.png").get_flattened_data()))
    pixels = {tuple(pixel) for pixel in picture.tolist()}
    images = data.collate(data.rows()).image
    for row in (0, 4, 8):
        assert set(map(tuple, images[row].flatten(1).T.tolist())) <= pixels


def test_pictures_of_every_position_are_chosen_once():
    chosen = [(batch, row) for batch in range(3) for row in spread_rows(8, batch, 3, 64)]
    assert len(chosen) == len(set(chosen)) == 8
    assert {batch for batch, _ in chosen} == {0, 1, 2}
    assert sum(len(spread_rows(8, batch, float("inf"), 3)) for batch in range(10)) == 8


def test_samples_leave_the_random_state_alone(make_trainer, make_module, make_data, tmp_path):
    after = []
    for callbacks in ([], [SampleGrid(num_classes=8, per_class=2)]):
        module, trainer = make_module(), make_trainer(callbacks, limit_val_batches=1)
        torch.manual_seed(5)
        trainer.validate(module, make_data(), verbose=False)
        after.append(torch.rand(3))
    assert torch.equal(*after)
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == [
        "samples.json",
        "samples.png",
        "samples_step00000000.png",
    ]


def test_prompts_are_held_out_captions_below_their_originals(make_trainer, make_module, make_data, tmp_path):
    module, data, asked = make_module(), make_data(count=12, batch_size=4), []
    generate = module.generate
    module.generate = lambda requests: asked.extend(requests) or generate(requests)
    make_trainer([PromptGrid(num_prompts=3, per_prompt=2)], limit_val_batches=1.0).validate(module, data, verbose=False)
    batch = data.collate(data.rows())
    assert [request.caption for request in asked] == [batch.caption[row] for row in (0, 4, 8)] * 2
    assert [request.label for request in asked] == [0, 1, 2] * 2
    assert sorted({request.index for request in asked}) == list(range(6))
    picture = torch.tensor(list(Image.open(tmp_path / "pictures/prompts.png").get_flattened_data()))
    pixels = {tuple(pixel) for pixel in picture.tolist()}
    for row in (0, 4, 8):
        assert set(map(tuple, batch.image[row].flatten(1).T.tolist())) <= pixels


def test_prompts_of_ones_own(make_trainer, make_module, make_data, tmp_path):
    module, asked = make_module(), []
    generate = module.generate
    module.generate = lambda requests: asked.extend(requests) or generate(requests)
    grid = PromptGrid(["a cat", ""], per_prompt=1, label=2, seed=7)
    make_trainer([grid], limit_val_batches=1).validate(module, make_data(), verbose=False)
    assert [(r.caption, r.label, r.seed) for r in asked] == [("a cat", 2, 7), ("", 2, 7)]
    assert (tmp_path / "pictures/prompts_step00000000.png").is_file()


def test_prompts_say_whether_training_has_them(make_trainer, make_module, make_data, tmp_path):
    data = make_data()
    grid = PromptGrid(["a disc", "a cube"], mark_seen=True)
    with pytest.raises(ValueError, match=r"TinyData cannot tell .* mark_seen"):
        make_trainer([grid], limit_val_batches=1).validate(make_module(), data, verbose=False)
    data.training_captions = lambda: {"a disc", "a star"}
    make_trainer([grid], limit_val_batches=1).validate(make_module(), data, verbose=False)
    words = json.loads((tmp_path / "pictures/prompts.json").read_text())
    assert words["captions"] == [{"own": "a disc", "seen": True}, {"own": "a cube", "seen": False}]
    with pytest.raises(ValueError, match="mark_seen"):
        PromptGrid(mark_seen=True)


@pytest.mark.parametrize("arguments", [{"num_prompts": 0}, {"per_prompt": 0}, {"prompts": []}])
def test_a_prompt_grid_of_nothing_is_refused(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        PromptGrid(**arguments)


def test_wrapping_keeps_within_the_width_and_marks_cuts():
    from PIL import ImageFont

    font = ImageFont.load_default(12)
    text = "a small red fox jumps over " + "w" * 60 + " and away"
    lines = wrap(text, font, 100, 50)
    assert all(font.getlength(line) <= 100 for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert wrap(text, font, 100, 2)[-1].endswith("…") and len(wrap(text, font, 100, 2)) == 2
    assert wrap("transport-ground", font, 70, 2) == ["transport-", "ground"]
    assert wrap("", font, 100, 2) == []


def test_a_grid_has_room_for_all_of_its_parts():
    tiles = [[torch.zeros(3, 32, 32, dtype=torch.uint8)] * 3] * 2
    bare = draw_grid(tiles)
    assert bare.size == (16 + 3 * 128 + 2 * 6 + 16, 16 + 2 * 128 + 6 + 16)
    full = draw_grid(tiles, ["one", "two"], [[("some words", 2, DARK)]] * 3, "Title")
    assert full.width > bare.width and full.height > bare.height
    large = draw_grid([[torch.zeros(3, 200, 200, dtype=torch.uint8)]])
    assert large.size == (232, 232)
