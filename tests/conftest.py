"""Parts that several tests share."""

import os
import signal
import traceback
from pathlib import Path

import pytest
import torch

if "PYTEST_XDIST_WORKER" in os.environ:
    # A thread a process: more would wait for each other's cores. Processes that a test starts inherit it.
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)


#: Modules that take minutes, longest first. They start first, so that no process is left alone with one at the end.
LONGEST = (
    "slurm/test_slurm.py",
    "test_exact_resume.py",
    "test_lost_processes.py",
    "runs/test_small_sweeps.py",
    "runs/test_sweep_plan.py",
    "runs/test_caches.py",
    "metrics/test_evaluation.py",
    "commands/test_quickstart_text.py",
    "configs/test_full_size.py",
)


def pytest_collection_modifyitems(items):
    order = {Path(__file__).parent / name: position for position, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path, len(order)))


@pytest.fixture(scope="session")
def t5_folder(tmp_path_factory):
    """A two-layer random T5 with a text tokenizer, read through ``from_pretrained`` like any other."""
    from transformers import ByT5Tokenizer, T5Config, T5EncoderModel

    folder = tmp_path_factory.mktemp("t5")
    torch.manual_seed(0)
    config = T5Config(vocab_size=384, d_model=16, d_kv=8, num_heads=2, d_ff=32, num_layers=2)
    T5EncoderModel(config).save_pretrained(folder)
    ByT5Tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory):
    """A small random CLIP with its processor, read through ``from_pretrained`` like any other."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizer

    path = tmp_path_factory.mktemp("clip")
    letters = [chr(c) for c in range(97, 123)]
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    text_tokenizer = CLIPTokenizer(
        vocab={word: i for i, word in enumerate(words)}, merges=[], unk_token="<|endoftext|>", pad_token="<|endoftext|>"
    )
    size = {"height": 32, "width": 32}
    images = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=size)
    CLIPProcessor(images, text_tokenizer).save_pretrained(path)
    shared = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    end = len(words) - 1
    text = {
        **shared,
        "vocab_size": len(words),
        "max_position_embeddings": 32,
        "eos_token_id": end,
        "bos_token_id": end - 1,
    }
    vision = {**shared, "image_size": 32, "patch_size": 8}
    torch.manual_seed(3)  # of positive scores; a negative mean counts as 0
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)).save_pretrained(path)
    return path


def killed_at(point, function):
    """Run a function in a process of its own, which is killed (-9) at its n-th flush or rename of a file.

    Returns:
        Whether it was; otherwise the function came to its end.
    """
    pid = os.fork()
    if pid == 0:  # everything here ends in _exit: the child must not go on with the parent's tests
        try:
            torch.set_num_threads(1)  # threads do not survive a fork
            count = 0

            def deadly(call):
                def counted(*args, **kwargs):
                    nonlocal count
                    count += 1
                    if count == point:
                        os.kill(os.getpid(), signal.SIGKILL)
                    return call(*args, **kwargs)

                return counted

            os.fsync, os.replace = deadly(os.fsync), deadly(os.replace)
            function()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the process failed; its traceback is above"
    return os.WIFSIGNALED(status)


@pytest.fixture(scope="session")
def killed():
    return killed_at


@pytest.fixture(scope="session")
def contents():
    """The files of a folder, hidden ones too, with their bytes."""

    def read(folder):
        return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}

    return read
