"""``pilot hooks``: what plugins are asked, as the specifications say it."""

from __future__ import annotations

import inspect
from argparse import Namespace
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pilot_core.cli.mistakes import Usage
from pilot_core.cli.output import answer, columns
from pilot_core.cli.parser import Parser, add_json
from pilot_core.config.spelling import meant

if TYPE_CHECKING:
    from types import ModuleType

    from pilot_core.spec.markers import Hook

SHAPES = {
    "first": "the first answer that is not None decides",
    "gather": "every answer counts",
    "tell": "no answer is wanted",
}


def describe(parser: Parser) -> None:
    """Add the arguments of ``pilot hooks``."""
    parser.add_argument("name", nargs="?", help="The hook to explain; all are listed without it.")
    add_json(parser)


def run(arguments: Namespace) -> int:
    """List all hooks, or explain one."""
    known = contract()
    if arguments.name is None:
        rows = list(known.values())
        answer(arguments.json, rows, _listed(rows))
        return 0
    hook = known.get(arguments.name) or known.get(f"pilot_{arguments.name}")
    if hook is None:
        raise Usage(f"no hook {arguments.name!r}{meant(arguments.name, known)}", "hooks")
    answer(arguments.json, hook, _explained(hook))
    return 0


def contract() -> dict[str, dict[str, str]]:
    """Every hook by its name, in the order in which the specifications have them."""
    from pilot_core.spec import jobs, payload, reporting, staging, startup

    return {
        name: _described(module, value)
        for module in (startup, jobs, staging, payload, reporting)
        for name, value in vars(module).items()
        if name.startswith("pilot_") and hasattr(value, "shape")
    }


def _described(module: ModuleType, hook: Hook[..., Any]) -> dict[str, str]:
    return {
        "name": hook.__name__,
        "moment": module.__name__.rpartition(".")[2],
        "shape": hook.shape.value,
        "since": hook.since,
        "signature": _signature(hook),
        "doc": inspect.getdoc(hook) or "",
    }


def _signature(hook: Hook[..., Any]) -> str:
    signature = inspect.signature(hook)
    arguments = ", ".join(f"{each.name}: {each.annotation}" for each in signature.parameters.values())
    return f"({arguments}) -> {signature.return_annotation}"


def _listed(rows: list[dict[str, str]]) -> str:
    first_lines = ((row["name"], row["shape"], row["since"], row["doc"].partition("\n")[0]) for row in rows)
    return columns(("HOOK", "SHAPE", "SINCE", "WHAT IT IS FOR"), first_lines)


def _explained(hook: Mapping[str, str]) -> str:
    return (
        f"def {hook['name']}{hook['signature']}\n\n{hook['doc']}\n\n"
        f"shape {hook['shape']}: {SHAPES[hook['shape']]}; in the core since {hook['since']}"
    )
