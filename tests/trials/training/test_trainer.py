"""A step over flat parameters learns what the network with its weight norm would; a GPU's route is
a CPU's, but ahead.
"""

import copy
import math
import random
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from space import BASELINES, DesignSpace, Genome, InputError, build_model
from trials import DataConfig, TrainConfig, load_data
from trials.data.synthetic import gather_crops
from trials.raw.colour import orient
from trials.training import muon
from trials.training.flat_parameters import FlatParameters
from trials.training.muon import orthogonal
from trials.training.optimizer_step import OptimizerStep, restoration_loss
from trials.training.trainer import READ_STEPS, Trainer, learning_rate

CPU = torch.device("cpu")
CONFIG = TrainConfig(steps=40, batch=2, crop=64)
SMALL = Genome(
    skip_width=16,
    skip_block="rep",
    skip_blocks=1,
    merge_width=16,
    merge_groups=1,
    head="add",
    head_kernel=3,
)
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """These networks and crops are too small to share, and sharing is slow on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def genomes():
    chance, space = random.Random(0), DesignSpace()
    return [*BASELINES.values(), SMALL, *(space.decode(space.sample(chance)) for _ in range(6))]


def new_model(genome=SMALL):
    torch.manual_seed(0)
    return build_model(genome).train()


def batches(count, side=64, device=CPU):
    generator = torch.Generator().manual_seed(1)
    for _ in range(count):
        mosaic, target = (
            torch.rand(2, 1, side, side, generator=generator),
            torch.rand(2, 3, side, side, generator=generator),
        )
        yield mosaic.to(device), target.to(device)


def weights(trainer):
    return [parameter.detach().clone() for parameter in [*trainer.parameters, *trainer.average]]


def same(first, second):
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("genome", genomes(), ids=lambda genome: genome.digest[:6])
def test_flat_parameters_compute_the_network_and_its_gradient(genome, dtype):
    model = new_model(genome)
    own = copy.deepcopy(model)
    flat = FlatParameters(model, dtype)
    for before, after in zip(own.parameters(), model.parameters(), strict=True):
        assert (
            torch.equal(before, after)
            and after.untyped_storage().data_ptr() == flat.values.untyped_storage().data_ptr()
        )
    ((mosaic, target),) = batches(
        1, genome.size_multiple * (1 if genome.size_multiple > 32 else 2)
    )
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        wanted = own(mosaic)
    restoration_loss(wanted.float(), target, CONFIG).backward()
    output = flat.network(mosaic.to(dtype))
    loss = restoration_loss(output.float(), target, CONFIG)
    flat.backward(loss)
    tolerance = 1e-5 if dtype == torch.float32 else 3e-2
    assert output.dtype == dtype and (output - wanted).abs().max() < tolerance
    grads = torch.cat(
        [grad.flatten() for grad in flat.views(flat.grads, list(model.parameters()))]
    )
    own_grads = torch.cat([parameter.grad.flatten() for parameter in own.parameters()])
    assert (grads - own_grads).norm() < tolerance * own_grads.norm()


@torch.no_grad()
def test_a_refresh_follows_the_parameters():
    model = new_model()
    flat = FlatParameters(model, torch.float32)
    ((mosaic, _),) = batches(1)
    before = flat.network(mosaic)
    for parameter in model.parameters():
        parameter.mul_(1.1)
    assert torch.equal(flat.network(mosaic), before)
    flat.refresh()
    assert (
        (flat.network(mosaic) - model(mosaic)).abs().max()
        < 1e-5
        < (before - model(mosaic)).abs().max()
    )


def muon_by_hand(value, grad, momentum, rate):
    """One update of a matrix, from Jordan et al. 2024, with a true orthogonal matrix's bounds."""
    momentum.lerp_(grad, 0.05)
    matrix = grad.lerp(momentum, 0.95).flatten(1)
    found = orthogonal(matrix[None])[0]
    filters, length = matrix.shape
    value.sub_(rate * max(1, filters / length) ** 0.5 * found.view(value.shape))


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
@pytest.mark.parametrize("genome", genomes()[::4], ids=lambda genome: genome.digest[:6])
def test_an_update_is_clipped_and_the_average_follows(optimizer, genome):
    """Parameter by parameter: Muon for filters of more than 4 weights, Adam for all else."""
    config = replace(CONFIG, optimizer=optimizer, warmup_steps=4)
    trainer = Trainer(new_model(genome), config, CPU)
    views = trainer.optimizer.flat.views
    names = [name for name, _ in trainer.model.named_parameters()]
    mine = [nn.Parameter(one.detach().clone()) for one in trainer.parameters]
    average = [one.detach().clone() for one in mine]
    is_matrix = [
        optimizer == "muon" and name.endswith("original1") and one[0].numel() > 4
        for name, one in zip(names, mine, strict=True)
    ]
    assert any(is_matrix) == (optimizer == "muon") and not all(is_matrix)
    momenta = [torch.zeros_like(one) for one in mine]
    adam = torch.optim.Adam(
        [one for one, matrix in zip(mine, is_matrix, strict=True) if not matrix],
        betas=(0.9, 0.99),
    )
    side = genome.size_multiple * (1 if genome.size_multiple > 32 else 2)
    for step, (mosaic, target) in enumerate(batches(6, side)):
        trainer.optimizer.forward_backward(mosaic, target)
        grads = views(trainer.optimizer.flat.grads, trainer.parameters)
        for one, grad in zip(mine, grads, strict=True):
            one.grad = grad.clone()
        assert trainer.step(step, mosaic, target)
        clipped = float(nn.utils.clip_grad_norm_(mine, config.grad_clip)) > config.grad_clip
        assert clipped or step > 0
        rate = learning_rate(step, config)
        adam.param_groups[0]["lr"] = rate
        adam.step()
        decay = min(config.ema_decay, (1 + step) / (10 + step))
        with torch.no_grad():
            for one, momentum, matrix in zip(mine, momenta, is_matrix, strict=True):
                if matrix:
                    muon_by_hand(one, one.grad, momentum, rate)
        for one, mean, value, found in zip(
            mine, average, trainer.parameters, trainer.average, strict=True
        ):
            mean.lerp_(one.detach(), 1 - decay)
            assert torch.allclose(value, one, rtol=1e-4, atol=1e-5)
            assert torch.allclose(found, mean, rtol=1e-4, atol=1e-5)
            with torch.no_grad():
                one.copy_(value)
                mean.copy_(found)


