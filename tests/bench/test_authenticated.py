"""Callers who must be known, in the benchmark."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from bench.results import Results
from bench.rows import authenticated
from bench.run import NotOffered, Run


@pytest.mark.parametrize("tls", [False, True])
def test_naive_lets_in_who_has_the_token(tmp_path: Path, *, tls: bool) -> None:
    """Over TLS too; who has none is refused, and that is seen before measuring."""
    with ThreadPoolExecutor() as executor, ExitStack() as stack:
        run = Run(
            Results(full=False),
            tmp_path,
            generator=executor,
            server_side=executor,
            rounds=1,
        )
        secret = authenticated.make_secrets(tmp_path, tls=tls)
        naive = authenticated.start_naive(run, stack, secret, agents=10)

        authenticated.require_refusal(run, secret.load(naive, agents=10, known=False))

        assert run.probe(secret.load(naive, agents=10)) == {200: 1}
        with pytest.raises(NotOffered, match="was answered 200"):
            authenticated.require_refusal(run, secret.load(naive, agents=10))
