"""What a search really stores is what the schema says, by name and type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args, get_origin, get_type_hints, is_typeddict

import optuna
from stand_ins import Command, Leaving

from nas.study.schema import Kind, RungAttrs, StudyAttrs, TrialAttrs


def unlike(value: Any, hint: Any) -> bool:
    """Whether `value`, read from JSON, is not what `hint` says."""
    origin, args = get_origin(hint), get_args(hint)
    if is_typeddict(hint):
        hints = get_type_hints(hint)
        return any(key not in hints or unlike(one, hints[key]) for key, one in value.items())
    if origin is list:
        return not isinstance(value, list) or any(unlike(one, args[0]) for one in value)
    if origin is dict:
        return not isinstance(value, dict) or any(unlike(one, args[1]) for one in value.values())
    if str(origin) == "typing.Literal":
        return value not in args
    if hint is Any:
        return False
    kinds = args or (hint,)  # of a union
    return not isinstance(value, (*kinds, int) if float in kinds else kinds)


def test_a_search_stores_what_the_schema_says(
    run_search: Command, read_study: Callable[[], optuna.Study]
) -> None:
    runner = Leaving(rungs=(5, 10, 20), script=["complete", ValueError("broken"), "diverged"])
    assert run_search("--trials", 7, runner=runner) == 0
    study = read_study()
    for attrs, schema in (
        (study.user_attrs, StudyAttrs),
        *((trial.user_attrs, TrialAttrs) for trial in study.trials),
    ):
        hints = get_type_hints(schema)
        assert attrs.keys() <= hints.keys()
        assert [key for key, value in attrs.items() if unlike(value, hints[key])] == []
    kinds = {trial.user_attrs["kind"] for trial in study.trials}
    assert {"complete", "error", "diverged"} <= kinds <= set(get_args(Kind))


def test_unlike() -> None:
    assert not unlike([{"step": 5, "psnr_db": None, "decision": "on"}], list[RungAttrs])
    assert unlike([{"step": 5, "decision": "told"}], list[RungAttrs])
    assert unlike({"a": "b"}, dict[str, float]) and not unlike({"a": 1}, dict[str, float])
