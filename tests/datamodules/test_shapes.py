import numpy as np
import pytest
import torch

from textok.datamodules import ShapesDataModule
from textok.datamodules.shapes import COLORS, KINDS, PLACES, RADII, Scene, Shape, Shapes, draw_scene, render

PINNED = "a small yellow star at the left and a small orange diamond at the bottom right on a purple background"


def test_a_picture_is_a_function_of_seed_and_number():
    one, two = Shapes(32, 100, seed=3), Shapes(32, 40, first=20, seed=3)
    for i in (5, 0, 17, 5):
        assert torch.equal(one.image(20 + i), two.image(i)) and one.captions(20 + i) == two.captions(i)
        assert one.key(20 + i) == two.key(i)
    other = Shapes(32, 100, seed=4)
    assert sum(one.captions(i) == other.captions(i) for i in range(100)) < 5
    # Pinned: a run of last year must find its pictures again.
    assert draw_scene(0, 0).caption == PINNED


def test_scenes_can_be_kept_simple():
    simple, full = Shapes(16, 200, max_shapes=2), Shapes(16, 200)
    counts = [len(simple.scene(i).shapes) for i in range(200)]
    assert set(counts) == {1, 2} and 70 < counts.count(2) < 130
    assert simple.key(0) != full.key(0)  # caches and references of the two cannot be taken for each other
    data = ShapesDataModule(num_train=50, num_val=50, max_shapes=1)
    data.setup()
    assert not any(" and " in caption for split in ("train", "held_out") for _, caption in data.prompts(split))
    with pytest.raises(ValueError, match="max_shapes must lie in 1 … 4, got 5"):
        ShapesDataModule(max_shapes=5)


def test_training_and_held_out_pictures_never_meet_and_do_not_depend_on_counts():
    small, large = ShapesDataModule(num_train=10, num_val=5), ShapesDataModule(num_train=300, num_val=20)
    for data in (small, large):
        data.setup()
    held_out = {large.splits.held_out.key(i) for i in range(20)}
    assert not held_out & {large.splits.train.key(i) for i in range(300)}
    assert torch.equal(small.splits.held_out.image(4), large.splits.held_out.image(4))
    assert torch.equal(small.splits.train.image(9), large.splits.train.image(9))


def test_the_caption_tells_what_is_drawn():
    for number in range(200):
        scene = draw_scene(0, number)
        assert 1 <= len(scene.shapes) <= 4
        assert len({shape.place for shape in scene.shapes}) == len(scene.shapes)
        sizes = [RADII[shape.size] for shape in scene.shapes]
        assert sizes == sorted(sizes, reverse=True)
        picture = render(scene, 96)
        # A corner of the middle cell's border belongs to nobody.
        assert tuple(picture[32, 32]) == COLORS[scene.background]
        for shape in scene.shapes:
            assert shape.color != scene.background
            for word in (shape.kind, shape.color, shape.size, shape.place):
                assert word in scene.caption
            row, column = divmod(PLACES[3].index(shape.place), 3)
            cell = picture[row * 32 : row * 32 + 32, column * 32 : column * 32 + 32].reshape(-1, 3)
            assert (cell == COLORS[shape.color]).all(axis=1).sum() > 20
    assert scene.caption.endswith(" background")


def test_words_of_all_kinds_occur_about_equally():
    scenes = [draw_scene(1, number) for number in range(2000)]
    for words, of in (
        (KINDS, lambda s: s.shapes[0].kind),
        (COLORS, lambda s: s.background),
        ([1, 2, 3, 4], lambda s: len(s.shapes)),
    ):
        expected = len(scenes) / len(words)
        counts = {word: sum(of(scene) == word for scene in scenes) for word in words}
        assert all(0.7 * expected < count < 1.3 * expected for count in counts.values()), counts


@pytest.mark.parametrize("kind", KINDS)
def test_edges_are_soft_and_areas_scale(kind):
    def area(size, image_size):
        scene = Scene("black", (Shape(kind, "white", size, "center", (0.5, 0.5)),))
        picture = render(scene, image_size).astype(float)
        low, high = COLORS["black"][0], COLORS["white"][0]
        assert ((picture > low) & (picture < high)).any(), "antialiased"
        return ((picture - low) / (high - low)).mean()

    exact = area("large", 512)
    # The same picture at any resolution …
    assert area("large", 32) == pytest.approx(exact, rel=0.05)
    # … and areas as the square of the radius.
    assert area("small", 512) == pytest.approx(exact * (RADII["small"] / RADII["large"]) ** 2, rel=0.03)


def test_kinds_can_be_told_apart_at_32_pixels():
    pictures = [
        render(Scene("white", (Shape(kind, "blue", "small", "center", (0.5, 0.5)),)), 32).astype(float)
        for kind in KINDS
    ]
    for i, one in enumerate(pictures):
        for two in pictures[:i]:
            assert np.abs(one - two).sum() > 3 * 255


def test_the_label_is_the_kind_named_first():
    data = ShapesDataModule(num_train=64, num_val=8, batch_size=32)
    data.setup()
    batch = next(iter(data.train_dataloader()))
    assert batch.image.shape == (32, 3, 32, 32) and batch.image.dtype == torch.uint8
    for caption, label in zip(batch.caption, batch.label.tolist()):
        assert caption.split(" at the ")[0].endswith(data.class_names[label])


def test_bad_sizes_and_counts_are_refused():
    with pytest.raises(ValueError, match="image_size is 4"):
        ShapesDataModule(image_size=4)
    with pytest.raises(ValueError, match="num_train must be positive, got 0"):
        ShapesDataModule(num_train=0)
    with pytest.raises(ValueError, match="num_val must be positive, got -1"):
        ShapesDataModule(num_val=-1)


def test_a_coarser_grid_has_larger_shapes_in_its_corners():
    for index in range(200):
        scene = draw_scene(0, index, 4, grid=2)
        for shape in scene.shapes:
            row, column = divmod(PLACES[2].index(shape.place), 2)
            for part, center in zip((column, row), shape.center):
                reach = scene.radius(shape)
                assert reach == 1.5 * RADII[shape.size]
                assert part / 2 <= center - reach and center + reach <= (part + 1) / 2
    fine, coarse = (Shapes(64, 5, grid=grid) for grid in (3, 2))
    assert {fine.key(i) for i in range(5)}.isdisjoint(coarse.key(i) for i in range(5))
    with pytest.raises(ValueError, match="grid must be 2 or 3, got 4"):
        ShapesDataModule(grid=4)
