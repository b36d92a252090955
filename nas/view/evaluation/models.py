"""The networks of `nas.evaluate`: what its --model, --weights and --against mean.

A network may have been trained several times, with other seeds: its trainings stand behind commas,
as weights of one model (MO=a.safetensors,b.safetensors) or as folders (runs/a,runs/b).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nas import cli
from space import InputError

if TYPE_CHECKING:
    from nas.view.scores import EvaluatedModel
    from trials.scoring import Restorer

BASELINE = "amplified"


@dataclass(frozen=True, kw_only=True)
class ModelArgument:
    """One --model. `label` names it in tables."""

    label: str
    model: str
    weights: str | None

    @property
    def trainings(self) -> list[tuple[str, str | None]]:
        """Model and weights of each of its trainings."""
        if self.weights is not None:
            return [(self.model, weights) for weights in _several(self.weights)]
        return [(model, None) for model in _several(self.model)]


def baseline() -> ModelArgument:
    """Amplifying alone."""
    return ModelArgument(label=BASELINE, model=BASELINE, weights=None)


def parse_models(words: Sequence[str], weights: str | None) -> list[ModelArgument]:
    """--model and --weights; InputError where a model appears twice or has weights twice."""
    if weights is not None and len(words) > 1:
        raise InputError(
            f"--weights must belong to a single --model, but there are {len(words)}; write each "
            "as --model MO=mo_checkpoint.pt"
        )
    pairs = [split_weights(word) for word in words]
    if weights is not None:
        if pairs[0][1] is not None:
            raise InputError(
                f"a model must have its weights once, but got {words[0]} and {weights}; drop one"
            )
        pairs = [(pairs[0][0], weights)]
    seen: dict[tuple[str, str], str] = {}
    for word, (model, file) in zip(words, pairs, strict=True):
        resolved = model if model in cli.NAMED else str(Path(model).resolve())
        key = resolved, str(Path(file).resolve()) if file else ""
        if key in seen:
            raise InputError(
                f"each model must be given once, but {word} is {seen[key]} again; leave one out"
            )
        seen[key] = word
    names = [model.rstrip("/") for model, _ in pairs]
    return [
        ModelArgument(
            label=name if names.count(name) == 1 else f"{name}={file}", model=model, weights=file
        )
        for name, (model, file) in zip(names, pairs, strict=True)
    ]


def split_weights(word: str) -> tuple[str, str | None]:
    """MODEL and WEIGHTS of MODEL[=WEIGHTS]; a path may hold an equals sign itself."""

    def is_model(text: str) -> bool:
        parts = text.split(",")
        return (
            text in cli.NAMED or Path(text).exists() or all(Path(part).exists() for part in parts)
        )

    if "=" not in word or is_model(word):
        return word, None
    cuts = [index for index, letter in enumerate(word) if letter == "="]
    cut = next((cut for cut in cuts if is_model(word[:cut])), cuts[0])
    return word[:cut], word[cut + 1 :]


def find_reference(models: Sequence[ModelArgument], name: str | None) -> ModelArgument:
    """The model that the others are compared with; InputError where --against names not one."""
    if name is None:
        return models[0]
    names = (name, name.rstrip("/"))
    matching = [
        m for m in models if m.label in names or name in (m.model, f"{m.model}={m.weights}")
    ]
    if len(matching) != 1:
        raise InputError(
            f"--against must name one of the models ({', '.join(m.label for m in models)}), but "
            f"got {name}; choose one of them"
        )
    return matching[0]


def load(argument: ModelArgument, device: str) -> tuple[list[Restorer], EvaluatedModel]:
    """What restores, of each training, on the device; and what it is. Raises as `load_network`,
    and InputError where trainings are of different networks.
    """
    from nas.view.scores import EvaluatedModel
    from trials.scoring import baseline_restorer, network_restorer

    digests: set[str | None] = set()
    restorers = []
    if argument.model == BASELINE and not Path(BASELINE).exists():
        if argument.weights is not None:
            raise InputError(
                f"{BASELINE} must come without weights, but got {argument.weights}; leave them out"
            )
        restorers, digests = [baseline_restorer()], {None}
    else:
        for model, weights in argument.trainings:
            network = cli.load_network(model, weights)
            digests.add(network.model.genome.digest)
            restorers.append(network_restorer(network.model.to(device), network.input))
    if len(digests) > 1 or len({one.input for one in restorers}) > 1:
        raise InputError(
            f"trainings that stand together must be of one network, but {argument.label} are of "
            f"{len(digests)}; give each its own --model"
        )
    return restorers, EvaluatedModel(
        label=argument.label,
        model=argument.model,
        weights=argument.weights,
        input=restorers[0].input,
        digest=digests.pop(),
        trainings=len(restorers),
    )


def _several(text: str) -> list[str]:
    """The paths of a list with commas; a path may hold a comma itself."""
    parts = text.split(",")
    if len(parts) == 1 or Path(text).exists():
        return [text]
    for part in parts:
        if not Path(part).exists():
            raise InputError(
                "trainings with commas between must be files or folders, but there is no "
                f"{part!r} (of {text}); check the path"
            )
    return parts
