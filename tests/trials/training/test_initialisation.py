"""The first gains and biases are those at which a batch's signal keeps its size all the way."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import parametrize

from nas.samplers import random_genome
from space import BASELINES, DarkUNet, Genome, build_model
from trials import DataConfig, TrainConfig, load_data, train
from trials.training.initialisation import fit_first_layers


def batch() -> tuple[Tensor, Tensor]:
    """Mosaics and pictures with colours of their own, and something to see in them."""
    generator = torch.Generator().manual_seed(3)
    small = (
        torch.rand(4, 3, 16, 16, generator=generator)
        * torch.tensor([0.2, 0.5, 0.9])[:, None, None]
    )
    target = nn.functional.interpolate(small, scale_factor=8, mode="bilinear")
    mosaic = target.mean(dim=1, keepdim=True)
    return mosaic * torch.rand(mosaic.shape, generator=generator), target


def outputs_of_convolutions(model: DarkUNet, mosaic: Tensor) -> dict[nn.Module, Tensor]:
    """Of one forward pass, in its order."""
    seen: dict[nn.Module, Tensor] = {}
    hooks = [
        one.register_forward_hook(lambda module, _, output: seen.update({module: output}))
        for one in model.modules()
        if parametrize.is_parametrized(one)
    ]
    with torch.no_grad():
        model(mosaic)
    for hook in hooks:
        hook.remove()
    return seen


def fitted(genome: Genome, mosaic: Tensor, target: Tensor) -> DarkUNet:
    torch.manual_seed(0)
    model = build_model(genome)
    fit_first_layers(model, mosaic, target)
    return model


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 500))
def test_every_signal_has_mean_zero_and_variance_one(number: int) -> None:
    """Of any network of the space; the last convolution's are the pictures'."""
    mosaic, target = batch()
    model = fitted(random_genome(seed=1, number=number), mosaic, target)
    seen = outputs_of_convolutions(model, mosaic)
    *inner, (last, output) = seen.items()
    for module, values in inner:
        mean = 0.0 if module.bias is None else values.mean((0, 2, 3), keepdim=True)
        size = (values - mean).square().mean((0, 2, 3))
        # Few channels vary too little to be brought up so far.
        assert size.max() < 1.02 and size.median() > 0.98
        assert torch.as_tensor(mean).abs().max() < 1e-2
    assert math.isclose(float(output.std()), float(target.std()), rel_tol=0.05)
    if last.bias is not None:
        assert math.isclose(float(output.mean()), float(target.mean()), rel_tol=0.05)


def test_filters_keep_their_direction_and_the_same_batch_gives_the_same() -> None:
    mosaic, target = batch()
    torch.manual_seed(0)
    before = build_model(BASELINES["MO"])
    first, again = (fitted(BASELINES["MO"], mosaic, target) for _ in range(2))
    for name, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
        assert name.endswith(("bias", "original0")) or torch.equal(
            value, before.state_dict()[name]
        )


@pytest.mark.parametrize("is_new", [True, False])
def test_only_a_new_network_is_fitted(is_new: bool) -> None:
    """One that was trained before keeps what it has learnt."""
    data = load_data(DataConfig(scenes=2, scene_size=64, held_out=1))
    torch.manual_seed(0)
    model = build_model(BASELINES["MO"])
    before = [one.detach().clone() for one in model.parameters()]
    recipe = TrainConfig(steps=2, batch=1, crop=64, learning_rate=1e-12)
    train(model, data, recipe, seed=0, is_new=is_new)
    stays = [
        torch.allclose(one, other, atol=1e-6)
        for one, other in zip(model.parameters(), before, strict=True)
    ]
    assert all(stays) != is_new


@pytest.mark.parametrize("value", [0.0, 1.0, math.nan])
def test_a_batch_that_tells_nothing_changes_nothing_for_the_worse(value: float) -> None:
    """Black, white, or no number at all."""
    mosaic, target = (torch.full_like(one, value) for one in batch())
    model = fitted(BASELINES["MO"], mosaic, target)
    for parameter in model.parameters():
        assert torch.isfinite(parameter).all() and parameter.abs().max() < 100
