"""The clock: it times what would be deployed, on the frame that was asked for, and says how sure it is."""

import contextlib
import random
import time
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from space import SEEDS, Genome, InputError, build_model
from trials import LatencyConfig, latency, measure_against, measure_latency

QUICK = LatencyConfig(height=64, width=96, warmup_runs=2, min_runs=12, max_seconds=1.0, threads=1)
TINY = Genome(skip_width=8, skip_block="rep", skip_blocks=1, merge_width=0, head="none")


def test_what_is_stored_with_a_figure():
    measured = measure_latency(build_model(SEEDS["MO"]), QUICK)
    assert measured.low_ms <= measured.median_ms <= measured.high_ms
    assert measured.p10_ms <= measured.median_ms <= measured.p90_ms
    assert (measured.height, measured.width, measured.dtype, measured.threads) == (64, 96, "float32", 1)
    assert measured.device == "cpu" and measured.device_name and measured.torch_version == torch.__version__
    assert measured.runs >= 12
    assert measured.to_dict()["median_ms"] == measured.median_ms


def test_the_frame_is_rounded_up_to_what_the_network_takes():
    measured = measure_latency(build_model(SEEDS["MO"]), replace(QUICK, height=50, width=90))
    assert (measured.height, measured.width) == (64, 96)


def test_the_deployed_form_is_timed_on_changing_random_input(monkeypatch):
    """Weight norm left on, or zeros as input, would be another figure: see what the clock really runs."""
    seen = []
    run_ms = latency._run_ms

    def spy(model, mosaic, device):
        seen.append((model, mosaic))
        return run_ms(model, mosaic, device)

    monkeypatch.setattr(latency, "_run_ms", spy)
    model = build_model(TINY)
    measure_latency(model, QUICK)
    timed = seen[0][0]
    assert timed is not model and not timed.training and model.training
    assert not any(torch.nn.utils.parametrize.is_parametrized(module) for module in timed.modules())
    assert len([module for module in timed.modules() if isinstance(module, torch.nn.Conv2d)]) == 3  # "rep" is one
    assert len({mosaic.data_ptr() for _, mosaic in seen}) == latency.INPUTS
    assert all(0.2 < mosaic.std() < 0.4 for _, mosaic in seen)


def test_ratios_are_timed_in_turn(monkeypatch):
    """A B A B ..., so that whatever slows the machine slows both of a pair."""
    turns = []
    run_ms = latency._run_ms
    monkeypatch.setattr(latency, "_run_ms", lambda m, x, d: turns.append(id(m)) or run_ms(m, x, d))
    config = replace(QUICK, precision=0.2)
    _, ratio = measure_against(build_model(SEEDS["M2"]), build_model(SEEDS["MO"]), config)
    assert ratio.low <= ratio.median <= ratio.high and ratio.median > 1.5
    timed = turns[-24:]
    assert len(set(timed)) == 2 and timed[0::2] == [timed[0]] * 12 and timed[1::2] == [timed[1]] * 12


def test_a_network_against_itself_is_one():
    _, ratio = measure_against(build_model(SEEDS["MO"]), build_model(SEEDS["MO"]), replace(QUICK, min_runs=40))
    assert ratio.median == pytest.approx(1.0, abs=0.1)


def test_a_drifting_measurement_is_tried_again_and_told(monkeypatch):
    class Tires(torch.nn.Module):
        size_multiple = 2
        runs = 0

        def forward(self, mosaic):
            Tires.runs += 1
            time.sleep(0.001 + 0.0002 * Tires.runs)
            return mosaic

    monkeypatch.setattr(latency, "fold", lambda model: model)
    measured = measure_latency(Tires(), QUICK)
    assert not measured.steady and measured.tries == latency.TRIES
    assert latency.drift([1.0, 1.0, 1.0, 1.0, 1.1, 1.1]) == pytest.approx(0.1)
    assert latency.drift([5.0]) == 0


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

    run_ms = latency._run_ms
    monkeypatch.setattr(latency, "DeviceLock", Lock)
    monkeypatch.setattr(latency, "_run_ms", lambda m, x, d: run_ms(m, x, d) if inside else pytest.fail("not alone"))
    measure_latency(build_model(TINY), QUICK)


def test_a_known_wait_is_measured(monkeypatch):
    class Waits(torch.nn.Module):
        size_multiple = 2

        def forward(self, mosaic):
            time.sleep(0.005)
            return mosaic

    monkeypatch.setattr(latency, "fold", lambda model: model)
    measured = measure_latency(Waits(), QUICK)
    assert 5.0 <= measured.median_ms < 7.0


def test_threads_are_set_for_the_measurement_only():
    before = torch.get_num_threads()
    assert measure_latency(build_model(TINY), QUICK).threads == 1
    assert torch.get_num_threads() == before


def test_bfloat16_is_timed_in_bfloat16(monkeypatch):
    kinds = set()
    run_ms = latency._run_ms
    monkeypatch.setattr(
        latency, "_run_ms", lambda m, x, d: kinds.add((x.dtype, next(m.parameters()).dtype)) or run_ms(m, x, d)
    )
    assert measure_latency(build_model(TINY), replace(QUICK, dtype="bfloat16")).dtype == "bfloat16"
    assert kinds == {(torch.bfloat16, torch.bfloat16)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dtype": "int8"}, "latency.dtype must be one of float32, float16, bfloat16, but got 'int8'"),
        ({"height": 0}, "latency.height must be at least 1, but got 0"),
        ({"threads": 0}, "latency.threads must be at least 1, but got 0"),
        ({"max_seconds": 0.0}, "latency.max_seconds and latency.precision must be above 0"),
    ],
)
def test_impossible_settings_are_told(changes, message):
    with pytest.raises(InputError) as caught:
        measure_latency(build_model(TINY), replace(QUICK, **changes))
    assert message in str(caught.value)


@given(st.integers(1, 400))
def test_bounds_of_the_median_enclose_it(n):
    times = sorted(random.Random(n).random() for _ in range(n))
    low, high = latency.median_bounds(times)
    assert low <= latency._quantile(times, 0.5) <= high


def test_bounds_of_the_median_hold_at_95_percent():
    """The true median of a skewed law lies outside of the bounds in about one of twenty samples."""
    generator, missed = random.Random(0), 0
    for _ in range(2000):
        low, high = latency.median_bounds(sorted(generator.expovariate(1.0) for _ in range(60)))
        missed += not low <= 0.6931471805599453 <= high
    assert 0.02 < missed / 2000 < 0.06


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50), st.floats(0, 1))
def test_quantiles_are_numpys(values, share):
    import numpy as np

    assert latency._quantile(sorted(values), share) == pytest.approx(
        float(np.quantile(values, share)), rel=1e-9, abs=1e-9
    )
