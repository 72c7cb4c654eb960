"""WebDataset tars: pictures, captions and classes as members of the same name.

The tars are indexed once and then read at random, so their length is known, evaluation sees every sample once and a run
resumes at the picture where it stopped. Names and shard lists follow the webdataset library, whose streams promise none
of the three. Its own index is no help: that of ``wids``, which left the library with version 1.0, lists shards and
numbers of samples, not where in a shard they lie.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

from textok.datamodules.blobs import TarBlob
from textok.datamodules.caption_text import CAPTION_ENCODING, captions_of, first_line
from textok.datamodules.sources import SUFFIXES, Row, Skip, Source, inside
from textok.datamodules.tar_index import Contents, contents_of


class TarSource(Source):
    """WebDataset tars: jpg (or png, webp, …) with txt, json or cls of the same name, as img2dataset writes them.

    Needs webdataset: pip install "textok[webdataset]". The tars may not be compressed.

    Args:
        path: The tars; braces name many, as in "shards/{00000..00099}.tar", and so do * and ?.
        caption_field: Field of the json with a caption or a list of captions; it is read where there is no txt.
        categories: The cls member is the class.
        weight: Share of the training pictures that come from this source, relative to the other sources' weights.
        name: Put before the keys of this source, which keeps those of several sources apart.
    """

    def __init__(
        self,
        path: str,
        caption_field: str = "caption",
        categories: bool = False,
        weight: float | None = None,
        name: str = "",
    ) -> None:
        super().__init__(weight, name)
        self.path = path
        self.caption_field = caption_field
        self.categories = categories

    def rows(self, skip: Skip) -> Iterator[Row]:
        try:
            from webdataset.shardlists import expand_urls
            from webdataset.tariterators import base_plus_ext
        except ImportError as error:
            raise ImportError('WebDataset tars need webdataset: pip install "textok[webdataset]"') from error
        shards: list[Path] = []
        for name in expand_urls(str(self.path)):
            pattern = Path(name)
            wild = "*" in pattern.name or "?" in pattern.name
            found = sorted(pattern.parent.glob(pattern.name)) if wild else [pattern]
            if not found or not found[0].is_file():
                raise FileNotFoundError(f"there is no tar {pattern}: check the paths of the data section")
            shards += found

        def scan(shard: Path) -> Contents:
            contents = Contents([], [])
            contents.rows.extend(
                self._rows_of(shard, base_plus_ext, lambda name, reason: contents.skipped.append((name, reason)))
            )
            return contents

        reads = {"caption_field": self.caption_field, "categories": self.categories}
        for contents in contents_of(shards, reads, scan):
            for name, reason in contents.skipped:
                skip(name, reason)
            yield from contents.rows

    def _rows_of(
        self, shard: Path, split_name: Callable[[str], tuple[str | None, str | None]], skip: Skip
    ) -> Iterator[Row]:
        sample: dict[str, tarfile.TarInfo] = {}
        key = None
        try:
            with tarfile.open(shard, "r:") as tar:
                for member in tar:
                    if not member.isfile():
                        continue
                    if not inside(member.name):
                        skip(f"{shard.name}/{member.name}", "the name of the member leads out of the tar")
                        continue
                    stem, suffix = split_name(member.name)
                    if stem is None:
                        continue  # webdataset leaves members without a suffix out, too
                    if stem != key:
                        yield from self._row(tar, shard, key, sample, skip)
                        key, sample = stem, {}
                    if suffix.lower() in sample:
                        skip(f"{shard.name}/{member.name}", "the member is there twice")
                        continue
                    sample[suffix.lower()] = member
                yield from self._row(tar, shard, key, sample, skip)
                check_end(tar, shard)
        except (tarfile.TarError, EOFError) as error:
            raise ValueError(
                f"{shard} is not a whole, uncompressed tar ({error}): unpack it with gunzip or fetch it again"
            ) from error

    def _row(
        self, tar: tarfile.TarFile, shard: Path, stem: str | None, sample: dict[str, tarfile.TarInfo], skip: Skip
    ) -> Iterator[Row]:
        if stem is None:
            return
        # Names start anew in each shard of some sets, so the shard belongs to the key.
        key = f"{shard.stem}/{stem}"
        pictures = [suffix for suffix in sample if f".{suffix}" in SUFFIXES]
        if len(pictures) != 1:
            skip(key, f"it has {len(pictures)} pictures, not one: its members are {sorted(sample)}")
            return
        try:
            captions, category = self._texts(tar, sample)
        except UnicodeDecodeError as error:
            skip(key, f"its caption is not {CAPTION_ENCODING} (byte {error.start})")
            return
        except ValueError as error:
            skip(key, str(error))
            return
        member = sample[pictures[0]]
        yield Row(key, TarBlob(str(shard), member.offset_data, member.size), captions, category)

    def _texts(self, tar: tarfile.TarFile, sample: dict[str, tarfile.TarInfo]) -> tuple[tuple[str, ...], str]:
        captions: tuple[str, ...] = ()
        if "txt" in sample:
            captions = first_line(tar.extractfile(sample["txt"]).read())
        elif "json" in sample:
            fields = json.loads(tar.extractfile(sample["json"]).read().decode(CAPTION_ENCODING))
            if not isinstance(fields, dict):
                raise ValueError("its json is not an object")
            captions = captions_of(fields.get(self.caption_field))
        if not self.categories:
            return captions, ""
        if "cls" not in sample:
            raise ValueError("it has no cls member, so it has no class")
        return captions, tar.extractfile(sample["cls"]).read().decode("ascii").strip()


def check_end(tar: tarfile.TarFile, shard: Path) -> None:
    """Refuse a tar that was cut: tarfile takes a header that it cannot read for the end.

    Raises:
        tarfile.ReadError: If there is anything but zeros where the members end, or less than they need.
    """
    with shard.open("rb") as file:
        file.seek(tar.offset)
        rest = file.read(tarfile.BLOCKSIZE)
    if tar.offset > shard.stat().st_size or len(rest) % tarfile.BLOCKSIZE or rest.strip(b"\0"):
        raise tarfile.ReadError(f"it is damaged at byte {tar.offset}")
