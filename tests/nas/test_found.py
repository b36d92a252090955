"""Found networks have names: points of the space that a stored study holds, and every command
knows them.
"""

import json
from pathlib import Path

import pytest

from nas.cli.networks import NAMED, read_genome
from space import BASELINES, FOUND, DesignSpace, InputError

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"


@pytest.mark.parametrize("name", FOUND)
def test_found_networks_are_points_of_the_space(name):
    space, genome = DesignSpace(), FOUND[name].genome
    assert space.decode(space.encode(genome)) == genome
    assert genome not in BASELINES.values()


def test_names_mean_one_network_each():
    assert (
        len({genome.digest for genome in NAMED.values()})
        == len(NAMED)
        == len(BASELINES) + len(FOUND)
    )
    assert all(read_genome(name) == genome for name, genome in NAMED.items())


def test_they_are_what_the_stored_study_found():
    told = json.loads((RESULTS / "dark_search.json").read_text())
    by_trial = {one["trial"]: one for one in told["networks"]}
    for found in FOUND.values():
        one = by_trial[found.study["trial"]]
        assert found.genome.to_dict() == {**one["genome"]} and one["kind"] == "complete"
        assert (found.study["psnr_db"], found.study["ratio_to_mo"]) == (
            one["psnr_db"],
            one["ratio_to_mo"],
        )
        assert (
            found.study["command"] == told["command"] and found.study["trials"] == told["finished"]
        )
        assert (
            f"trial {found.study['trial']} of {told['finished']} of {told['command']}"
            in found.origin
        )


def test_an_unknown_name_is_told_with_those_that_there_are():
    with pytest.raises(InputError) as caught:
        read_genome("F99")
    assert (
        f"a network must be {', '.join(NAMED)}, a genome's JSON file or a trial's folder, "
        f"but there is no F99"
    ) in str(caught.value)
