"""The code's shape: lines a room, functions of more than 50 lines, functions that take a `Run`. Two trees beside each other.

python benchmarks/shape.py BEFORE [AFTER]     checkouts; AFTER is this one where it is not named
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from pathlib import Path

LONG = 50


def shape(root: Path) -> tuple[Counter[str], int, int]:
    """Lines by room (files of the top level together), and how many functions are long, and take a `Run`."""
    lines: Counter[str] = Counter()
    long = runs = 0
    for path in sorted((root / "mint_ray").rglob("*.py")):
        inner = path.relative_to(root / "mint_ray").parts
        text = path.read_text()
        lines[inner[0] if len(inner) > 1 else "(top level)"] += len(text.splitlines())
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                long += (node.end_lineno or 0) - node.lineno + 1 > LONG
                taken = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                runs += any(each.annotation is not None and "Run" in names(each.annotation) for each in taken)
    return lines, long, runs


def names(annotation: ast.expr) -> set[str]:
    return {node.id for node in ast.walk(annotation) if isinstance(node, ast.Name)}


if __name__ == "__main__":
    before, after = (shape(Path(each)) for each in [*sys.argv[1:], str(Path(__file__).parents[1])][:2])
    for room in sorted(before[0] | after[0]):
        print(f"{room:14} {before[0][room]:6} {after[0][room]:6}")
    print(f"{'all':14} {before[0].total():6} {after[0].total():6}")
    print(f"functions over {LONG} lines: {before[1]} -> {after[1]}; that take a Run: {before[2]} -> {after[2]}")
