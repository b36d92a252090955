"""How a dark photo's mosaic is made ready for a network, beside amplification."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class NetworkInput:
    """What a network was trained to get; files of weights carry it."""

    white_balanced: bool = True
    """Multiplied by the camera's white balance."""
    black_corrected: bool = True
    """Without the calibrated error of the camera's black level, where it is known."""

    def metadata(self) -> dict[str, str]:
        """As a safetensors file holds it."""
        return {
            "white_balanced_input": _word(self.white_balanced),
            "black_corrected_input": _word(self.black_corrected),
        }

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> NetworkInput:
        """Of a file of weights; earlier ones lack what their networks did not get."""
        return cls(
            white_balanced=metadata.get("white_balanced_input", "true") == "true",
            black_corrected=metadata.get("black_corrected_input") == "true",
        )

    def __str__(self) -> str:
        balance = "" if self.white_balanced else "not "
        black = "" if self.black_corrected else "not "
        return f"{balance}white-balanced and {black}black-corrected"


PUBLISHED = NetworkInput(white_balanced=False, black_corrected=False)
"""What the published weights of MO, M1 and M2 were trained with."""


def _word(flag: bool) -> str:
    return "true" if flag else "false"