@pytest.mark.parametrize("shape", [(3, 4, 7), (2, 16, 5), (1, 7, 7), (4, 32, 288)])
def test_orthogonal_keeps_the_singular_vectors_and_brings_the_values_near_one(shape):
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    left, values, right = torch.linalg.svd(orthogonal(matrices), full_matrices=False)
    wanted_left, _, wanted_right = torch.linalg.svd(matrices, full_matrices=False)
    assert values.max() < 1.3 and values[:, 0].min() > 0.6
    # Near square, the smallest values are lifted only in part.
    assert values.median() > 0.6
    found, wanted = left @ right, wanted_left @ wanted_right
    assert (found * wanted).sum() / wanted.square().sum() > 0.8


@settings(max_examples=30, deadline=None)
@given(
    rows=st.integers(1, 24),
    times=st.integers(2, 12),
    decades=st.integers(0, 6),
    seed=st.integers(),
)
def test_long_rows_are_made_orthogonal_by_the_small_matrices_as_by_the_large(
    rows, times, decades, seed
):
    """Also where singular values lie decades apart, as in momenta of a few steps."""
    generator = torch.Generator().manual_seed(seed % 2**63)
    shape = (2, rows, rows * times)
    left, _, right = torch.linalg.svd(torch.randn(shape, generator=generator), full_matrices=False)
    matrices = left * torch.logspace(0, -decades, rows)[None, None] @ right
    matrices /= torch.linalg.vector_norm(matrices, dim=(1, 2), keepdim=True)
    wanted = muon._iterated(matrices.double())
    assert (muon._iterated_apart(matrices) - wanted).norm() <= 2e-3 * wanted.norm()


