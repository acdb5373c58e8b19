"""Values that every client and host must send and return unchanged."""

import math

# Integers that JavaScript numbers cannot represent.
BIG_INTEGERS = (2**53 + 1, 2**63 - 1, -(2**63), 2**63, 2**64 - 1)

INTEGERS = (
    [0, 1, -1, 31, 32, -32, -33, 127, 128, 255, 256, -127, -128, -129]
    + [2**15 - 1, 2**15, -(2**15), -(2**15) - 1, 2**16 - 1, 2**16]
    + [2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 2**32 - 1, 2**32, 2**53 - 1, -(2**53) + 1]
)
FLOATS = [0.5, -0.25, 0.1, 1e300, -1e-300, 5e-324, math.pi, math.inf, -math.inf, math.nan]
# Lengths around each limit at which msgpack uses a longer length prefix.
LENGTHS = [0, 1, 15, 16, 31, 32, 255, 256, 65_535, 65_536]


def pattern(size, seed=0):
    """Return bytes whose pattern shows whether parts were shifted or repeated."""
    block = bytes((i * 7 + (i >> 8) + seed) % 256 for i in range(65_521))
    return (block * (size // len(block) + 1))[:size]


def plain():
    """Return named values of every plain kind."""
    yield "null", None
    yield "true", True
    yield "false", False
    for value in INTEGERS:
        yield f"integer {value}", value
    for value in FLOATS:
        yield f"float {value}", value
    for value in ("ascii", "Žluťoučký kůň", "漢字かな", "😀👩‍🔬", "a\0b", 'quote " \\ \n\t', "\u2028"):
        yield f"string {value!r}", value
    for size in LENGTHS:
        yield f"string of {size}", "x" * size
        yield f"bytes of {size}", pattern(size)
        yield f"list of {size}", [1] * size
    yield "non-ASCII string of 30000", "ř" * 30_000
    yield "every byte", bytes(range(256))
    for size in (0, 1, 15, 16, 300, 66_000):
        yield f"map of {size}", {f"key {i}": i for i in range(size)}
    yield "map with odd keys", {"": 1, "ключ": 2, "a b": 3, "a.b": 4, "_x": 5, "Camel": 6}
    yield "empty containers", {"list": [], "map": {}, "string": "", "bytes": b""}
    yield "nested", {
        "a": [1, -2.5, None, True, {"b": [[], [[b"\x00\xff"]], {"c": {}}]}],
        "d": {"e": {"f": ["g", {"h": False}]}},
    }
    deep = "bottom"
    for _ in range(30):
        deep = [{"down": deep}]
    yield "deep", deep


def difference(got, wanted, path="value"):
    """Return a message about the first difference, or None. 1 and 1.0 count as equal."""
    if isinstance(wanted, bool) or wanted is None or isinstance(wanted, (str, bytes)):
        same = type(got) is type(wanted) and got == wanted
    elif isinstance(wanted, (int, float)):
        number = isinstance(got, (int, float)) and not isinstance(got, bool)
        same = number and (got == wanted or (math.isnan(got) and math.isnan(wanted)))
    elif isinstance(wanted, list):
        if not isinstance(got, (list, tuple)) or len(got) != len(wanted):
            return f"{path}: wanted a list of {len(wanted)}, got {repr(got)[:200]}"
        found = (difference(g, w, f"{path}[{i}]") for i, (g, w) in enumerate(zip(got, wanted)))
        return next((text for text in found if text), None)
    else:
        if not isinstance(got, dict) or list(got) != list(wanted):
            return f"{path}: wanted a map with {list(wanted)[:20]}, got {repr(got)[:200]}"
        found = (difference(got[key], wanted[key], f"{path}.{key}") for key in wanted)
        return next((text for text in found if text), None)
    return None if same else f"{path}: wanted {repr(wanted)[:200]}, got {repr(got)[:200]}"
