"""The types of what keeps a writer busy, writes notes, and reads them."""

from collections.abc import Callable
from contextlib import AbstractContextManager

Held = Callable[[], AbstractContextManager[None]]
Write = Callable[[str], Callable[[], str]]
Notes = Callable[[], list[str]]
