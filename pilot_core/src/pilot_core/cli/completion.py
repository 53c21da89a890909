"""``pilot completion``: a small script that lets a shell complete commands, their options and their words."""

from __future__ import annotations

import shlex
from argparse import Action, Namespace
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import Final

from attrs import frozen

from pilot_core.cli.parser import OneOf, Parser

INSTALL: Final = {
    "bash": 'eval "$(pilot completion bash)"  # in ~/.bashrc',
    "zsh": 'eval "$(pilot completion zsh)"  # in ~/.zshrc, after compinit',
    "fish": "pilot completion fish > ~/.config/fish/completions/pilot.fish",
}


@frozen
class Flag:
    """An option of a command."""

    names: tuple[str, ...]
    help: str
    takes: bool
    words: tuple[str, ...]


@frozen
class Known:
    """A command, its line in the overview, its options, and the words that may follow it."""

    name: str
    help: str
    flags: tuple[Flag, ...]
    words: tuple[str, ...]

    @property
    def offers(self) -> str:
        """All words that may follow."""
        return " ".join((*self.words, *(name for flag in self.flags for name in flag.names)))


def describe(parser: Parser) -> None:
    """Add the arguments of ``pilot completion``."""
    told = f"bash, zsh or fish. To have it: {INSTALL['bash']}".replace("%", "%%")
    parser.add_argument("shell", metavar="bash|zsh|fish", type=OneOf(*SCRIPTS), help=told)


def run(arguments: Namespace) -> int:
    """Print the script."""
    print("\n".join(SCRIPTS[arguments.shell](list(_commands()))))
    print(f"# to have it: {INSTALL[arguments.shell]}")
    return 0


def _commands() -> Iterator[Known]:
    from pilot_core.cli.main import COMMANDS, SHARED

    for group in COMMANDS.values():
        for name, told in group.items():
            module = import_module(f"pilot_core.cli.{SHARED.get(name, name.replace('-', '_'))}")
            parser = Parser(prog=f"pilot {name}")
            module.describe(parser)
            actions = parser._actions  # argparse has no other way to ask
            flags = tuple(_flag(each) for each in actions if each.option_strings)
            yield Known(name, told, flags, tuple(word for each in actions if _is_word(each) for word in _words(each)))


def _is_word(action: Action) -> bool:
    return not action.option_strings


def _words(action: Action) -> tuple[str, ...]:
    return action.type.words if isinstance(action.type, OneOf) else tuple(map(str, action.choices or ()))


def _flag(action: Action) -> Flag:
    return Flag(tuple(action.option_strings), action.help or "", action.nargs != 0, _words(action))


def _bash(commands: Sequence[Known]) -> Iterator[str]:
    yield "_pilot() {"
    yield '    local word="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}" words=""'
    yield '    if [[ $COMP_CWORD -eq 1 || "${COMP_WORDS[1]}" == help ]]; then'
    yield f"        words={shlex.quote(' '.join([*(each.name for each in commands), 'help', '--help', '--version']))}"
    yield '    else case "${COMP_WORDS[1]}" in'
    for each in commands:
        yield f"        {each.name}) words={shlex.quote(each.offers)}"
        yield '            case "$before" in'
        for flag in each.flags:
            if flag.takes:
                yield f"                {'|'.join(flag.names)}) words={shlex.quote(' '.join(flag.words))} ;;"
        yield "            esac ;;"
    yield "    esac; fi"
    yield '    COMPREPLY=($(compgen -W "$words" -- "$word"))'
    yield "}"
    yield "complete -o default -F _pilot pilot"


def _zsh(commands: Sequence[Known]) -> Iterator[str]:
    yield "#compdef pilot"
    yield "_pilot() {"
    yield "    local -a found"
    yield "    if (( CURRENT == 2 )); then"
    yield f"        found=({' '.join(_zsh_pair(each.name, each.help) for each in commands)})"
    yield "        _describe command found; return"
    yield "    fi"
    yield "    case $words[2] in"
    for each in commands:
        flags = (_zsh_pair(name, flag.help) for flag in each.flags for name in flag.names)
        yield f"        {each.name}) found=({' '.join((*map(shlex.quote, each.words), *flags))}) ;;"
    yield "    esac"
    yield "    _describe option found"
    yield "    [[ $PREFIX == -* ]] || _files"
    yield "}"
    yield "compdef _pilot pilot"


def _zsh_pair(name: str, told: str) -> str:
    return shlex.quote(f"{name}:{_line(told)}".replace("\\", "\\\\"))


def _fish(commands: Sequence[Known]) -> Iterator[str]:
    for each in commands:
        yield f"complete -c pilot -f -n __fish_use_subcommand -a {each.name} -d {_fish_text(each.help)}"
        seen = f"-n '__fish_seen_subcommand_from {each.name}'"
        if each.words:
            yield f"complete -c pilot {seen} -f -a {_fish_text(' '.join(each.words))}"
        for flag in each.flags:
            names = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in flag.names)
            takes = " -r" if flag.takes else ""
            words = f" -f -a {_fish_text(' '.join(flag.words))}" if flag.words else ""
            yield f"complete -c pilot {seen} {names}{takes}{words} -d {_fish_text(_line(flag.help))}"


def _line(told: str) -> str:
    return " ".join(told.replace("%%", "%").split())


def _fish_text(text: str) -> str:
    """In single quotes, where fish knows but two escapes."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


SCRIPTS: Final[dict[str, Callable[[Sequence[Known]], Iterator[str]]]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
