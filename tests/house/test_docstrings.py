"""What plugin authors read says what it is."""

from __future__ import annotations

import ast
import importlib
import inspect

from pilot_core import errors


def undocumented(module) -> list[str]:
    """Public classes and functions a module offers without a docstring of their own."""
    offered = {name: getattr(module, name) for name in module.__all__}
    return [
        name
        for name, value in offered.items()
        if (inspect.isclass(value) or inspect.isfunction(value)) and not value.__doc__
    ]


def test_every_error_name_says_what_it_is():
    assert undocumented(errors) == []


def test_everything_in_the_sdk_says_what_it_is():
    sdk = importlib.import_module("pilot_core.sdk")
    assert undocumented(sdk) == []


def test_every_hook_says_when_it_is_asked_and_what_its_answer_does(sources):
    hooks = [
        function
        for source in sources
        if source.name.startswith("pilot_core/spec/")
        for function in source.functions()
        if function.name.startswith("pilot_")
    ]
    assert len(hooks) > 15
    for hook in hooks:
        assert len((ast.get_docstring(hook) or "").split("\n\n")) > 1, hook.name
