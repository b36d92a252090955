"""`nas.describe`: a network as table, drawing and JSON, and the design space."""

import pytest

from nas.cli.parser import run
from nas.describe import main
from space import BASELINES, DesignSpace, Genome


def described(capsys, *argv):
    status = run(main, argv)
    said = capsys.readouterr()
    return status, said.out, said.err


def test_mo_is_described_with_its_shares(capsys):
    status, out, _ = described(capsys, "MO")
    assert status == 0
    assert "1.288 GMAC for one 512 x 512 mosaic; 0.7848 M parameters" in out
    assert "CVPR 2021" in out and "42.7 %" in out and "multiples of 32" in out
    assert "3 x RDB of 5 layers, the first 4, growth 32" in out


def test_the_drawing_is_written(capsys, tmp_path):
    status, out, _ = described(capsys, "MO", "--drawing", str(tmp_path / "m1.svg"))
    text = (tmp_path / "m1.svg").read_text()
    assert status == 0 and out == f"wrote {tmp_path}/m1.svg\n"
    assert "<title>network MO</title>" in text and "3 x RDB" in text
    for name, told in (
        ("m1.png", "--drawing must end in .svg, but got"),
        ("no/m1.svg", "No such file or directory; choose another"),
    ):
        status, _, error = described(capsys, "M1", "--drawing", str(tmp_path / name))
        assert status == 2 and told in error and error.count("\n") == 1


def test_a_genome_goes_through_json_and_back(capsys, tmp_path):
    _, out, _ = described(capsys, "M2", "--json")
    (tmp_path / "genome.json").write_text(out)
    assert Genome.from_json(out) == BASELINES["M2"]
    for network in (tmp_path, tmp_path / "genome.json"):
        status, again, _ = described(capsys, str(network))
        assert status == 0 and BASELINES["M2"].digest in again


def test_the_space_shows_every_gene(capsys):
    status, out, _ = described(capsys, "--space")
    assert status == 0 and all(gene.name in out for gene in DesignSpace().genes)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "give either a network (a name, a file, a folder) or --space"),
        (["MO", "--space"], "give either a network"),
        (["nobody.json"], "but there is no nobody.json; check the path"),
        (["MO", "--height", "0"], "height and width must be at least 1, but got 0 and 512"),
        (["MO", "--colour"], "unrecognized arguments: --colour; see python -m nas.describe"),
    ],
)
def test_bad_input_is_one_line_and_status_2(capsys, argv, message):
    status, out, err = described(capsys, *argv)
    assert (status, out) == (2, "")
    assert err.startswith("error: ") and message in err and err.count("\n") == 1


def test_a_damaged_genome_is_named(capsys, tmp_path):
    (tmp_path / "genome.json").write_text("{")
    status, _, err = described(capsys, str(tmp_path))
    assert status == 2 and str(tmp_path / "genome.json") in err and "a genome must be JSON" in err
    (tmp_path / "genome.json").write_bytes(b"\xff\xfe")
    assert described(capsys, str(tmp_path))[0] == 2
