"""Captures as CUDA graphs. torch.cuda is played here: the real one is only seen on a GPU."""

import contextlib
from types import SimpleNamespace

import pytest
import torch

from trials.device import capture, cuda_graph

ERROR = "operation not permitted\nwhen a stream is capturing"


@pytest.fixture
def played(monkeypatch):
    """A tensor of 7 that a replayed graph raises by 100, and the errors that captures raise."""
    value, errors = torch.full((1,), 7.0), []

    @contextlib.contextmanager
    def graph(graph, capture_error_mode):
        assert value == 7
        if errors:
            raise RuntimeError(errors[0])
        yield

    stream = SimpleNamespace(wait_stream=lambda other: None)
    for name, stand_in in (
        ("Stream", lambda device: stream),
        ("current_stream", lambda device: stream),
        ("CUDAGraph", lambda: SimpleNamespace(replay=lambda: value.add_(100))),
        ("stream", contextlib.nullcontext),
        ("device", contextlib.nullcontext),
        ("graph", graph),
        ("synchronize", lambda device: None),
    ):
        monkeypatch.setattr(torch.cuda, name, stand_in)
    monkeypatch.setattr(cuda_graph, "is_lost", lambda error, device: False)
    cuda_graph._note.cache_clear()
    return value, errors


def test_on_a_cpu_nothing_is_captured():
    def work():
        raise AssertionError("not run either")

    assert capture(work, [], torch.device("cpu"), required=True) is work


@pytest.mark.parametrize("fails", [False, True])
def test_warming_up_does_not_count_and_a_capture_that_fails_is_noted_once(played, capsys, fails):
    value, errors = played
    errors += [ERROR] if fails else []
    for _ in range(2):
        value.fill_(7)
        run = capture(lambda: value.add_(1), [value], torch.device("cuda"))
    value.fill_(7)
    run()
    assert value == (8 if fails else 107)
    note = (
        "note: the training step runs eagerly, since cuda did not capture it: "
        "operation not permitted\n"
    )
    assert capsys.readouterr().err == (note if fails else "")


def test_where_a_graph_is_required_a_failed_capture_raises(played):
    value, errors = played
    errors.append(ERROR)
    with pytest.raises(RuntimeError, match="operation not permitted"):
        capture(lambda: value.add_(1), [value], torch.device("cuda"), required=True)
