"""Calibrated cameras: how much noise there is at which ISO, and how far off the black level is.

One file in sensors/ is one camera, with its sources.
"""

from __future__ import annotations

import functools
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from space import InputError

SENSORS = Path(__file__).parent / "sensors"
# An ISO counts as a calibrated one up to so many stops from it: they are thirds of a stop apart,
# and where a sensor changes its gain, neighbours tell nothing of each other.
NEAREST_STOPS = 1 / 6


@dataclass(frozen=True)
class SensorRow:
    """Calibrated noise at one ISO; `dn` is one step of the raw value."""

    iso: int
    gain: float  # dn per electron
    read_scale: float  # dn, of a Tukey-lambda distribution with shape read_lambda
    read_lambda: float
    row_sigma: float  # dn
    read_sigma: float  # dn
    black_error: float  # dn
    scenes: int  # how many night photos used this ISO


@dataclass(frozen=True)
class Sensor:
    """A calibrated camera."""

    camera: str
    model: str
    """As the camera's files call it."""
    units: str
    source: str
    black_level: int
    white_level: int
    camera_to_srgb: list[list[float]]
    white_balance: dict[str, Any]
    """log_mean and log_covariance of the gains of red and blue, log-normal."""
    rows: tuple[SensorRow, ...]

    @property
    def depth(self) -> int:
        """Steps between black and white."""
        return self.white_level - self.black_level

    def between(self, iso_min: int, iso_max: int) -> tuple[SensorRow, ...]:
        """Rows of the ISO values from `iso_min` to `iso_max`; InputError where there are none."""
        rows = tuple(row for row in self.rows if iso_min <= row.iso <= iso_max)
        if not rows:
            known = f"{self.rows[0].iso} to {self.rows[-1].iso}"
            rule = f"the ISO range must hold a calibrated ISO of {self.camera} ({known})"
            raise InputError(f"{rule}, but is {iso_min} to {iso_max}; widen it")
        return rows


def load_sensor(name: str) -> Sensor:
    """The calibrated sensor `trials/raw/sensors/<name>.json`; InputError for an unknown name."""
    known = sorted(path.stem for path in SENSORS.glob("*.json"))
    if name not in known:
        raise InputError(
            f"the sensor must be one of {', '.join(known)}, but is {name!r}; choose one"
        )
    fields = json.loads((SENSORS / f"{name}.json").read_text(encoding="utf-8"))
    return Sensor(**{**fields, "rows": tuple(SensorRow(**row) for row in fields["rows"])})


def black_error_dn(model: str, iso: float) -> float:
    """How far the true black of a camera (its file's Model) lies above the nominal one at an ISO,
    in sensor values; 0 where it is not calibrated.
    """
    rows = _rows_by_model().get(model, ())
    if not rows or not 0 < iso < math.inf:
        return 0.0
    nearest = min(rows, key=lambda row: abs(math.log2(row.iso / iso)))
    return nearest.black_error if abs(math.log2(nearest.iso / iso)) <= NEAREST_STOPS else 0.0


@functools.cache
def _rows_by_model() -> dict[str, tuple[SensorRow, ...]]:
    sensors = [load_sensor(path.stem) for path in sorted(SENSORS.glob("*.json"))]
    return {sensor.model: sensor.rows for sensor in sensors}