@pytest.mark.parametrize("columns", [5, 9])
def test_a_matrix_of_zeros_stays_and_one_that_is_no_number_spoils_no_other(columns):
    matrices = torch.randn(3, 4, columns, generator=torch.Generator().manual_seed(0))
    alone = orthogonal(matrices[2:])
    matrices[0], matrices[1, 2, 3] = 0.0, math.nan
    found = orthogonal(matrices)
    assert torch.equal(found[0], torch.zeros(4, columns)) and torch.allclose(
        found[2:], alone, atol=1e-6
    )


def test_a_gradient_of_zeros_in_one_convolution_moves_it_no_further():
    trainer = Trainer(new_model(), CONFIG, CPU)
    optimizer = trainer.optimizer
    ((mosaic, target),) = batches(1)
    optimizer.forward_backward(mosaic, target)
    index = next(i for i, one in enumerate(trainer.parameters) if one.ndim == 4)
    optimizer.flat.views(optimizer.flat.grads, trainer.parameters)[index].zero_()
    before = weights(trainer)
    optimizer.set(1e-2, 0.0)
    optimizer.step()
    after = weights(trainer)
    moved = [not torch.equal(a, b) for a, b in zip(before, after, strict=True)]
    assert not moved[index] and sum(moved) > len(moved) / 2
    assert all(bool(one.isfinite().all()) for one in after)


