"""What becomes of pictures of every kind, the table in docs/data.md has the rest."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from textok.datamodules import ADMCrop, BadImage, Decoder
from textok.datamodules.transforms import fit_square


def encoded(image, form="PNG", **options):
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


@pytest.fixture(scope="module")
def photo():
    from skimage.data import astronaut

    return Image.fromarray(astronaut()).resize((500, 375))


def both(data, decoder=None):
    """Evaluation's and training's reading."""
    decoder = decoder or Decoder()
    return decoder.exact(data, "picture"), decoder.fast(data, "picture", 375)


def test_grey_palette_cmyk_and_alpha_become_rgb(photo):
    plain = torch.from_numpy(np.array(photo)).permute(2, 0, 1)
    for image, form, close in (
        (photo, "PNG", 0),
        (photo, "JPEG", 4),
        (photo.convert("CMYK"), "JPEG", 8),
        (photo.quantize(256), "GIF", 8),
        (photo.convert("RGBA"), "WEBP", 8),
    ):
        for read in both(encoded(image, form)):
            assert read.shape == (3, 375, 500) and read.dtype == torch.uint8
            assert (read.float() - plain.float()).abs().mean() <= close
    for read in both(encoded(photo.convert("L"), "JPEG")):
        assert torch.equal(read[0], read[1]) and torch.equal(read[0], read[2]) and read.float().std() > 30


def test_transparent_is_white_and_sixteen_bits_keep_their_upper_half():
    clear = Image.new("RGBA", (4, 2), (255, 0, 0, 0))
    assert (Decoder().exact(encoded(clear), "clear") == 255).all()
    half = Decoder().exact(encoded(Image.new("RGBA", (4, 2), (255, 0, 0, 128))), "half")
    assert half[0].eq(255).all() and (half[1:].float() - 127).abs().max() <= 1
    levels = (np.arange(256, dtype=np.uint16) * 257).reshape(16, 16)
    read = Decoder().exact(encoded(Image.fromarray(levels)), "deep")
    assert torch.equal(read[0], torch.arange(256, dtype=torch.uint8).view(16, 16))


@pytest.mark.parametrize("shorter_side", [10, 40])
def test_exif_orientation_turns_the_picture_or_is_ignored(shorter_side):
    image = Image.fromarray(np.tile(np.linspace(0, 255, 60, dtype=np.uint8)[None, :, None], (40, 1, 3)))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it rotated by 90° clockwise
    data = encoded(image, "JPEG", exif=exif)
    for read in (Decoder().exact(data, "turned"), Decoder().fast(data, "turned", shorter_side)):
        assert read.shape[1] > read.shape[2] and read[0, -1].float().mean() > read[0, 0].float().mean() + 200
    assert Decoder(upright=False).exact(data, "stored").shape == (3, 40, 60)
    assert Decoder(upright=False).fast(data, "stored", 40).shape == (3, 40, 60)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (lambda photo: b"", "no bytes"),
        (lambda photo: b"<html>not found</html>", "cannot identify"),
        (lambda photo: encoded(photo, "JPEG")[:9000], "truncated"),
        (lambda photo: encoded(photo, "PNG")[:9000], "truncated"),
        (lambda photo: encoded(Image.new("1", (4000, 4000))), "4000 x 4000 pixels are more than max_pixels"),
        (lambda photo: encoded(Image.fromarray(np.zeros((4, 4), np.float32)), "TIFF"), "floating-point"),
    ],
    ids=["empty", "html", "truncated jpeg", "truncated png", "bomb", "float"],
)
def test_a_picture_that_cannot_be_read_is_named_with_the_reason(photo, data, reason):
    decoder, limit = Decoder(max_pixels=10_000_000), Image.MAX_IMAGE_PIXELS
    for read in (decoder.exact, lambda data, key: decoder.fast(data, key, 300)):
        with pytest.raises(BadImage, match=rf"^folder/name\.jpg: .*{reason}") as caught:
            read(data(photo), "folder/name.jpg")
        assert "\n" not in str(caught.value)
    assert limit == Image.MAX_IMAGE_PIXELS


def test_training_reads_large_jpegs_reduced_and_hardly_different(photo):
    large = encoded(photo.resize((2000, 1500), Image.Resampling.BICUBIC), "JPEG", quality=90)
    whole, reduced = Decoder().exact(large, "large"), Decoder().fast(large, "large", 320)
    assert whole.shape == (3, 1500, 2000) and reduced.shape == (3, 375, 500)
    one, two = (ADMCrop()(read, 256).float() for read in (whole, reduced))
    assert (one - two).abs().mean() < 2


@pytest.mark.parametrize("size", [(500, 375), (2000, 1500)])
def test_training_s_square_is_within_two_levels_of_adm_s(photo, size):
    data = encoded(photo.resize(size, Image.Resampling.BICUBIC), "JPEG", quality=90)
    adm = ADMCrop()(Decoder().exact(data, "picture"), 256)
    read = Decoder().fast(data, "picture", 320)
    mine = fit_square(read, 256)
    assert (mine.float() - adm.float()).abs().mean() < 2
    assert torch.equal(mine, fit_square(read.contiguous(), 256)) and mine.is_contiguous()


def test_an_orientation_that_only_xmp_tells_counts_in_training_too():
    image = Image.fromarray(np.tile(np.linspace(0, 255, 60, dtype=np.uint8)[None, :, None], (40, 1, 3)))
    xmp = b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/>'
    data = encoded(image, "JPEG", xmp=xmp)
    assert Decoder().fast(data, "turned", 40).shape == Decoder().exact(data, "turned").shape == (3, 60, 40)


@pytest.mark.parametrize("size", [(500, 375), (375, 500), (256, 256), (513, 1031), (100, 300), (1, 1)])
def test_adm_s_crop_is_equal_bit_by_bit(photo, size):
    image = photo.resize(size)
    # guided-diffusion's published steps, with PIL alone.
    reference = image
    while min(*reference.size) >= 512:
        reference = reference.resize(tuple(x // 2 for x in reference.size), resample=Image.BOX)
    scale = 256 / min(*reference.size)
    reference = reference.resize(tuple(round(x * scale) for x in reference.size), resample=Image.BICUBIC)
    left, top = ((side - 256) // 2 for side in reference.size)
    expected = np.array(reference.crop((left, top, left + 256, top + 256)))
    mine = ADMCrop()(Decoder().exact(encoded(image), "picture"), 256)
    assert np.array_equal(mine.permute(1, 2, 0).numpy(), expected)
