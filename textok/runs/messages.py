"""What a parser says about a configuration, said to a person: which key, what is wrong, what was probably meant.

jsonargparse tells every type that a value could have had, and the whole value; for a nested configuration the one line
that matters is lost in it.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import re
from collections.abc import Iterable

#: Lines about alternatives that nobody chose ("or null") and repetitions of the value.
_NOISE = re.compile(
    r"Does not validate against|Subtypes: |Errors:$|Expected a <class 'NoneType'>|"
    r"Given value( type)?: |Expected a path but "
)
_FACTORY = re.compile(r"^Type collections\.abc\.Callable\[.*?\] expects a function or a callable class: ")
_VALUE = re.compile(r"\. Got value: (Namespace\(|NestedArg\(|\{).*$")
_KEY = re.compile(r'^(?:Parser )?[Kk]ey "(?P<key>[^"]+)":\s*')
_CLASS = re.compile(r"^Problem with given class_path '(?P<path>[^']+)':\s*")
_OPTION = re.compile(r"(?:Option|does not accept option) '(?P<key>[^']+)'")
_NO_CLASS = re.compile(r"module '(?P<module>[\w.]+)' has no attribute '(?P<name>\w+)'")
_NO_PATH = re.compile(r"Expected a dot import path string: (?P<name>[\w.]+)")


def explain(message: str) -> str:
    """The key and the reason of a parser's error in a line, with the nearest name where one is unknown."""
    keys: list[str] = []
    classes: list[str] = re.findall(r"class_path='([\w.]+)'", message)
    reasons: list[str] = []
    for line in message.splitlines():
        text = line.strip().removeprefix("- ")
        while found := _KEY.match(text) or _CLASS.match(text) or _FACTORY.match(text):
            named = found.groupdict()
            keys += [named["key"]] if "key" in named else []
            classes = [named["path"], *classes] if "path" in named else classes
            text = text[found.end() :]
        if text and not _NOISE.match(text):
            reasons.append(_VALUE.sub("", text))
    where = ".init_args.".join(keys)
    told = "; ".join(dict.fromkeys(_reworded(reason, classes[-1:]) for reason in reasons)) or "is not valid"
    return f"{where}: {told}" if where else told


def _reworded(reason: str, classes: list[str]) -> str:
    if found := _OPTION.search(reason):
        name = found["key"]
        if name.startswith("trainer."):
            classes = ["lightning.pytorch.Trainer"]
        known = [parameter for path in classes for parameter in _parameters(path)]
        owner = f" of {classes[0]}" if classes else ""
        return f"there is no key {name!r}{owner}{nearest(name.rpartition('.')[2], known)}"
    if found := _NO_CLASS.search(reason):
        known = [name for name in dir(importlib.import_module(found["module"])) if not name.startswith("_")]
        return f"there is no class {found['module']}.{found['name']}{nearest(found['name'], known)}"
    if found := _NO_PATH.search(reason):
        return f"there is no class {found['name']} here: give its full path, package.module.Class"
    return reason


def _parameters(path: str) -> list[str]:
    """The arguments of a class, as far as it can be imported."""
    module, _, name = path.rpartition(".")
    try:
        return list(inspect.signature(getattr(importlib.import_module(module), name)).parameters)
    except (ImportError, AttributeError, ValueError, TypeError):
        return []


def nearest(name: str, known: Iterable[str]) -> str:
    """What was probably meant, to be put behind a message; nothing where no name is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f": did you mean {near[0]}?" if near else ""


def cause(error: Exception) -> str:
    """An error's message; that of its cause where jsonargparse wraps what a class said about its arguments."""
    while str(error).startswith("Does not validate against") and error.__cause__ is not None:
        error = error.__cause__
    return str(error)
