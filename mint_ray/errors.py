"""Everything that mint_ray raises on purpose.

    MintError
    ├── ConfigError      a setting is wrong; every conflict is listed at once
    ├── CorpusError      a source as a whole cannot be used (missing, empty, one disease, no header)
    │   └── RowError     one row cannot be used; the reader keeps it as a `Refusal` and goes on
    ├── ModelError       a model folder or file is not what the configuration says it is
    ├── EndpointError    a served model cannot be asked: not reached, refused, or another model
    ├── RunError         the run directory belongs to something else, or a stage before is missing
    │   └── RayEnded     Ray, or a part of it, ended under a job
    ├── StorageError     an object store refuses, is not reached, or has nothing by that name
    ├── TrainingError    training cannot go on (a loss that is not finite)
    └── EvaluationError  answers and cases do not belong together

Messages carry ids, file names, fields and rules. They never carry a patient's text, name or image.
"""

from __future__ import annotations

from collections.abc import Iterator


class MintError(Exception):
    """Base of all errors that a user can mend."""


class ConfigError(MintError):
    """A setting is wrong. `problems` holds one line for each conflict."""

    def __init__(self, problems: list[str]):
        self.problems = problems
        super().__init__("\n".join(f"- {problem}" for problem in problems))

    def __reduce__(self):
        return type(self), (self.problems,)


class CorpusError(MintError):
    """A source as a whole cannot be used."""


class RowError(CorpusError):
    """One row of a source cannot become a case.

    Args:
        reason: a stable kebab-case code that refusals are counted by, e.g. `no-diagnosis`.
        field: the field that is at fault, as the source names it.
        seen: what was found, never a patient's text, e.g. `2 diagnoses`.
        expected: the rule, e.g. `exactly one diagnosis with an OMIM id`.
    """

    def __init__(self, reason: str, field: str = "", seen: str = "", expected: str = ""):
        self.reason, self.field, self.seen, self.expected = reason, field, seen, expected
        super().__init__(f"{reason}: {field or 'row'}: saw {seen or 'nothing'}; expected {expected or 'a usable row'}")

    def __reduce__(self):
        return type(self), (self.reason, self.field, self.seen, self.expected)


class ModelError(MintError):
    """A model folder or file is not what the configuration says it is."""


class EndpointError(MintError):
    """A served model cannot be asked."""


class RunError(MintError):
    """The run directory belongs to something else, or a stage before is missing."""


class RayEnded(RunError):
    """Ray, or a part of it, ended under a job; its own report is the cause."""


class StorageError(MintError):
    """An object store refuses, is not reached, or has nothing by that name."""


class TrainingError(MintError):
    """Training cannot go on."""


class EvaluationError(MintError):
    """Answers and cases do not belong together."""


def led_to(error: BaseException | None) -> Iterator[BaseException]:
    """An error and all that led to it, also what Ray keeps of a worker's or a controller's."""
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        if (each := waiting.pop(0)) is None or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        waiting += [each.__cause__, each.__context__]
        waiting += [found for name in ("cause", "controller_failure") if _error(found := getattr(each, name, None))]
        failures = getattr(each, "worker_failures", None)
        waiting += failures.values() if isinstance(failures, dict) else ()


def _error(value: object) -> bool:
    return isinstance(value, BaseException)
