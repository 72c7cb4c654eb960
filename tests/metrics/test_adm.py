"""ADM's npz files."""

import numpy as np
import pytest
import torch

from textok.metrics import (
    DistributionMetrics,
    ReferenceCollector,
    adm_reference,
    count_adm_images,
    read_adm_images,
    read_adm_statistics,
    write_adm,
)


def statistics(dim, seed):
    x = np.random.RandomState(seed).randn(dim + 5, dim)
    return x.mean(axis=0), np.cov(x, rowvar=False)


def test_samples_are_what_numpy_reads_and_come_back(pictures, tmp_path):
    images = pictures(11, seed=0, size=16)
    path = tmp_path / "samples.npz"
    write_adm(path, images.split(4), count=11)
    with np.load(path, allow_pickle=False) as file:
        assert file.files == ["arr_0"]
        assert np.array_equal(file["arr_0"], images.permute(0, 2, 3, 1).numpy())
    assert count_adm_images(path) == 11
    batches = list(read_adm_images(path, batch_size=4))
    assert [len(batch) for batch in batches] == [4, 4, 3] and torch.equal(torch.cat(batches), images)


def test_what_numpy_wrote_is_read(pictures, tmp_path):
    images = pictures(3, seed=0, size=16)
    for write in (np.savez, np.savez_compressed):
        write(tmp_path / "a.npz", images.permute(0, 2, 3, 1).numpy())
        assert torch.equal(torch.cat(list(read_adm_images(tmp_path / "a.npz"))), images)
    assert read_adm_statistics(tmp_path / "a.npz") == {}


def test_a_reference_batch_gives_its_statistics_and_its_images_features(inception, pictures, tmp_path):
    images = pictures(5, seed=0, size=32)
    (mu, sigma), (mu_s, sigma_s) = statistics(2048, 0), statistics(2023, 1)
    path = tmp_path / "VIRTUAL.npz"
    arrays = {"mu": mu, "sigma": sigma, "mu_s": mu_s, "sigma_s": sigma_s}
    np.savez(path, images.permute(0, 2, 3, 1).numpy(), **arrays)
    reference = adm_reference(path, ReferenceCollector(inception), batch_size=3)
    np.testing.assert_array_equal(reference.features.gaussians["2048"].covariance, sigma)
    np.testing.assert_array_equal(reference.features.gaussians["spatial"].mean, mu_s)
    torch.testing.assert_close(reference.features.rows["2048"], inception(images)["2048"], rtol=1e-4, atol=1e-4)
    metrics = DistributionMetrics(inception)
    metrics.check(reference)
    told = metrics.conventions(reference)["reference"]
    assert told["file"] == "VIRTUAL.npz" and told["statistics"] == "the file's 2048, spatial"


def test_statistics_are_of_inception_and_of_no_other_network(lite0, pictures, tmp_path):
    mu, sigma = statistics(2048, 0)
    path = tmp_path / "VIRTUAL.npz"
    np.savez(path, pictures(5, seed=0, size=32).permute(0, 2, 3, 1).numpy(), mu=mu, sigma=sigma)
    reference = adm_reference(path, ReferenceCollector(lite0))
    assert reference.features.gaussians.keys() == {"pooled"} and reference.features.count == 5


def test_files_that_cannot_be_read(pictures, tmp_path):
    path = tmp_path / "a.npz"
    with pytest.raises(FileNotFoundError, match=r"a\.npz"):
        list(read_adm_images(path))
    path.write_bytes(b"not a zip")
    with pytest.raises(ValueError, match=r"a\.npz is not an npz file or is damaged"):
        list(read_adm_images(path))
    np.savez(path, other=np.zeros(3))
    with pytest.raises(ValueError, match=r"holds no arr_0, only other\.npy"):
        list(read_adm_images(path))
    np.savez(path, np.zeros((2, 8, 8, 3)))
    with pytest.raises(ValueError, match=r"must be uint8 \(N, H, W, 3\) images, it is float64 \(2, 8, 8, 3\)"):
        count_adm_images(path)
    np.savez(path, np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match="arr_0"):
        list(read_adm_images(path))
    np.savez(path, mu=np.array([{"a": 1}], dtype=object), sigma=np.zeros((1, 1)))
    with pytest.raises(ValueError, match="damaged at mu"):
        read_adm_statistics(path)
    np.savez(path, mu=np.zeros(3), sigma=np.zeros((2, 2)))
    with pytest.raises(ValueError, match=r"mu \(3,\) and sigma \(2, 2\) do not fit"):
        read_adm_statistics(path)
    np.savez(path, mu=np.zeros(3))
    with pytest.raises(ValueError, match="mu without sigma"):
        read_adm_statistics(path)


def test_a_changed_byte_of_an_image_is_noticed(pictures, tmp_path):
    path = tmp_path / "a.npz"
    write_adm(path, [pictures(4, seed=0, size=32)], count=4)
    data = bytearray(path.read_bytes())
    data[2000] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match="images break off or were changed"):
        list(read_adm_images(path))


def test_samples_that_cannot_be_written_leave_no_file(pictures, tmp_path):
    images = pictures(4, seed=0, size=16)
    for batches, count, match in (
        ([images], 5, "4 samples where 5 were announced"),
        ([images.float()], 4, r"uint8 \(B, 3, H, W\), got torch\.float32"),
        ([images, images[..., :8]], 8, r"a sample of \(16, 8\) after samples of \(16, 16\)"),
    ):
        with pytest.raises(ValueError, match=match):
            write_adm(tmp_path / "a.npz", batches, count)
        assert not list(tmp_path.iterdir())
