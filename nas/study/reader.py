"""A stored study, opened by its name: one line where there is none."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from space import InputError
from space.errors import brief

if TYPE_CHECKING:
    import optuna
    from optuna.storages import BaseStorage

# Bytes of a study's name, which is a folder's too.
LONGEST_NAME = 100


def check_name(name: str) -> str:
    """`name`; InputError where it can't be a study's, which is a folder's name in --runs."""
    is_word = name.isprintable() and name and "/" not in name and not name.startswith(".")
    if not is_word or len(name.encode("utf-8")) > LONGEST_NAME:
        raise InputError(
            f"a study's name must be at most {LONGEST_NAME} bytes, without a slash and not "
            f"beginning with a dot, but got {brief(name)}; rename it"
        )
    return name


def study_name(study: str) -> str:
    """The study's name that --study means: the text, or a TOML file's name; as `check_name`."""
    return check_name(Path(study).stem if study.endswith(".toml") else study)


def open_to_read(study: str, *, storage: str | None, runs: Path) -> optuna.Study:
    """The study that --study, --storage and --runs mean; InputError where there is none."""
    from nas.study.storage import check_there, default_url, open_storage, quiet_optuna

    quiet_optuna()
    name = study_name(study)
    url = storage or default_url(runs / name)
    check_there(url)
    return load_study(name, open_storage(url), url)


def load_study(name: str, storage: BaseStorage, url: str) -> optuna.Study:
    """The study `name` in `storage` (opened from `url`); InputError where there is none."""
    import optuna

    from nas.study.storage import is_storage_error, mask_password, storage_error

    try:
        return optuna.load_study(study_name=name, storage=storage)
    except KeyError as error:
        names = ", ".join(sorted(study.study_name for study in storage.get_all_studies()))
        raise InputError(
            f"there is no study {name!r} in {mask_password(url)}; there are: {names or 'none'}"
        ) from error
    except Exception as error:
        if is_storage_error(error):
            raise storage_error(error, url) from error
        raise
