"""`nas.proxy`: which networks it takes, what it tells, that it goes on where it was stopped, and
that the search heeds it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from stand_ins import Command, Loader, Runner, figures

from nas import cli, proxy
from space import Genome
from trials import RungScore

Read = Callable[[], Any]
STEPS = (20, 60, 180)


def rungs_of(genome: Genome, *, turned: bool = False) -> list[RungScore]:
    """PSNR rises with the steps; with `turned` the first rung has the order of the last turned
    round.
    """
    final, latency_ms = figures(genome)
    first = 50 - final if turned else final - 3
    rest = {"seconds": 1.0, "latency_ms": latency_ms}
    return [
        RungScore(step=step, psnr_db=psnr_db, ssim=psnr_db / 50, loss=1 / psnr_db, **rest)
        for step, psnr_db in zip(STEPS, (first, final - 1, final), strict=True)
    ]


class Train:
    def __init__(self, *, turned: bool = False, stop_after: int = 99) -> None:
        self.turned, self.stop_after = turned, stop_after
        self.trained: list[str] = []

    def __call__(
        self, genome: Genome, config: Any, *, data: Any, rungs: list[int]
    ) -> list[RungScore]:
        assert rungs == list(STEPS)
        if len(self.trained) == self.stop_after:
            raise KeyboardInterrupt
        self.trained.append(genome.digest)
        assert config.train.steps == STEPS[-1]
        return rungs_of(genome, turned=self.turned)


@pytest.fixture
def ask(runs: Path, tmp_path: Path) -> Callable[..., int]:
    def run(*words: object, train: Any, study: str = "tiny") -> int:
        argv = ["--study", study, "--runs", str(runs), *map(str, words)]
        return cli.run(lambda given: proxy.main(given, load=Loader(), train=train), argv)

    return run


@pytest.fixture
def searched(run_search: Command) -> None:
    run_search("--steps", STEPS[-1], "--trials", 9, runner=Runner())


@pytest.mark.slow
def test_it_trains_what_is_missing_and_tells_tau(
    searched: None, ask: Command, read_study: Read, capsys: pytest.CaptureFixture[str]
) -> None:
    train = Train()
    capsys.readouterr()
    assert ask("--networks", 8, train=train) == 0
    text = capsys.readouterr().out
    assert "8 networks, 0 of them trained to the end already" in text
    assert "1.00 (1.00 to 1.00)" in text
    stored = read_study().user_attrs["proxy"]["180"]
    assert len(train.trained) == 8 == len(stored["judged"])
    assert set(stored["tau"]) == {"20", "60", "180"}
    assert stored["regret_db"]["20"]["all"]["value"] == 0 and stored["near_best"] >= 1
    low_loss_goes_with_high_psnr = stored["tau"]["20"]["loss"]["value"]
    assert low_loss_goes_with_high_psnr == pytest.approx(1.0)
    again = Train()
    assert ask("--networks", 8, train=again) == 0 and again.trained == [], "what was found is kept"


@pytest.mark.slow
def test_a_longer_training_is_the_truth_where_it_is_asked_for(
    searched: None, ask: Command, read_study: Read, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[tuple[int, list[int]]] = []

    def train(genome: Genome, config: Any, *, data: Any, rungs: list[int]) -> list[RungScore]:
        seen.append((config.train.steps, rungs))
        short = rungs_of(genome)
        longer = asdict(short[-1]) | {"step": 1800, "psnr_db": 60 - short[-1].psnr_db}
        return [*short, RungScore(**longer)]

    assert ask("--networks", 8, "--steps", 1800, train=train) == 0
    assert seen == [(1800, [*STEPS, 1800])] * 8
    stored = read_study().user_attrs["proxy"]
    assert set(stored) == {"1800"} and set(stored["1800"]["tau"]) == {"20", "60", "180", "1800"}
    # The order is turned round: what looks best is the worst.
    assert stored["1800"]["tau"]["180"]["psnr_db"]["value"] == pytest.approx(-1)
    final = [rungs[-1]["psnr_db"] for rungs in stored["1800"]["networks"].values()]
    regret = stored["1800"]["regret_db"]["180"]["all"]["value"]
    assert regret == pytest.approx(max(final) - min(final))
    text = capsys.readouterr().out
    assert "after 1,800 steps" in text and "predicts the final order badly" not in text


@pytest.mark.slow
def test_killed_it_goes_on(searched: None, ask: Command, read_study: Read) -> None:
    assert ask("--networks", 8, train=Train(stop_after=3)) == cli.EXIT_INTERRUPTED
    assert len(read_study().user_attrs["proxy"]["180"]["networks"]) == 3
    again = Train()
    assert ask("--networks", 8, train=again) == 0 and len(again.trained) == 5


@pytest.mark.slow
def test_a_bad_rung_is_warned_of_by_the_search(
    searched: None, ask: Command, run_search: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask("--networks", 8, train=Train(turned=True)) == 0
    tau = "(Kendall's tau -1.00, below 0.6)"
    warning = f"the rung at 20 steps predicts the final order badly {tau}"
    assert warning in capsys.readouterr().out
    run_search("--steps", STEPS[-1], "--trials", 10, runner=Runner())
    told = capsys.readouterr().out
    assert warning in told and "the rung at 60" not in told
    run_search("--steps", STEPS[-1], "--trials", 11, "--stopping", "off", runner=Runner())
    assert warning not in capsys.readouterr().out, "nothing is stopped there"


def test_the_networks_are_far_apart(searched: None, read_study: Read) -> None:
    """Without rungs in the study they are random ones of the space, and the same each time."""
    chosen = proxy.choose(read_study(), 8, seed=3)
    assert len(chosen) == 8 and list(chosen) == list(proxy.choose(read_study(), 8, seed=3))
    assert list(chosen) != list(proxy.choose(read_study(), 8, seed=4))


@pytest.mark.parametrize(
    ("words", "study", "told"),
    [
        (["--networks", 5], "tiny", "--networks must be from 8 to 32, but got 5; change it"),
        ([], "none", "there is no study at sqlite:///"),
        (["--steps", 60], "tiny", "--steps must be at least the study's, 180, but got 60"),
    ],
)
def test_bad_input_is_one_line(
    searched: None,
    ask: Command,
    capsys: pytest.CaptureFixture[str],
    words: list[object],
    study: str,
    told: str,
) -> None:
    assert ask(*words, train=Train(), study=study) == 2
    line = capsys.readouterr().err
    assert line.startswith(f"error: {told}") and line.count("\n") == 1


def test_networks_that_diverge_are_no_networks(
    searched: None, ask: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    def diverges(genome: Genome, config: Any, **_: Any) -> list[RungScore]:
        return rungs_of(genome)[:1]

    assert ask("--networks", 8, train=diverges) == 2
    rule = "8 networks must be trained to the end"
    assert f"{rule}, but only 0 were" in capsys.readouterr().err
