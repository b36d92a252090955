"""A stored study, opened to be read: by its name and folder or its storage, with one line where
there is none.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nas.study.ranges import check_name
from space import InputError

if TYPE_CHECKING:
    import optuna


def study_name(study: str) -> str:
    """The study's name that --study means: the text itself, or a TOML file's name. InputError
    where no folder can have it.
    """
    return check_name(Path(study).stem if study.endswith(".toml") else study)


def open_to_read(study: str, *, storage: str | None, runs: Path) -> optuna.Study:
    """The study that --study, --storage and --runs mean, to be read; InputError where there is
    none.
    """
    import optuna

    from nas.study.storage import (
        default_url,
        is_storage_error,
        open_storage,
        quiet_optuna,
        shown,
        storage_error,
    )

    quiet_optuna()
    name = study_name(study)
    database = runs / name / "study.db"
    if not storage and not database.is_file():
        raise InputError(
            f"there must be a study to read, but there is no {database}; run python -m "
            f"nas.search --study "
            f"{study} first, or give its --storage or --runs"
        )
    url = storage or default_url(runs / name)
    opened = open_storage(url)
    try:
        return optuna.load_study(study_name=name, storage=opened)
    except KeyError as error:
        raise InputError(
            f"there is no study {name!r} in {shown(url)}; check --study and --storage"
        ) from error
    except Exception as error:
        if is_storage_error(error):
            raise storage_error(error, url) from error
        raise
