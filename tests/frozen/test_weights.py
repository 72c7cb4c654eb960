from __future__ import annotations

from pathlib import Path
from urllib.error import URLError

import pytest
import torch

from textok.frozen.weights import find_weights, read_weights

URL = "https://example.org/models/net-0123abcd.pth"


def test_a_named_file_comes_before_the_hub_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cached = tmp_path / "hub" / "checkpoints" / "net-0123abcd.pth"
    cached.parent.mkdir(parents=True)
    cached.touch()
    assert find_weights("Net", URL) == cached
    named = tmp_path / "mine.pth"
    with pytest.raises(FileNotFoundError, match=rf"Net: there is no file .*mine\.pth; it is {URL}"):
        find_weights("Net", URL, named)
    named.touch()
    assert find_weights("Net", URL, named) == named


def test_what_is_missing_is_fetched_and_its_hash_checked(tmp_path, monkeypatch):
    asked = []

    def fetch(url: str, path: str, prefix: str, progress: bool) -> None:
        asked.append((url, prefix))
        Path(path).write_bytes(b"weights")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", fetch)
    assert find_weights("Net", URL).read_bytes() == b"weights"
    assert find_weights("Net", URL) == tmp_path / "hub" / "checkpoints" / "net-0123abcd.pth"
    assert asked == [(URL, "0123abcd")]


def test_without_a_network_the_error_says_what_where_and_how(tmp_path, monkeypatch):
    def unreachable(*args, **kwargs):
        raise URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", unreachable)
    with pytest.raises(FileNotFoundError, match=r"Net needs net-0123abcd\.pth.*checkpoints.*`weights`; do without\."):
        find_weights("Net", URL, instead="do without")


def test_files_without_weights(tmp_path):
    for name, value in {"a.pth": b"", "b.pth": b"garbage", "c.pth": b"\x80\x04."}.items():
        (tmp_path / name).write_bytes(value)
        with pytest.raises(ValueError, match=rf"{name} is damaged or holds no weights"):
            read_weights(tmp_path / name)
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    with pytest.raises(ValueError, match=r"list\.pth holds a list"):
        read_weights(tmp_path / "list.pth")
