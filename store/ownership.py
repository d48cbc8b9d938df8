"""Whose an agent is: the rule, in Python and in SQL.

An agent belongs to the principal who registered it first, until it is removed. An
empty owner is nobody, of an agent; and of a call, whoever may touch every agent.
"""

#: `may_touch` in SQL. Bind: the owner on whose behalf the call is made.
TOUCHES = "(:owner = '' OR owner IN ('', :owner))"


def may_touch(agents_owner: str, owner: str) -> bool:
    """Tell whether `owner` may change an agent that belongs to `agents_owner`."""
    return not owner or agents_owner in ("", owner)
