"""Measurements that are wrong on purpose: each is refused, or shows another number."""

import threading
import time
from statistics import median

import pytest
import torch

from space import BASELINES, Genome, InputError, build_model, fold
from trials import LatencyConfig, measure_latency
from trials.latency import deployment, timer
from trials.latency.deployment import Deployed, Form
from trials.latency.timer import NetworkTimer, check_accounted, random_mosaics, time_round

CPU = torch.device("cpu")
FORM = Form(dtype="float32", memory_format="channels_last", runtime="eager", streams=False)
QUICK = LatencyConfig(height=64, width=96, warmup_runs=2, min_runs=12, max_seconds=0.5, threads=1)
TINY = Genome(skip_width=8, skip_block="rep", skip_blocks=1, merge_width=0, head="none")


class Sleeps(torch.nn.Module):
    """A network that takes `seconds`, on a device of its own: the caller goes on at once, as with
    a GPU.
    """

    size_multiple = 2
    deep = None

    def __init__(self, seconds):
        super().__init__()
        self.seconds = seconds
        self.busy = None

    def forward(self, mosaic):
        before = self.busy

        def work():
            if before:
                before.join()
            time.sleep(self.seconds)

        self.busy = threading.Thread(target=work)
        self.busy.start()
        return Late(mosaic, self.busy)


class Late:
    """A picture that is ready when its device is."""

    def __init__(self, mosaic, busy):
        self.mosaic, self.busy = mosaic, busy

    def flatten(self):
        self.busy.join()
        return self.mosaic.flatten()


def ready(network, *, waits=True, height=64, width=64):
    one = Deployed(network, FORM, CPU, height, width)
    if waits and isinstance(network, Sleeps):
        one.finish = lambda: network.busy and network.busy.join()
    return NetworkTimer(one, random_mosaics(one, height, width))


def test_a_timer_that_does_not_wait_for_the_device_is_refused():
    """It sees the time to start the work and not the work: a known mistake of published latency
    scripts.
    """
    right, wrong = ready(Sleeps(0.01)), ready(Sleeps(0.01), waits=False)
    times, share = time_round([right], 0)
    assert median(times[0]) >= 10 and share > 0.9
    check_accounted([share])
    times, share = time_round([wrong], 0)
    assert median(times[0]) < 5, "the wrong number that it would have told"
    with pytest.raises(InputError) as caught:
        check_accounted([share, share, 1.0])
    assert "must account for at least 70% of the wall-clock time, but did for" in str(caught.value)
    assert "the timer does not wait for the device; synchronise it" in str(caught.value)


def test_a_whole_measurement_with_such_a_timer_is_refused(monkeypatch):
    monkeypatch.setattr(deployment, "fold", lambda model: model)
    with pytest.raises(InputError, match="the timer does not wait for the device"):
        measure_latency(Sleeps(0.01), QUICK)


def test_a_process_put_aside_for_once_is_no_wrong_clock():
    check_accounted([0.95, 0.1, 0.95, 0.96])


@pytest.mark.parametrize(
    "mosaic",
    [
        torch.zeros(1, 1, 64, 64),
        torch.full((1, 1, 64, 64), 0.5),
        torch.full((1, 1, 64, 64), torch.nan),
    ],
)
def test_zeros_and_other_flat_mosaics_are_refused(mosaic):
    one = Deployed(fold(build_model(TINY)), FORM, CPU, 64, 64)
    with pytest.raises(
        InputError, match="mosaics must vary as pictures do .* time random or real"
    ):
        NetworkTimer(one, [torch.rand(1, 1, 64, 64), mosaic])


def test_weight_norm_left_on_is_another_number():
    """On a small frame it takes MO well over a tenth longer; timed in turn, so that the machine's
    moment cancels out.
    """
    unfolded, folded = (
        ready(build_model(BASELINES["MO"]).eval()),
        ready(fold(build_model(BASELINES["MO"]))),
    )
    rounds = []
    with torch.no_grad():
        for turn in range(8):
            (mine, its), _ = time_round([unfolded, folded], turn)
            rounds.append(median(mine) / median(its))
    assert median(rounds) > 1.1


def test_weight_norm_left_on_is_refused_by_a_measurement(monkeypatch):
    monkeypatch.setattr(deployment, "fold", lambda model: model.eval())
    with pytest.raises(
        InputError, match=r"must be folded before it is timed, but skip\.\S+ still has weight norm"
    ):
        measure_latency(build_model(TINY), QUICK)


def test_inputs_and_weights_take_new_places_and_keep_their_values():
    one = ready(fold(build_model(TINY)))
    import random

    weights = [p.clone() for p in one.deployed.network.parameters()]
    before = one.deployed(one.mosaics[0]).clone()
    places = {p.data_ptr() for p in one.deployed.network.parameters()} | {
        m.data_ptr() for m in one.mosaics
    }
    for k in range(3):
        one.move(random.Random(k))
    after = {p.data_ptr() for p in one.deployed.network.parameters()} | {
        m.data_ptr() for m in one.mosaics
    }
    assert places != after
    assert all(
        torch.equal(a, b) for a, b in zip(weights, one.deployed.network.parameters(), strict=True)
    )
    assert torch.equal(one.deployed(one.mosaics[0]), before)


def test_networks_take_turns_and_inputs_too(monkeypatch):
    a, b = ready(fold(build_model(TINY))), ready(fold(build_model(TINY)))
    seen = []
    run_ms = NetworkTimer.run_ms
    monkeypatch.setattr(
        NetworkTimer, "run_ms", lambda self, turn: seen.append((self, turn)) or run_ms(self, turn)
    )
    times, _ = time_round([a, b], 0)
    timed = seen[2:]  # after one untimed run each
    assert [one for one, _ in timed] == [a, b] * timer.PAIRS
    assert {turn % len(a.mosaics) for _, turn in timed} == set(range(timer.INPUTS))
    assert [len(of_one) for of_one in times] == [timer.PAIRS] * 2 and a.times_ms == times[0]
    assert all(0.2 < float(mosaic.std()) < 0.4 for mosaic in a.mosaics)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_an_unsynchronised_timer_is_refused():
    one = Deployed(fold(build_model(BASELINES["M2"])), FORM, torch.device("cuda"), 2048, 2048)
    timed = NetworkTimer(one, random_mosaics(one, 2048, 2048))
    _, right = time_round([timed], 0)
    one.finish = lambda: None
    _, wrong = time_round([timed], 0)
    check_accounted([right])
    with pytest.raises(InputError):
        check_accounted([wrong])
