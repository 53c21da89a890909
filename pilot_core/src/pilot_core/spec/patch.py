"""A change that a plugin asks for, as a value: what it would do to one key of a mapping."""

from __future__ import annotations

from enum import Enum

from attrs import field, frozen


class Verb(Enum):
    """What a patch does to the value it finds."""

    SET = "set"
    UNSET = "unset"
    PREPEND = "prepend"
    APPEND = "append"
    MIN = "min"
    MAX = "max"


@frozen
class Patch:
    """One change to one key. Made by the class methods below, which are the verbs.

    ``between`` joins texts, as ":" does in a search path; it is ignored for lists.
    """

    verb: Verb
    key: str
    value: object = None
    between: str = field(default="", kw_only=True)

    @classmethod
    def set(cls, key: str, value: object) -> Patch:
        """Make ``key`` this value, whatever it was."""
        return cls(Verb.SET, key, value)

    @classmethod
    def unset(cls, key: str) -> Patch:
        """Leave ``key`` out; no fault if it is not there."""
        return cls(Verb.UNSET, key)

    @classmethod
    def prepend(cls, key: str, value: object, *, between: str = "") -> Patch:
        """Put ``value`` before what is there; alone if nothing is."""
        return cls(Verb.PREPEND, key, value, between=between)

    @classmethod
    def append(cls, key: str, value: object, *, between: str = "") -> Patch:
        """Put ``value`` after what is there; alone if nothing is."""
        return cls(Verb.APPEND, key, value, between=between)

    @classmethod
    def min(cls, key: str, value: float) -> Patch:
        """Let ``key`` be at most ``value``: the smaller of the two stays."""
        return cls(Verb.MIN, key, value)

    @classmethod
    def max(cls, key: str, value: float) -> Patch:
        """Let ``key`` be at least ``value``: the larger of the two stays."""
        return cls(Verb.MAX, key, value)