def test_without_a_matrix_all_is_adams():
    """Filters of a few weights each: nothing for Muon, and the step works."""

    class Tiny(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = weight_norm(nn.Conv2d(1, 3, 2, padding=1))
            self.size_multiple = 2

        def forward(self, mosaic):
            return self.conv(mosaic)[..., :-1, :-1]

    torch.manual_seed(0)
    optimizer = OptimizerStep(Tiny(), CONFIG, torch.float32)
    before = optimizer.flat.values.clone()
    ((mosaic, target),) = batches(1)
    optimizer.set(1e-2, 0.0)
    # (The plain convolution pads by half its kernel, as ours of odd sizes do.)
    optimizer.forward_backward(mosaic, target)
    optimizer.step()
    assert not torch.equal(before, optimizer.flat.values)
    assert not optimizer._matrix_shapes and bool(optimizer.flat.values.isfinite().all())


@pytest.mark.parametrize("factor", [math.nan, math.inf])
def test_what_is_no_number_changes_nothing(factor):
    trainer = Trainer(new_model(), CONFIG, CPU)
    for step, (mosaic, target) in enumerate(batches(3)):
        trainer.step(step, mosaic, target)
    before = [tensor.clone() for tensor in trainer.optimizer.persistent]
    trainer.optimizer.forward_backward(mosaic, target * factor)
    trainer.optimizer.step()
    assert same(before, trainer.optimizer.persistent)
    assert not trainer.step(3, mosaic, target * factor) and not trainer.step(4, mosaic, target), (
        "it stays so"
    )
    assert same(before, trainer.optimizer.persistent)


def ahead(**changes):
    """A trainer that runs ahead as on a GPU, on the CPU, where nothing is captured."""
    trainer = Trainer(new_model(), CONFIG, CPU, **changes)
    trainer._ahead = True
    return trainer


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_running_ahead_learns_the_same_bit_for_bit(precision):
    trainer, other = (
        Trainer(new_model(), CONFIG, CPU, precision=precision),
        ahead(precision=precision),
    )
    for step, (mosaic, target) in enumerate(batches(READ_STEPS + 5)):
        assert trainer.step(step, mosaic, target) and other.step(step, mosaic, target)
        assert trainer.settled and other.settled == (step == READ_STEPS - 1)
    assert other.settle() and other.settled and vars(trainer.divergence) == vars(other.divergence)
    assert same(weights(trainer), weights(other))


def test_ahead_a_bad_loss_is_seen_later_and_nothing_is_spoilt():
    trainer, healthy = ahead(), []
    given = list(batches(READ_STEPS + 2))
    for step, (mosaic, target) in enumerate(given):
        healthy.append(trainer.step(step, mosaic, target * (math.nan if step == 5 else 1.0)))
    assert healthy == [True] * (READ_STEPS - 1) + [False] * 3 and trainer.divergence.diverged
    assert all(bool(torch.isfinite(weight).all()) for weight in weights(trainer))
    again = ahead()
    again.restore(trainer.state())
    assert not again.step(len(given), *given[0]) and not again.settle()


def test_ahead_it_goes_on_from_what_was_kept_as_if_unbroken():
    whole, first = ahead(), ahead()
    given = list(batches(20))
    for step, batch in enumerate(given):
        whole.step(step, *batch)
    for step, batch in enumerate(given[:7]):
        first.step(step, *batch)
    second = ahead()
    second.step(0, *given[3])  # what it had learnt itself, and not read back, is forgotten
    second.restore(copy.deepcopy(first.state()))
    for step, batch in enumerate(given[7:], 7):
        second.step(step, *batch)
    assert whole.settle() and second.settle() and vars(whole.divergence) == vars(second.divergence)
    assert same(weights(whole), weights(second))


def test_a_crop_that_does_not_fit_is_refused():
    with pytest.raises(InputError, match="crop must be a multiple of"):
        Trainer(new_model(), TrainConfig(crop=36), CPU)


def test_gathered_crops_are_slices_in_their_orientation():
    scenes = torch.rand(3, 3, 40, 40).half()
    places = torch.tensor([[turn % 3, 3 * turn, 21 - 2 * turn, turn] for turn in range(8)])
    wanted = [
        orient(scenes[which, :, top : top + 18, left : left + 18], turn)
        for which, top, left, turn in places.tolist()
    ]
    found = gather_crops(scenes, places, 18)
    assert torch.equal(found, torch.stack(wanted)) and found.is_contiguous()


@needs_gpu
@pytest.mark.parametrize("name", ["MO", "M2"])
def test_on_a_gpu_the_graph_learns_what_the_same_kernels_learn_one_by_one(name, capsys):
    device = torch.device("cuda")
    trainers = [
        Trainer(new_model(BASELINES[name]), CONFIG, device, graph=graph) for graph in (True, False)
    ]
    for step, (mosaic, target) in enumerate(batches(READ_STEPS + 5, device=device)):
        assert all(trainer.step(step, mosaic, target) for trainer in trainers)
    assert all(trainer.settle() for trainer in trainers) and capsys.readouterr().err == ""
    assert trainers[0].divergence.smoothed == pytest.approx(
        trainers[1].divergence.smoothed, rel=1e-3
    )
    apart = (trainers[0].optimizer.average - trainers[1].optimizer.average).norm() / trainers[
        1
    ].optimizer.average.norm()
    assert apart < 1e-2


@needs_gpu
def test_on_a_gpu_a_bad_step_changes_nothing_and_is_found():
    device = torch.device("cuda")
    trainer = Trainer(new_model(), CONFIG, device, precision=torch.bfloat16)
    for step, (mosaic, target) in enumerate(batches(4, device=device)):
        trainer.step(step, mosaic, target)
    before = [tensor.clone() for tensor in trainer.optimizer.persistent]
    trainer.step(4, mosaic, target * math.nan)
    assert not trainer.settle() and same(before, trainer.optimizer.persistent)


@needs_gpu
def test_on_a_gpu_neither_a_batch_nor_a_step_waits_for_the_device():
    data = load_data(DataConfig(scenes=4, scene_size=96, held_out=2), device="cuda")
    trainer = Trainer(new_model(), CONFIG, data.device, precision=torch.bfloat16)
    generator = torch.Generator(data.device).manual_seed(0)
    trainer.step(0, *data.sample(CONFIG.batch, CONFIG.crop, generator))
    torch.cuda.set_sync_debug_mode("error")
    try:
        for step in range(1, 5):
            trainer.step(step, *data.sample(CONFIG.batch, CONFIG.crop, generator))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert trainer.settle()
