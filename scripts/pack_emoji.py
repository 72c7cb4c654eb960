"""Rebuild textok/datamodules/data/emoji from the two npm packages that the emoji come from.

    npm pack @lobehub/fluent-emoji-3d@1.1.0        # 15.8 MB: the pictures, MIT
    npm pack emoji-datasource-google@16.0.0        # names and categories (emoji.json), MIT
    python scripts/pack_emoji.py lobehub-fluent-emoji-3d-1.1.0.tgz emoji-datasource-google-16.0.0.tgz

Either argument may also be the unpacked ``package`` folder. Left out are flags, skin tones and emoji without a picture;
1,599 remain. The result is one lossless webp sheet, read row by row, and an index in the order of the sheet.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import re
import tarfile
from collections.abc import Callable
from pathlib import Path

from PIL import Image

SIZE = 64
COLUMNS = 40
NUM_EMOJI = 1599
NUM_HELD_OUT = 160
FOLDER = Path(__file__).resolve().parents[1] / "textok" / "datamodules" / "data" / "emoji"

# What each subcategory is called in a caption: "a … emoji".
PHRASES = {
    "alphanum": "letter and number sign",
    "animal-amphibian": "amphibian",
    "animal-bird": "bird",
    "animal-bug": "bug",
    "animal-mammal": "mammal",
    "animal-marine": "sea animal",
    "animal-reptile": "reptile",
    "arrow": "arrow",
    "arts & crafts": "arts and crafts",
    "av-symbol": "audio and video button",
    "award-medal": "award",
    "body-parts": "body part",
    "book-paper": "book and paper",
    "cat-face": "cat face",
    "clothing": "clothing",
    "computer": "computer",
    "currency": "currency sign",
    "dishware": "dishware",
    "drink": "drink",
    "emotion": "emotion",
    "event": "event",
    "face-affection": "loving face",
    "face-concerned": "worried face",
    "face-costume": "costumed face",
    "face-glasses": "face with glasses",
    "face-hand": "face with hand",
    "face-hat": "face with hat",
    "face-negative": "angry face",
    "face-neutral-skeptical": "neutral face",
    "face-sleepy": "sleepy face",
    "face-smiling": "smiling face",
    "face-tongue": "face with tongue",
    "face-unwell": "unwell face",
    "family": "family",
    "food-asian": "Asian food",
    "food-fruit": "fruit",
    "food-prepared": "prepared food",
    "food-sweet": "sweet food",
    "food-vegetable": "vegetable",
    "game": "game",
    "gender": "gender sign",
    "geometric": "geometric shape",
    "hand-fingers-closed": "closed hand",
    "hand-fingers-open": "open hand",
    "hand-fingers-partial": "hand sign",
    "hand-prop": "hand with prop",
    "hand-single-finger": "pointing finger",
    "hands": "hands",
    "heart": "heart",
    "hotel": "hotel",
    "household": "household",
    "keycap": "keycap",
    "light & video": "light and video",
    "lock": "lock",
    "mail": "mail",
    "math": "math sign",
    "medical": "medical",
    "money": "money",
    "monkey-face": "monkey face",
    "music": "music",
    "musical-instrument": "musical instrument",
    "office": "office",
    "other-object": "object",
    "other-symbol": "symbol",
    "person": "person",
    "person-activity": "person in action",
    "person-fantasy": "fantasy person",
    "person-gesture": "gesturing person",
    "person-resting": "resting person",
    "person-role": "person at work",
    "person-sport": "person doing sport",
    "person-symbol": "person sign",
    "phone": "phone",
    "place-building": "building",
    "place-geographic": "landscape",
    "place-map": "map",
    "place-other": "place",
    "place-religious": "religious building",
    "plant-flower": "flower",
    "plant-other": "plant",
    "punctuation": "punctuation mark",
    "religion": "religious sign",
    "science": "science",
    "sky & weather": "sky and weather",
    "sound": "sound",
    "sport": "sport",
    "time": "time",
    "tool": "tool",
    "transport-air": "air transport",
    "transport-ground": "land transport",
    "transport-sign": "transport sign",
    "transport-water": "water transport",
    "warning": "warning sign",
    "writing": "writing",
    "zodiac": "zodiac sign",
}

# Unicode's names of these are long, or tell of code points and not of what one sees.
NAMES = {
    "1f502": "clockwise circle arrows with circled one",
    "1f501": "clockwise rightwards and leftwards circle arrows",
    "1f503": "clockwise vertical circle arrows",
    "1f504": "anticlockwise circle arrows",
    "1f51b": "on with exclamation mark and left right arrow",
    "1f61d": "tongue out and eyes tightly closed",
    "1f61c": "tongue out and winking eye",
    "1f970": "smiling face with three hearts",
    "1f92d": "smiling face with hand covering mouth",
    "1f606": "smiling face with open mouth and closed eyes",
    "1f92a": "grinning face with one large eye",
    "1f22f": "japanese reserved sign",
    "1f21a": "japanese free of charge sign",
    "1f232": "japanese prohibited sign",
    "1f233": "japanese vacancy sign",
    "1f234": "japanese passing grade sign",
    "1f235": "japanese no vacancy sign",
    "1f236": "japanese not free of charge sign",
    "1f237-fe0f": "japanese monthly amount sign",
    "1f238": "japanese application sign",
    "1f239": "japanese discount sign",
    "1f23a": "japanese open for business sign",
    "1f250": "japanese bargain sign",
    "1f251": "japanese acceptable sign",
    "3297-fe0f": "japanese congratulations sign",
    "3299-fe0f": "japanese secret sign",
    "1f201": "japanese here sign",
    "1f202-fe0f": "japanese service charge sign",
}

LICENSE = """\
The pictures are Microsoft's Fluent Emoji (3D), as packed in the npm package @lobehub/fluent-emoji-3d 1.1.0.
Names and categories are from the npm package emoji-datasource-google 16.0.0 (emoji-data).
All three are under the MIT licence:

