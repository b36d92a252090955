"""A storage that can be read and not be changed: every read passes, every write is refused.

Finished trials are read once (Optuna's own cache). `also(storage, study_id)` gives system
attributes that are shown beside the stored ones (the live front).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# Private by its name, but among what optuna.storages exports: load_study wraps databases in it.
from optuna.storages import BaseStorage, RDBStorage, _CachedStorage

Attributes = dict[str, Any]


class ReadOnlyError(RuntimeError):
    """Something tried to write."""


class ReadOnlyStorage(_CachedStorage):
    """`storage` as a dashboard sees it; writes raise ReadOnlyError unless `writable`."""

    def __init__(
        self,
        storage: RDBStorage,
        *,
        writable: bool = False,
        also: Callable[[BaseStorage, int], Attributes] | None = None,
    ) -> None:
        super().__init__(storage)
        self.writable = writable
        self._also = also or (lambda storage, study_id: {})

    def get_study_system_attrs(self, study_id: int) -> Attributes:
        return super().get_study_system_attrs(study_id) | self._also(self, study_id)

    def get_all_studies(self) -> list[Any]:
        studies = sorted(super().get_all_studies(), key=lambda study: study._study_id)
        for study in studies:
            study.system_attrs = study.system_attrs | self._also(self, study._study_id)
        return studies


def _guarded(name: str) -> Callable[..., Any]:
    write = getattr(_CachedStorage, name)

    def guarded(self: ReadOnlyStorage, *args: Any, **kwargs: Any) -> Any:
        if not self.writable:
            raise ReadOnlyError("this dashboard is read-only; start it with --writable")
        return write(self, *args, **kwargs)

    return guarded


WRITES = [name for name in dir(_CachedStorage) if name.startswith(("create", "delete", "set_"))]
for _name in (*WRITES, "record_heartbeat"):
    setattr(ReadOnlyStorage, _name, _guarded(_name))
