"""The same option is spelled alike in every command of both command lines."""

from __future__ import annotations

import sys

import pytest
from typer.main import get_command

from napari_mrtrans.cli import main, train
from napari_mrtrans.cli.options import each_of
from napari_mrtrans.errors import MrtransError

#: Of each command: the command line that it is of, and its options.
COMMANDS = {
    name: (module, {option for parameter in command.params for option in parameter.opts if option.startswith("--")})
    for module, app in ((main, main.app), (train, train.checks))
    for name, command in get_command(app).commands.items()
}
SEVERAL = [(name, option) for name, (_, options) in COMMANDS.items() for option in ("--pairs", "--subjects")
           if option in options]  # fmt: skip


def test_no_option_has_another_number_in_another_command() -> None:
    every = {option for _, options in COMMANDS.values() for option in options} | {
        option for parameter in get_command(train.app).params for option in parameter.opts
    }
    assert {option for option in every if f"{option}s" in every} == {"--device"}  # --devices is how many
    assert {name for name, _ in SEVERAL} == {"evaluate", "adapt", "validate-sampler"}


@pytest.mark.parametrize(("command", "option"), SEVERAL)
def test_several_are_also_found_by_the_name_of_one(
    command: str, option: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = COMMANDS[command][0]
    for given in ([option, "x"], [option[:-1], "x"], [f"{option[:-1]}=x"]):
        monkeypatch.setattr(sys, "argv", ["command", command, *given, "--nothing"])
        with pytest.raises(SystemExit):
            module.main()
        assert "--nothing" in capsys.readouterr().err, "the first that is not known"
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys, "argv", ["command", command, "--help"])
    with pytest.raises(SystemExit):
        module.main()
    assert f"{option[:-1]} " not in capsys.readouterr().out


def test_they_are_given_with_commas_or_one_by_one() -> None:
    assert each_of("--pairs", None) is each_of("--pairs", []) is None
    assert each_of("--pairs", ["T1->T2, T1->PD", "T2->T1"]) == ["T1->T2", "T1->PD", "T2->T1"]
    with pytest.raises(MrtransError, match=r"^--subjects 'a,,b c' holds an empty name; give them with commas between"):
        each_of("--subjects", ["a,,b", "c"])
