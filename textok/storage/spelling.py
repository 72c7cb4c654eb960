"""Numbers that JSON has no word for, and schedulers of diffusers have as defaults."""

from __future__ import annotations

import math
from typing import Any

_NOT_FINITE = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}


def spelled(value: Any) -> Any:
    """A configuration as JSON can hold it: infinities and NaN become words."""
    if isinstance(value, dict):
        return {name: spelled(each) for name, each in value.items()}
    if isinstance(value, list):
        return [spelled(each) for each in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def unspelled(value: Any) -> Any:
    """The inverse of ``spelled``; a string that is one of the words becomes its number."""
    if isinstance(value, dict):
        return {name: unspelled(each) for name, each in value.items()}
    if isinstance(value, list):
        return [unspelled(each) for each in value]
    return _NOT_FINITE.get(value, value) if isinstance(value, str) else value
