"""The text of captions as files hold it."""

from __future__ import annotations

#: What captions are stored in; a byte order mark is allowed.
CAPTION_ENCODING = "utf-8"


def first_line(data: bytes) -> tuple[str, ...]:
    """The caption in a text file: its first line, without spaces around it; none if that is empty.

    Raises:
        UnicodeDecodeError: If it is not UTF-8.
    """
    # Only the first line is decoded: the others, translations perhaps, are not ours to judge.
    line = data.removeprefix(b"\xef\xbb\xbf").splitlines()[:1]
    return captions_of(line[0].decode(CAPTION_ENCODING)) if line else ()


def captions_of(value: object) -> tuple[str, ...]:
    """One caption or a list of them as a tuple; empty ones are left out.

    Raises:
        ValueError: If it is neither text nor a list of texts.
    """
    if value is None:
        return ()
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not all(isinstance(text, str) for text in values):
        raise ValueError(f"a caption must be text or a list of texts, got {str(value)[:60]!r}")
    return tuple(text for text in (" ".join(text.split()) for text in values) if text)
