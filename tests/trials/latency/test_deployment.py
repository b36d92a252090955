"""The deployed form: same picture, in every dtype, memory format and runtime."""

import os
import subprocess
import sys
import warnings
from dataclasses import replace

import pytest
import torch

from space import BASELINES, Genome, InputError, build_model
from space.branches import Parallel
from trials import LatencyConfig
from trials.latency.deployment import ForkedParallel, check_form, deploy, forked, scoring_form

CPU = torch.device("cpu")
CONFIG = LatencyConfig()
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def picture(model, mosaic, **changes):
    with torch.no_grad():
        one = deploy(model, replace(CONFIG, **changes), mosaic.device, *mosaic.shape[-2:])
        return one(mosaic.to(one.dtype)).float(), one


@pytest.fixture(scope="module")
def mosaic():
    return torch.rand(1, 1, 128, 192, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("memory_format", ["channels_last", "contiguous", "auto"])
def test_the_deployed_form_gives_the_trained_networks_picture(name, memory_format, mosaic):
    torch.manual_seed(0)
    model = build_model(BASELINES[name]).eval()
    with torch.no_grad():
        trained = model(mosaic)
    image, one = picture(model, mosaic, memory_format=memory_format)
    assert (image - trained).abs().max() < 1e-4
    assert one.form.runtime == "eager" and one.form.memory_format in (
        "channels_last",
        "contiguous",
    )


@pytest.mark.parametrize(("dtype", "tolerance"), [("bfloat16", 2e-2), ("float16", 2e-3)])
def test_half_precision_is_near(dtype, tolerance, mosaic):
    torch.manual_seed(0)
    model = build_model(BASELINES["MO"]).eval()
    with torch.no_grad():
        trained = model(mosaic)
    image, one = picture(model, mosaic, dtype=dtype)
    assert 0 < (image - trained).abs().max() < tolerance
    assert {p.dtype for p in one.network.parameters()} == {getattr(torch, dtype)}
    assert {p.dtype for p in model.parameters()} == {torch.float32}, (
        "the model itself stays as it is"
    )


def test_channels_last_reaches_the_weights(mosaic):
    _, one = picture(build_model(BASELINES["MO"]), mosaic)
    weights = [
        p for p in one.network.parameters() if p.ndim == 4 and p.shape[2] > 1 and p.shape[1] > 1
    ]
    assert weights and all(p.is_contiguous(memory_format=torch.channels_last) for p in weights)


def test_what_is_scored_has_the_same_arithmetic(mosaic):
    model = build_model(BASELINES["MO"])
    image, _ = picture(model, mosaic, dtype="bfloat16")
    network = scoring_form(model, replace(CONFIG, dtype="bfloat16"), "cpu")
    with torch.no_grad():
        assert torch.equal(network(mosaic.bfloat16()).float(), image)


@pytest.mark.slow
def test_compiled_gives_the_same_picture(mosaic):
    model = build_model(BASELINES["MO"]).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler's own
        image, one = picture(model, mosaic, runtime="compile")
    with torch.no_grad():
        assert (image - model(mosaic)).abs().max() < 1e-4
    assert one.form.runtime == "compile"


@pytest.mark.slow
def test_the_ninth_network_is_compiled_too(mosaic):
    """torch stops compiling a function after eight times, and all networks share DarkUNet's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ones = []
        before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
        for width in range(4, 15):
            model = build_model(
                Genome(
                    skip_width=width, skip_block="rep", skip_blocks=1, merge_width=0, head="none"
                )
            )
            ones.append((picture(model, mosaic, runtime="compile")[1], model.eval()))
        compiled = torch._dynamo.utils.counters["stats"]["unique_graphs"] - before
        for one, model in ones:
            with torch.no_grad():
                assert (one(mosaic) - model(mosaic)).abs().max() < 1e-4
    assert compiled == len(ones)


def test_forked_branches_are_the_same_module():
    model = build_model(BASELINES["M2"])
    names = list(model.state_dict())
    assert isinstance(forked(model).deep, ForkedParallel) and list(model.state_dict()) == names
    assert isinstance(forked(build_model(BASELINES["MO"])).deep, Parallel)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"dtype": "int8"},
            "latency.dtype must be one of float32, float16, bfloat16, but got 'int8'",
        ),
        (
            {"memory_format": "nhwc"},
            "latency.memory_format must be one of channels_last, contiguous, auto, but got 'nhwc'",
        ),
        (
            {"runtime": "tensorrt"},
            "latency.runtime must be one of auto, eager",
        ),
        (
            {"runtime": "cuda_graph"},
            "runtime cuda_graph needs a GPU, but the device is cpu; choose eager or compile",
        ),
    ],
)
def test_what_the_device_cannot_do_is_told(changes, message):
    with pytest.raises(InputError) as caught:
        check_form(replace(CONFIG, **changes), CPU)
    assert message in str(caught.value)


def test_compile_without_a_compiler_is_told(tmp_path):
    code = (
        "import torch; from trials import LatencyConfig\n"
        "from trials.latency.deployment import check_form\n"
        "check_form(LatencyConfig(runtime='compile'), torch.device('cpu'))"
    )
    env = {**os.environ, "PATH": str(tmp_path)}
    env.pop("CXX", None)
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert (
        "runtime compile needs a C++ compiler, but there is no g++ or clang++ in the PATH"
        in done.stderr
    )


@needs_gpu
@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("runtime", ["eager", "cuda_graph"])
def test_on_a_gpu_every_runtime_gives_the_same_picture(name, runtime, mosaic):
    model = build_model(BASELINES[name]).eval()
    with torch.no_grad():
        trained = model(mosaic)
    image, _ = picture(model, mosaic.cuda(), runtime=runtime)
    assert (image.cpu() - trained).abs().max() < 1e-4
