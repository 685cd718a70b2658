"""The tree of `mint_ray/` from its own imports: which room reads which. Draws docs/images/tree.svg.

    python docs/tree.py

Imports inside functions count; those under TYPE_CHECKING do not. `tests/test_layout.py` holds the tree to this order.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Container, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1] / "mint_ray"
# From the ground up; a room reads those that stand before it.
ROOMS = (
    *("ground", "tasks", "corpora", "scorers", "rankings", "preferences", "alignment", "inference", "evaluation"),
    *("comparison", "reports", "client", "service", "synthetic", "top"),
)
GROUND = {"hpo", "notes", "recipes"}  # folders that are of the ground floor
TOP = {"__init__", "__main__", "adopt", "answer", "ask", "capacity", "command", "job", "reading", "readiness"}
BESIDE = {"likelihood": "tasks", "candidates": "scorers", "rounds": "inference"}  # files that belong to a room


def modules(root: Path = ROOT) -> dict[str, Path]:
    """The package's files by the name that they are imported by."""
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def graph(files: dict[str, Path]) -> dict[str, set[str]]:
    """What each file imports of the others."""
    return {name: (set(imports(path, files)) & files.keys()) - {name} for name, path in files.items()}


def imports(path: Path, files: Container[str]) -> Iterator[str]:
    """What a file imports; of `from a import b` it is `a.b` where that is one of the files, else `a`."""
    for node in nodes(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                yield whole if (whole := f"{node.module}.{alias.name}") in files else node.module


def nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes below, but for what is there for type checkers alone."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            for other in child.orelse:
                yield other
                yield from nodes(other)
            continue
        yield child
        yield from nodes(child)


def room(module: str) -> str:
    """The room that a module stands in."""
    first = module.split(".")[1] if "." in module else "__init__"
    if first in TOP:
        return "top"
    return first if first in ROOMS else BESIDE.get(first, "ground")


def read_as(module: str) -> str:
    """The room that a module is read as: `base.py` says what a room is, to the ground floor too."""
    return "ground" if module.endswith(".base") else room(module)


def upwards(found: dict[str, set[str]]) -> list[str]:
    """Imports that point up the tree."""
    return [
        f"{name} -> {other}"
        for name, others in found.items()
        for other in sorted(others)
        if ROOMS.index(read_as(other)) > ROOMS.index(room(name))
    ]


def circles(found: dict[str, set[str]]) -> list[list[str]]:
    """Files that import each other, straight or by others: what is left when all that lead nowhere are taken away."""
    left = {name: set(others) for name, others in found.items()}
    while ends := [name for name, others in left.items() if not others]:
        left = {name: others - set(ends) for name, others in left.items() if name not in ends}
    while starts := set(left) - {other for others in left.values() for other in others}:
        left = {name: others for name, others in left.items() if name not in starts}
    return [[name, *sorted(others)] for name, others in sorted(left.items())]


def arrows(found: dict[str, set[str]]) -> Counter[tuple[str, str]]:
    """How many imports lead from a room to another."""
    pairs = Counter((room(name), read_as(other)) for name, others in found.items() for other in others)
    return Counter({(one, other): count for (one, other), count in pairs.items() if one != other})


def draw(found: Counter[tuple[str, str]]) -> str:
    """An SVG: the rooms from top to bottom as the tree has them, arrows to what each reads, as thick as they are many."""
    order = [name for name in ROOMS if name not in ("ground", "top")]
    rows = ["ground", *order, "top"]
    place = {name: 40 + 46 * i for i, name in enumerate(rows)}
    parts = []
    for (one, other), count in sorted(found.items()):
        if "ground" in (one, other) or "top" in (one, other):
            continue  # everything reads the ground floor, and the top reads everything
        start, end = place[one], place[other]
        bow = 190 + 22 * (rows.index(one) - rows.index(other))
        width = 1 + min(count, 20) / 4
        parts.append(
            f'<path d="M 180 {start} C {bow} {start}, {bow} {end}, 184 {end}" fill="none" stroke="#4a6fa5" '
            f'stroke-width="{width:.2f}" stroke-opacity="0.55" marker-end="url(#tip)">'
            f"<title>{one} reads {other}: {count} imports</title></path>"
        )
    for name, y in place.items():
        said = {"ground": "ground floor: read by all", "top": "commands: read all"}.get(name, name)
        parts.append(f'<rect x="20" y="{y - 15}" width="160" height="30" rx="5" fill="#eef2f8" stroke="#4a6fa5"/>')
        parts.append(f'<text x="100" y="{y + 4}" text-anchor="middle">{said}</text>')
    height = max(place.values()) + 40
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 460 {height}" font-family="sans-serif" font-size="12">'
        '<defs><marker id="tip" markerWidth="6" markerHeight="6" refX="4" refY="2" orient="auto" '
        'markerUnits="userSpaceOnUse"><path d="M 0 0 L 5 2 L 0 4 z" fill="#4a6fa5"/></marker></defs>'
        '<rect width="100%" height="100%" fill="white"/>'
    )
    return "\n".join([head, *parts, "</svg>\n"])


if __name__ == "__main__":
    picture = ROOT.parent / "docs" / "images" / "tree.svg"
    picture.write_text(draw(arrows(graph(modules()))))
    print(picture)
