"""The paired bootstrap: zero against itself, normal for many, scenes wider than pictures."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from space import InputError
from trials.scoring.bootstrap import difference_over_trainings, paired_difference

SCORES = st.lists(st.floats(5, 60), min_size=2, max_size=40)


@settings(max_examples=30, deadline=None)
@given(SCORES)
def test_against_itself_everything_is_exactly_zero(scores):
    found = paired_difference(scores, scores, resamples=200)
    assert (found.mean, found.low, found.high) == (0.0, 0.0, 0.0)


@settings(max_examples=30, deadline=None)
@given(SCORES, st.floats(-3, 3))
def test_a_shift_of_every_picture_is_found_without_doubt(scores, shift):
    found = paired_difference([score + shift for score in scores], scores, resamples=200)
    assert (found.low, found.high) == pytest.approx((shift, shift), abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.floats(5, 60), st.floats(5, 60)), min_size=2, max_size=30))
def test_turned_round_it_is_the_mirror_image(pairs):
    ours, theirs = zip(*pairs, strict=True)
    one = paired_difference(ours, theirs, resamples=500)
    other = paired_difference(theirs, ours, resamples=500)
    mirrored = (-other.mean, -other.high, -other.low)
    assert (one.mean, one.low, one.high) == pytest.approx(mirrored, abs=1e-9)
    differences = [a - b for a, b in pairs]
    assert min(differences) - 1e-9 <= one.low <= one.high <= max(differences) + 1e-9


@pytest.mark.parametrize("scenes", [None, [str(index // 3) for index in range(40)]])
def test_the_draws_are_numpys(scenes):
    """Stored figures were made this way, before SciPy drew: they must stay, bit for bit."""
    differences = np.random.default_rng(4).normal(size=40)
    found = paired_difference(differences.tolist(), [0.0] * 40, scenes=scenes)
    _, unit_of = np.unique(range(40) if scenes is None else scenes, return_inverse=True)
    sums, counts = np.bincount(unit_of, weights=differences), np.bincount(unit_of).astype(float)
    chosen = np.random.default_rng(0).integers(0, len(sums), size=(10_000, len(sums)))
    means = sums[chosen].sum(axis=1) / counts[chosen].sum(axis=1)
    tail = (1 - 0.95) / 2
    assert (found.low, found.high) == tuple(np.quantile(means, (tail, 1 - tail)))


def test_the_interval_is_that_of_the_normal_law_for_many_pictures():
    differences = np.random.default_rng(1).normal(0.3, 1.0, 400)
    found = paired_difference(differences.tolist(), [0.0] * 400)
    reach = 1.96 * differences.std() / math.sqrt(400)
    assert found.mean == pytest.approx(differences.mean())
    assert found.low == pytest.approx(differences.mean() - reach, abs=0.01)
    assert found.high == pytest.approx(differences.mean() + reach, abs=0.01)


def test_it_covers_the_truth_as_often_as_it_says():
    draws = np.random.default_rng(2)
    covered = 0
    for _ in range(200):
        found = paired_difference(draws.normal(0.5, 1, 40).tolist(), [0.0] * 40, resamples=400)
        covered += found.low <= 0.5 <= found.high
    assert 180 <= covered <= 200, "about 190 of 200"


def test_pictures_of_one_scene_count_as_one():
    # Four scenes of ten equal pictures: forty pictures only seem to be forty observations.
    scenes = [str(index // 10) for index in range(40)]
    ours = [float(index // 10) for index in range(40)]
    pictures = paired_difference(ours, [0.0] * 40)
    by_scene = paired_difference(ours, [0.0] * 40, scenes=scenes)
    assert (pictures.units, by_scene.units) == (40, 4) and pictures.mean == by_scene.mean == 1.5
    assert by_scene.high - by_scene.low > 2 * (pictures.high - pictures.low)


def test_scenes_of_one_picture_each_are_pictures():
    ours, theirs = [30.0, 31.5, 29.0], [30.5, 30.0, 29.5]
    by_scene = paired_difference(ours, theirs, scenes=["a", "b", "c"])
    assert by_scene == paired_difference(ours, theirs)


def test_the_seed_decides():
    ours = np.random.default_rng(3).normal(size=12).tolist()
    first, again, other = (paired_difference(ours, [0.0] * 12, seed=seed) for seed in (0, 0, 1))
    assert first == again != other


@pytest.mark.parametrize(
    ("ours", "theirs", "mean"),
    [
        ([30.0], [29.0], 1.0),
        ([math.inf, 30.0], [30.0, 30.0], math.inf),
        ([math.nan, 1.0], [1.0, 1.0], math.nan),
    ],
)
def test_without_an_interval(ours, theirs, mean):
    found = paired_difference(ours, theirs)
    assert (found.low, found.high) == (None, None)
    assert found.mean == pytest.approx(mean, nan_ok=True)


def test_two_perfect_pictures_do_not_differ():
    found = paired_difference([math.inf, math.inf], [math.inf, math.inf])
    assert (found.mean, found.low, found.high) == (0.0, 0.0, 0.0)


def test_scores_of_other_pictures_are_refused():
    words = "of the same pictures, at least one, but there are 2 and 1"
    with pytest.raises(InputError, match=words):
        paired_difference([1.0, 2.0], [1.0])
    with pytest.raises(InputError, match="at least one, but there are 0 and 0"):
        paired_difference([], [])
    with pytest.raises(InputError, match="2 pictures and 1 scenes"):
        paired_difference([1.0, 2.0], [1.0, 2.0], scenes=["a"])


def trained(rng, trainings, pictures, mean, of_seed, of_picture):
    """Scores of a network's trainings; `pictures` (n) is what both networks share."""
    seeds = rng.normal(mean, of_seed, (trainings, 1))
    return pictures + seeds + rng.normal(0, of_picture, (trainings, len(pictures)))


@pytest.mark.slow
@pytest.mark.parametrize(("of_seed", "of_picture"), [(0.1, 0.3), (0.05, 1.0), (0.2, 0.1)])
def test_intervals_over_three_trainings_hold_the_truth(of_seed, of_picture):
    rng = np.random.default_rng(1)
    hits, cases = 0, 150
    for case in range(cases):
        pictures = rng.normal(25, 3, 60)
        ours, theirs = (
            trained(rng, 3, pictures, mean, of_seed, of_picture) for mean in (0.2, 0.0)
        )
        found = difference_over_trainings(ours, theirs, resamples=400, seed=case)
        assert found.trainings == 3 and found.units == 60
        hits += found.low <= 0.2 <= found.high
    assert 0.89 <= hits / cases <= 1.0


def test_one_training_each_is_the_paired_difference():
    values, against = [21.0, 22.0, 25.0], [20.0, 23.0, 24.5]
    assert difference_over_trainings([values], [against]) == paired_difference(values, against)


def test_more_trainings_than_one_are_compared_picture_by_picture_and_by_scene():
    values, against = [[21.0, 22.0, 25.0], [21.5, 22.5, 24.0]], [[20.0, 23.0, 24.5]]
    found = difference_over_trainings(values, against, scenes=["a", "a", "b"])
    assert found.units == 2 and found.trainings == 1
    assert found.mean == pytest.approx(np.mean(values) - np.mean(against))
    assert found.low < found.mean < found.high
    with pytest.raises(InputError):
        difference_over_trainings(values, [[1.0, 2.0]])
