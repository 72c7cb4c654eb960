"""Damage of checkpoint files, done to real ones."""

import pytest
import torch

from textok.storage import archive_damage


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "a.ckpt"
    torch.save({"weight": torch.arange(4096.0), "step": 3}, path)
    return path


def test_an_undamaged_file_passes(saved):
    assert archive_damage(saved) is None


@pytest.mark.parametrize("part", [0.0, 0.5, 0.99])
def test_a_half_written_file_is_found(saved, part):
    data = saved.read_bytes()
    saved.write_bytes(data[: int(part * len(data))])
    assert "no complete archive" in archive_damage(saved)


def test_one_flipped_bit_in_a_weight_is_found(saved):
    data = bytearray(saved.read_bytes())
    position = data.index(torch.arange(4096.0).numpy().tobytes()) + 5000
    data[position] ^= 1
    saved.write_bytes(data)
    torch.load(saved, weights_only=True)  # torch itself does not notice
    assert "checksum" in archive_damage(saved)


def test_a_missing_file_is_an_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError):
        archive_damage(tmp_path / "none.ckpt")
