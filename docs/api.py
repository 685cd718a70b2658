"""Make docs/api.md from the docstrings of the public face: `python docs/api.py`."""

import inspect
import re
from pathlib import Path
from typing import Any

import mint_ray

PAGE = Path(__file__).parent / "api.md"
PARTS = {
    "Read a run": (
        "open_run",
        "Run",
        "read_cases",
        "read_rankings",
        "read_pairs",
        "read_answers",
        "read_metrics",
        "to_dataset",
    ),
    "Cases and scorers": ("Case", "Phenotype", "Label", "load_scorer", "rank_case"),
    "Loss and metrics": ("orpo_loss", "published_metrics", "grounded_metrics", "bootstrap"),
    "Ask a served scorer": ("ScorerClient", "AsyncScorerClient", "QueryCase"),
    "Settings, parts of your own, errors": ("load_config", "Task", "Corpus", "ScorerSection", "MintError"),
}
HEAD = """# The public face

What `import mint_ray` offers. These names stay as they are within a minor version; everything else may change. Made from
the docstrings by `docs/api.py`.

```python
import mint_ray

run = mint_ray.open_run("runs/demo")
cases = mint_ray.read_cases(run, "test", ["case_id", "label_name"])  # pyarrow.Table
answers = mint_ray.to_dataset(mint_ray.read_answers(run, "aligned"))  # datasets.Dataset
scorer = mint_ray.load_scorer("runs/demo/scorer")
case = mint_ray.Case(case_id="mine", group_id="mine", text="Short stature. Hypotonia.")
label, log_probability = mint_ray.rank_case(case, scorer, run.config.task)[0]
```
"""


def page() -> str:
    """The whole page."""
    lines = [HEAD]
    for title, names in PARTS.items():
        lines += [f"## {title}\n", *(entry(name, getattr(mint_ray, name)) for name in names)]
    return "\n".join(lines)


def entry(name: str, value: Any) -> str:
    """A name's heading, its call and its docstring; of a class the public methods of its own, too."""
    text = [f"### `{name}`\n", f"```text\n{call(name, value)}\n```\n", f"{described(value)}\n"]
    if (inspect.isclass(value) and value.__name__.endswith("Client")) or name in ("Task", "Corpus", "ScorerSection"):
        own = {key: each for key, each in vars(value).items() if inspect.isfunction(each) and key[0] != "_"}
        text += [f"- `{call(key, each)}`: {first_line(each)}" for key, each in own.items() if inspect.getdoc(each)]
        text += [""] if own else []
    return "\n".join(text)


def call(name: str, value: Any) -> str:
    """A function as it is written in its source, on one line; a pydantic class by its fields."""
    if fields := getattr(value, "model_fields", None):
        return f"{name}({', '.join(fields)})"
    try:
        shown = re.sub(r"""(: |-> )(['"])(.*?)\2""", r"\1\3", str(inspect.signature(value)))  # annotations are texts
    except ValueError:
        shown = "(...)"
    return f"{name}{shown.removesuffix(' -> None')}"


def described(value: Any) -> str:
    """A docstring as Markdown: its indented sections as lists."""
    text = inspect.getdoc(value) or ""
    text = re.sub(r"\n {8,}(?=\S)", " ", text)  # what goes on in a second line
    text = re.sub(r"^(Args|Raises|Returns):\n", r"**\1**\n\n", text, flags=re.M)
    return re.sub(r"^    (\w[\w, ]*): ", r"- `\1`: ", text, flags=re.M)


def first_line(value: Any) -> str:
    return (inspect.getdoc(value) or "").partition("\n")[0]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
