"""Whether a zip archive, the format of ``torch.save``, is as it was written."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path


def archive_damage(path: str | Path) -> str | None:
    """What is wrong with an archive, or None: its table of contents is read and each record's CRC-32 compared.

    ``torch.save`` stores a CRC-32 with every record, but ``torch.load`` does not compare it: a flipped bit in a weight
    would be trained on. The file is read once, in pieces; nothing in it is unpickled.

    Raises:
        OSError: If the file cannot be read at all (missing, no permission, a failing disk).
    """
    try:
        with zipfile.ZipFile(path) as archive:
            record = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, UnicodeDecodeError) as error:
        return f"no complete archive ({error})"
    return None if record is None else f"the checksum of its record {record} is wrong"
