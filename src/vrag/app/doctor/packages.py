"""Which versions are installed, and which extras are whole; by the metadata of packages, without importing them."""

from __future__ import annotations

import operator
import re
from importlib import metadata

from vrag import __version__
from vrag.types import Frozen

_REQUIREMENT = re.compile(r"^(?P<name>[\w.-]+)(?:\[(?P<extras>[\w,.-]+)\])?\s*(?P<bounds>[^;]*)")
_BOUNDS = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "==": operator.eq,
    "!=": operator.ne,
}
_EXTRA = re.compile(r"""extra\s*==\s*['"]([\w-]+)['"]""")


class Extra(Frozen):
    """An extra of vrag: the versions of what it needs that is there, and what is missing or too old."""

    name: str
    have: dict[str, str]
    missing: list[str]


def packages() -> dict[str, str]:
    """Versions of vrag and of what it always needs."""
    needed = [name for name, _, extra in _requirements() if extra is None]
    return {"vrag": __version__, **{name: version for name in needed if (version := _version(name))}}


def extras() -> list[Extra]:
    found: dict[str, Extra] = {}
    for name, bounds, extra in _requirements():
        if extra is None:
            continue
        one = found.setdefault(extra, Extra(name=extra, have={}, missing=[]))
        version = _version(name)
        if version is None or not satisfies(version, bounds):
            one.missing.append(f"{name}{bounds}" + (f" (has {version})" if version else ""))
        else:
            one.have[name] = version
    return sorted(found.values(), key=lambda one: one.name)


def missing_of(extra: str) -> list[str]:
    """What an extra lacks here."""
    return next((one.missing for one in extras() if one.name == extra), [])


def satisfies(version: str, bounds: str) -> bool:
    """Whether the release of a version lies within bounds such as ">=1.99.1,<4"."""
    named = re.findall(r"(>=|<=|==|!=|>|<)\s*([\d.]+)", bounds)
    return all(_BOUNDS[sign](_numbers(version), _numbers(bound)) for sign, bound in named)


def _numbers(version: str) -> tuple[int, ...]:
    """Of a release, without zeros at its end: 5.0 is 5.0.0."""
    release = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, re.sub(r"(\.0+)+$", "", release[0]).split("."))) if release else ()


def _requirements() -> list[tuple[str, str, str | None]]:
    """(name, bounds, extra) of each requirement; an extra that names another one has what that has."""
    rows: list[tuple[str, str, str | None]] = []
    nested: list[tuple[str, str]] = []
    for line in _metadata():
        found, extra = _REQUIREMENT.match(line), _EXTRA.search(line)
        if found is None:
            continue
        named = extra[1] if extra else None
        if found["name"] == "vrag" and named and found["extras"]:
            nested += [(named, other) for other in found["extras"].split(",")]
        else:
            rows.append((found["name"], found["bounds"].strip(), named))
    return rows + [(name, bounds, outer) for outer, inner in nested for name, bounds, extra in rows if extra == inner]


def _metadata() -> list[str]:
    """Nothing where vrag runs from its source without being installed."""
    try:
        return metadata.requires("vrag") or []
    except metadata.PackageNotFoundError:
        return []


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
