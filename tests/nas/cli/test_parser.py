"""The edge of a command: what becomes one line, and with which status."""

from __future__ import annotations

import errno

import pytest

from nas import cli
from space import InputError


def raising(error: BaseException):
    def main(argv: list[str]) -> int:
        raise error

    return main


def test_an_input_error_is_one_line_and_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(raising(InputError("a rule\n  must hold,\tbut got 3; change it")), []) == 2
    assert capsys.readouterr().err == "error: a rule must hold, but got 3; change it\n"


def test_ctrl_c_is_status_130(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(raising(KeyboardInterrupt()), []) == 130
    assert capsys.readouterr().err == "stopped\n"


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        cli.run(raising(ZeroDivisionError("division by zero")), [])


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "/a/b"),
        RuntimeError("I/O error: No space left on device (os error 28)"),
        ValueError("database or disk is full"),
    ],
)
def test_a_full_disk_is_known_in_every_dialect(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    wrapped = RuntimeError("could not write")
    wrapped.__cause__ = error
    assert cli.run(raising(wrapped), []) == 2
    output = capsys.readouterr().err
    assert (
        output.startswith("error: the disk is full")
        and "free some space" in output
        and output.count("\n") == 1
    )


def test_other_os_errors_are_not_taken_for_a_full_disk() -> None:
    assert not cli.is_disk_full(OSError(errno.ENOENT, "No such file"))


def test_a_place_that_cannot_be_written_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(raising(OSError(errno.EROFS, "Read-only file system", "/ro/x")), []) == 2
    output = capsys.readouterr().err
    assert (
        output
        == "error: /ro/x must be writable, but: Read-only file system; choose another place\n"
    )


def test_a_parser_gives_one_line_and_no_usage(capsys: pytest.CaptureFixture[str]) -> None:
    def main(argv: list[str]) -> int:
        parser = cli.Parser(prog="python -m nas.x", example="python -m nas.x --n 3")
        parser.add_argument("--n", type=int)
        return int(parser.parse_args(argv).n)

    assert cli.run(main, ["--n", "three"]) == 2
    assert (
        capsys.readouterr().err
        == "error: argument --n: invalid int value: 'three'; see python -m nas.x --help\n"
    )
    assert cli.run(main, ["--n", "0"]) == 0
