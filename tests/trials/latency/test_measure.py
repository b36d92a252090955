"""The protocol: it times what would be deployed, on the requested frame, with its uncertainty."""

import contextlib
import time
from dataclasses import replace

import pytest
import torch

from space import BASELINES, Genome, InputError, build_model
from trials import LatencyConfig, measure_against, measure_all, measure_latency
from trials.latency import deployment, measure, rounds
from trials.latency.timer import NetworkTimer

QUICK = LatencyConfig(height=64, width=96, warmup_runs=2, min_runs=12, max_seconds=0.5, threads=1)
TINY = Genome(skip_width=8, skip_block="rep", skip_blocks=1, merge_width=0, head="none")


class Waits(torch.nn.Module):
    """A network that takes `seconds`, and `more` of them with each run."""

    size_multiple = 2
    deep = None

    def __init__(self, seconds, more=0.0):
        super().__init__()
        self.seconds, self.more = seconds, more

    def forward(self, mosaic):
        self.seconds += self.more
        time.sleep(self.seconds)
        return mosaic


@pytest.fixture
def as_it_is(monkeypatch):
    """Stand-ins need no folding."""
    monkeypatch.setattr(deployment, "fold", lambda model: model)


def test_what_is_stored_with_a_figure():
    measured = measure_latency(build_model(BASELINES["MO"]), QUICK)
    assert measured.low_ms <= measured.median_ms <= measured.high_ms
    assert measured.p10_ms <= measured.median_ms <= measured.p90_ms <= measured.p99_ms
    assert (measured.height, measured.width, measured.dtype, measured.threads) == (
        64,
        96,
        "float32",
        1,
    )
    assert (measured.memory_format, measured.runtime, measured.streams) == (
        "channels_last",
        "eager",
        False,
    )
    assert (
        measured.device == "cpu"
        and measured.device_name
        and measured.torch_version == torch.__version__
    )
    assert measured.device_time is None and measured.gpu == []
    assert measured.runs >= 12 and measured.keeps_memory
    assert 3 < measured.peak_memory_mib < 100, "MO's weights alone are 3 MiB"
    assert measured.to_dict()["median_ms"] == measured.median_ms


def test_the_protocol_asks_for_fifty_runs_and_one_percent():
    usual = LatencyConfig()
    assert usual.min_runs >= 50 and usual.precision == 0.01
    assert rounds.STEADY == 0.02 and rounds.TRIES == 3


def test_the_frame_is_rounded_up_to_what_the_network_takes():
    measured = measure_latency(build_model(BASELINES["MO"]), replace(QUICK, height=50, width=90))
    assert (measured.height, measured.width) == (64, 96)


def test_the_deployed_form_is_what_is_timed(monkeypatch):
    seen = []
    run_ms = NetworkTimer.run_ms
    monkeypatch.setattr(
        NetworkTimer, "run_ms", lambda self, turn: seen.append(self.deployed) or run_ms(self, turn)
    )
    model = build_model(TINY)
    measure_latency(model, QUICK)
    timed = seen[0].network
    assert timed is not model and not timed.training and model.training
    assert not any(
        torch.nn.utils.parametrize.is_parametrized(module) for module in timed.modules()
    )
    assert (
        len([module for module in timed.modules() if isinstance(module, torch.nn.Conv2d)]) == 3
    )  # "rep" is one


def test_a_ratio_is_timed_in_turn(monkeypatch):
    turns = []
    run_ms = NetworkTimer.run_ms
    monkeypatch.setattr(
        NetworkTimer, "run_ms", lambda self, turn: turns.append(self) or run_ms(self, turn)
    )
    measured, ratio = measure_against(
        build_model(BASELINES["M2"]), build_model(BASELINES["MO"]), replace(QUICK, precision=0.2)
    )
    assert ratio.low <= ratio.value <= ratio.high and ratio.value > 1.5
    assert measured.median_ms > 0 and ratio.rounds >= 3
    timed = turns[-8:]
    assert len(set(timed)) == 2 and timed[0::2] == [timed[0]] * 4 and timed[1::2] == [timed[1]] * 4


