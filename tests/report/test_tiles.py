"""The grid of the paper's figure 1, cut out of the runs' own pictures."""

import numpy as np
import pytest

from textok.report import read_records
from textok.report.tiles import compare_reconstructions, cut_tiles

RED, GREEN, BLUE, GREY = (200, 30, 40), (20, 160, 60), (40, 60, 210), (128, 128, 128)
MADE = {(32, True): (1, 2, 3), (64, True): (4, 5, 6), (32, False): (7, 8, 9)}


def test_tiles_come_back_as_they_were_drawn(make_run):
    folder = make_run("a", colours=[[RED, GREEN, BLUE], [(1, 2, 3), (4, 5, 6), (7, 8, 9)]])
    columns = cut_tiles(folder / "pictures" / "reconstruction.png", 16)
    colours = [[tuple(np.unique(tile.reshape(-1, 3), axis=0)[0].tolist()) for tile in column] for column in columns]
    assert colours == [[RED, (1, 2, 3)], [GREEN, (4, 5, 6)], [BLUE, (7, 8, 9)]]
    assert all(tile.shape == (16, 16, 3) and (tile == tile[0, 0]).all() for column in columns for tile in column)


def test_tokens_across_and_text_down(make_run, tmp_path):
    for number, ((count, reads), made) in enumerate(MADE.items()):
        # The pictures stand at another place in each run; only the red one is in all of them.
        originals = [(10 * number, 90, 90)] * number + [RED]
        make_run(f"r{number}", num_latents=count, text=(reads, reads), colours=[originals, [made] * len(originals)])
    grid = np.asarray(compare_reconstructions(read_records([tmp_path])))
    found = {colour: np.argwhere((grid == colour).all(axis=2)) for colour in (RED, *MADE.values())}
    boxes = {colour: places.min(axis=0).tolist() for colour, places in found.items()}
    assert [len(places) for places in found.values()] == [2 * 128 * 128, 128 * 128, 128 * 128, 128 * 128]
    top, x32 = boxes[7, 8, 9]
    assert boxes[1, 2, 3] == [top + 134, x32]
    assert boxes[4, 5, 6] == [top + 134, x32 + 134]
    assert boxes[RED] == [top, x32 - 134]


@pytest.mark.parametrize("second", [{"colours": [[BLUE], [GREY]]}, {}])
def test_nothing_is_compared_that_is_not_the_same_picture(make_run, tmp_path, second):
    make_run("a", num_latents=16, colours=[[RED], [GREY]])
    make_run("b", num_latents=32, **second)
    assert compare_reconstructions(read_records([tmp_path])) is None


def test_a_picture_of_another_layout_is_not_cut(make_run, tmp_path):
    from PIL import Image

    Image.new("RGB", (90, 90)).save(tmp_path / "small.png")
    assert cut_tiles(tmp_path / "small.png", 16) == []
