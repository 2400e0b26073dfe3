"""Help is quick, complete, and its listing says what the commands say."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from runner.cli import LISTING, root
from runner.cli.commands import SHARED_NAMES, Group, first_line, load_command

LISTED = [(name, target, line) for commands in LISTING.values() for name, (target, line) in commands.items()]


def all_commands(group: click.Group, path: str) -> list[tuple[str, click.Command]]:
    context = click.Context(group)
    found = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        found.append((f"{path} {name}", command))
        found += all_commands(command, f"{path} {name}") if isinstance(command, click.Group) else []
    return found


COMMANDS = all_commands(root, "sluice")


@pytest.mark.parametrize(("name", "target", "line"), LISTED, ids=[name for name, *_ in LISTED])
def test_the_listing_of_the_root_says_what_the_command_itself_says(name: str, target: str, line: str) -> None:
    command = load_command(target)
    assert (command.name, first_line(command)) == (name, line)


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys; from runner.cli import main; main(['--help']); "
        "heavy = {'rich', 'pydantic', 'sqlalchemy', 'pyarrow', 'docker', 'contracts', 'registry', 'runner.service', 'json', 'logging'}; "
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_help_of_a_noun_imports_neither_the_runner_nor_a_library() -> None:
    script = "import sys; from runner.cli import main; main(['job', '--help']); print('runner.service' in sys.modules, 'pydantic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("False False\n")


@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=[path for path, _ in COMMANDS])
def test_every_command_explains_itself_and_every_option(path: str, command: click.Command) -> None:
    assert first_line(command).endswith(".")
    options = [p for p in command.params if isinstance(p, click.Option)]
    assert all(option.help and option.help[0].isupper() and option.help.endswith((".", ")")) for option in options)


@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=[path for path, _ in COMMANDS])
def test_every_command_takes_the_shared_options(path: str, command: click.Command) -> None:
    assert {p.name for p in command.params} >= set(SHARED_NAMES)


@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=[path for path, _ in COMMANDS])
def test_help_works_with_the_short_option_too(path: str, command: click.Command) -> None:
    result = CliRunner().invoke(root, [*path.split()[1:], "-h"])
    assert result.exit_code == 0
    assert result.output.startswith(f"Usage: root {path.removeprefix('sluice ')}")


def test_a_listed_target_that_is_no_command_is_refused() -> None:
    with pytest.raises(TypeError, match="is not a command"):
        load_command("runner.cli.units:parse_size")


def test_nouns_list_their_commands_in_the_order_of_their_file() -> None:
    job = load_command("runner.cli.job:job")
    assert isinstance(job, Group)
    assert list(job.commands) == ["list", "show", "logs", "wait", "cancel", "rerun", "versions", "compare", "sheet"]


def test_completion_offers_commands_and_shared_options() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from runner.cli import main; main()"],
        env={"_SLUICE_COMPLETE": "bash_complete", "COMP_WORDS": "sluice job ", "COMP_CWORD": "2", "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert "plain,cancel" in done.stdout.splitlines()