Fluent Emoji: Copyright (c) Microsoft Corporation. https://github.com/microsoft/fluentui-emoji
The npm package of the pictures: Copyright (c) 2023 LobeHub. https://github.com/lobehub/fluent-emoji
emoji-data: Copyright (c) 2013 Cal Henderson. https://github.com/iamcal/emoji-data

MIT License

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
"""


def open_package(path: Path) -> tuple[set[str], Callable[[str], bytes]]:
    """The file names of an npm package, folder or tgz, and a function that reads one of them."""
    if path.is_dir():
        names = {str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()}
        return names, lambda name: (path / name).read_bytes()
    archive = tarfile.open(path)  # noqa: SIM115 - the returned function reads from it
    names = {member.name.removeprefix("package/") for member in archive.getmembers() if member.isfile()}
    return names, lambda name: archive.extractfile(f"package/{name}").read()


def clean_name(name: str) -> str:
    """ "WOMANS HAT" → "woman's hat"."""
    name = re.sub(r"\b((?:wo)?man|men)s\b", r"\1's", name.lower().replace("_", " ").replace("&", "and"))
    return re.sub(r"\s+", " ", name).strip()


def thumbnail(data: bytes) -> Image.Image:
    """A picture on white, 64 × 64; one that is not square keeps its proportions."""
    picture = Image.open(io.BytesIO(data)).convert("RGBA")
    side = max(picture.size)
    canvas = Image.new("RGBA", (side, side), "white")
    canvas.alpha_composite(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    return canvas.convert("RGB").resize((SIZE, SIZE), Image.Resampling.LANCZOS)


def held_out(codepoints: dict[str, str]) -> set[str]:
    """A tenth of the emoji by the hash of their code points; each subcategory keeps at least one to train on.

    Args:
        codepoints: Code points of an emoji → its subcategory.
    """
    ranked = sorted(codepoints, key=lambda code: hashlib.sha256(code.encode()).hexdigest())
    kept: set[str] = set()
    candidates = []
    for code in reversed(ranked):
        if codepoints[code] in kept:
            candidates.append(code)
        kept.add(codepoints[code])
    return set(candidates[-NUM_HELD_OUT:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path, help="@lobehub/fluent-emoji-3d 1.1.0, tgz or folder")
    parser.add_argument("names", type=Path, help="emoji-datasource-google 16.0.0, tgz or folder")
    parser.add_argument("--output", type=Path, default=FOLDER)
    args = parser.parse_args()

    files, read_picture = open_package(args.pictures)
    _, read_names = open_package(args.names)
    table = sorted(json.loads(read_names("emoji.json")), key=lambda row: row["sort_order"])
    emoji = {
        row["unified"].lower(): row
        for row in table
        if row["category"] not in ("Component", "Flags") and f"assets/{row['unified'].lower()}.webp" in files
    }
    if len(emoji) != NUM_EMOJI:
        raise SystemExit(f"{len(emoji)} emoji instead of {NUM_EMOJI}: are these the two versions named above?")

    sheet = Image.new("RGB", (COLUMNS * SIZE, -(-NUM_EMOJI // COLUMNS) * SIZE), "white")
    for number, code in enumerate(emoji):
        row, column = divmod(number, COLUMNS)
        sheet.paste(thumbnail(read_picture(f"assets/{code}.webp")), (column * SIZE, row * SIZE))
    unseen = held_out({code: row["subcategory"] for code, row in emoji.items()})
    subcategories = {row["subcategory"]: row["category"] for row in emoji.values()}

    args.output.mkdir(parents=True, exist_ok=True)
    sheet.save(args.output / "emoji.webp", lossless=True, quality=90, method=4)
    # One emoji a line keeps the file small and its changes readable.
    rows = (
        [code, NAMES.get(code, clean_name(row["name"])), row["subcategory"], int(code in unseen)]
        for code, row in emoji.items()
    )
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    head = {
        "size": SIZE,
        "columns": COLUMNS,
        "fields": ["codepoints", "name", "subcategory", "held_out"],
        "subcategories": {
            name: {"category": subcategories[name], "phrase": PHRASES[name]} for name in sorted(subcategories)
        },
    }
    text = json.dumps(head, indent=1)[:-2] + ',\n "emoji": [\n  ' + ",\n  ".join(lines) + "\n ]\n}\n"
    (args.output / "emoji.json").write_text(text, encoding="utf-8")
    (args.output / "LICENSE.txt").write_text(LICENSE, encoding="utf-8")
    print(f"{len(emoji)} emoji, {len(unseen)} held out, {len(subcategories)} subcategories in {args.output}")


if __name__ == "__main__":
    main()
