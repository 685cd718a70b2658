"""The configurations that ship with the package, one YAML file each, known by name: `demo`, `demo_tissue`, ..."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent


def names() -> list[str]:
    """The recipes by name."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def title(name: str) -> str:
    """What a recipe says of itself in its first line."""
    return recipe(name).read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")


def recipe(name: str) -> Path:
    """The file of a recipe.

    Raises:
        ConfigError: there is none by that name; the nearest is named.
    """
    if name in names():
        return FOLDER / f"{name}.yaml"
    import difflib

    from mint_ray.errors import ConfigError

    near = difflib.get_close_matches(name, names(), n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}? There are" if near else "there are"
    raise ConfigError([f"{name}: is no recipe; {hint} {', '.join(names())}. Or name a YAML file"])


def settings_file(named: str) -> Path:
    """What a command means by its CONFIG: a file by its path, else a recipe by its name.

    Raises:
        ConfigError: it is written as a recipe's name, and there is none.
    """
    path = Path(named)
    if path.suffix in (".yaml", ".yml") or len(path.parts) > 1 or path.exists():
        return path
    return recipe(named)