def test_many_networks_are_timed_in_one_run(monkeypatch, as_it_is):
    shares = []
    reference, measured = measure_all(
        Waits(0.004), [Waits(0.002), Waits(0.008)], QUICK, on_round=lambda *now: shares.append(now)
    )
    assert reference.median_ms == pytest.approx(4, abs=1.5)
    assert measured[0].ratio.value == pytest.approx(0.5, abs=0.12)
    assert measured[1].ratio.value == pytest.approx(2, abs=0.3)
    assert [one.device_ratio for one in measured] == [None, None]
    assert all(1 <= tries <= 3 and 0 <= share <= 1 for tries, _, share in shares)


def test_a_network_against_itself_is_one():
    _, ratio = measure_against(
        build_model(BASELINES["MO"]), build_model(BASELINES["MO"]), replace(QUICK, min_runs=40)
    )
    assert ratio.low - 0.1 <= 1.0 <= ratio.high + 0.1


def test_a_drifting_measurement_is_tried_again_and_told(as_it_is):
    measured = measure_latency(Waits(0.001, more=0.0002), QUICK)
    assert not measured.steady and measured.drift > 0.02 and measured.tries == rounds.TRIES


def test_whatever_slows_both_leaves_the_ratio(as_it_is):
    """A machine that gets slower: milliseconds drift and are marked, the ratio holds."""
    measured, ratio = measure_against(Waits(0.004, more=0.0001), Waits(0.002, more=0.00005), QUICK)
    assert not measured.steady and ratio.drift < 0.1
    assert ratio.value == pytest.approx(2.0, abs=0.15)


def test_where_only_the_ratio_counts_a_drift_of_both_is_no_reason_to_measure_again(as_it_is):
    config = replace(QUICK, precision=0.5)
    measured, ratio = measure_against(
        Waits(0.004, more=0.0001), Waits(0.002, more=0.00005), config, ratio_only=True
    )
    assert measured.tries == 1 and not measured.steady
    assert ratio.value == pytest.approx(2.0, abs=0.15)


def test_a_ratio_that_is_not_precise_is_measured_again_where_only_it_counts(as_it_is):
    measured, _ = measure_against(
        Waits(0.004), Waits(0.002), replace(QUICK, precision=1e-6), ratio_only=True
    )
    assert measured.tries == rounds.TRIES


def test_a_measurement_is_alone_on_its_device(monkeypatch):
    inside = []

    class Lock:
        def __init__(self, device):
            assert device == "cpu"

        @contextlib.contextmanager
        def alone(self):
            inside.append(True)
            yield
            inside.clear()

    run_ms = NetworkTimer.run_ms
    monkeypatch.setattr(measure, "DeviceLock", Lock)
    monkeypatch.setattr(
        NetworkTimer,
        "run_ms",
        lambda self, turn: run_ms(self, turn) if inside else pytest.fail("not alone"),
    )
    measure_latency(build_model(TINY), QUICK)


def test_a_known_wait_is_measured(as_it_is):
    measured = measure_latency(Waits(0.005), QUICK)
    assert 5.0 <= measured.median_ms < 7.0


def test_threads_are_set_for_the_measurement_only():
    before = torch.get_num_threads()
    assert measure_latency(build_model(TINY), QUICK).threads == 1
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"dtype": "int8"},
            "latency.dtype must be one of float32, float16, bfloat16, but got 'int8'",
        ),
        ({"runtime": "cuda_graph"}, "runtime cuda_graph needs a GPU"),
        ({"height": 0}, "latency.height must be at least 1, but got 0"),
        ({"threads": 0}, "latency.threads must be at least 1, but got 0"),
        ({"max_seconds": 0.0}, "latency.max_seconds must be above 0, but got 0.0"),
    ],
)
def test_impossible_settings_are_told(changes, message):
    with pytest.raises(InputError) as caught:
        measure_latency(build_model(TINY), replace(QUICK, **changes))
    assert message in str(caught.value)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpus_own_time_is_kept_apart():
    config = replace(QUICK, height=512, width=512, threads=None)
    measured, _ = measure_against(
        build_model(BASELINES["M1"]), build_model(BASELINES["MO"]), config, device="cuda"
    )
    assert measured.runtime == "cuda_graph" and measured.device_time is not None
    assert measured.device_time.median_ms <= measured.median_ms
