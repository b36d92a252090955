"""The code speaks the field's words: names that only this project understood stay gone."""

import io
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = [
    path
    for package in ("space", "trials", "nas", "dashboards")
    for path in sorted((ROOT / package).rglob("*.py"))
]
# Each with the word that stands for it now.
GONE = {
    "Asked": "StopSignal",
    "asked": "requested",
    "asking": "study_lock",
    "held": "defer_signals",
    "Patience": "Retry",
    "patience": "retry",
    "PatientStorage": "RetryingStorage",
    "is_silence": "is_transient",
    "Kept": "TrialCheckpoint",
    "kept": "checkpoint",
    "Keeper": "Checkpointer",
    "keeper": "checkpointer",
    "Twin": "FlatParameters",
    "twin": "flat parameters, or the trial of the same network",
    "Descent": "OptimizerStep",
    "descent": "optimizer_step",
    "look": "forward_backward",
    "take": "step, or acquire",
    "slopes": "grads",
    "LossWatch": "DivergenceDetector",
    "came_apart": "diverged",
    "drawn": "scene_cache, or rendered",
    "captured": "cuda_graph.capture",
    "gathered": "gather_crops",
    "Foresight": "imputation",
    "foretell": "predict",
    "FreshSampler": "nothing: repeats are recognised by the search loop",
    "told": "reported",
    "Standing": "RungEntry",
    "standing": "entry",
    "goes_on": "is_promoted",
    "Judge": "LatencyDevice",
    "judge": "latency_device, or score",
    "Board": "SearchState",
    "board": "state",
    "Shown": "EventReplay",
    "shown": "displayed",
    "Crew": "WorkerPool",
    "crew": "pool",
    "bury": "on_exit",
    "forgive": "reset_failures",
    "Wanted": "WorkerOptions",
    "wanted": "options",
    "share_out": "allocate",
    "Ending": "SearchOutcome",
    "ending": "outcome",
    "seeds": "baselines",
    "SEEDS": "BASELINES",
    "dress": "page_patches",
    "islands": "embedded_json",
    "packs": "compressed",
    "front_latency": "final_latency",
}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_name_is_a_private_word(path):
    assert path.stem not in GONE
    with io.StringIO(path.read_text(encoding="utf-8")) as text:
        names = [
            (token.string, token.start[0])
            for token in tokenize.generate_tokens(text.readline)
            if token.type == tokenize.NAME
        ]
    for name, line in names:
        assert name not in GONE, f"{path}:{line}: {name} (say {GONE[name]})"
