import pytest
import torch

from textok.models.caption_cache import CaptionCache

QUARTER = torch.zeros(64, 1024)  # 256 KiB


def test_forgets_what_was_not_asked_for_longest():
    cache = CaptionCache(1)
    for caption in "abcd":
        cache.put(caption, QUARTER)
    assert cache.get("a") is not None  # now "b" is the oldest
    cache.put("e", QUARTER)
    assert [caption in cache for caption in "abcde"] == [True, False, True, True, True]
    assert cache.get("b") is None
    assert cache.num_bytes == 4 * QUARTER.nbytes == cache.capacity


def test_the_same_caption_counts_once():
    cache = CaptionCache(1)
    cache.put("a", QUARTER)
    cache.put("a", QUARTER[:1])
    assert len(cache) == 1 and cache.num_bytes == QUARTER[:1].nbytes
    cache.clear()
    assert len(cache) == 0 and cache.num_bytes == 0


def test_keeps_a_copy_and_not_the_batch_behind_a_view():
    cache, batch = CaptionCache(1), torch.ones(4, 8, 16)
    cache.put("a", batch[1, :3])
    batch.zero_()
    assert torch.equal(cache.get("a"), torch.ones(3, 16))
    assert cache.get("a").untyped_storage().nbytes() == 3 * 16 * 4


def test_what_is_larger_than_the_memory_is_not_kept():
    cache = CaptionCache(1)
    cache.put("a", QUARTER)
    cache.put("huge", torch.zeros(5, 64, 1024))
    assert "a" in cache and "huge" not in cache
    off = CaptionCache(0)
    off.put("a", QUARTER)
    assert len(off) == 0


def test_negative_memory_is_refused():
    with pytest.raises(ValueError, match="-1"):
        CaptionCache(-1)
