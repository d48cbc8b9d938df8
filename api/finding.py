"""What listing agents is, whichever way the request came in."""

from collections.abc import Iterable
from urllib.parse import urlencode

from starlette.responses import Response

from api.listings import Listings
from store import AgentFilter, AgentRegistryRepository


class Finder:
    """Lists the agents in `repo`, at once or page by page."""

    def __init__(self, repo: AgentRegistryRepository) -> None:
        self._repo = repo
        self._listings = Listings()

    async def list(
        self,
        agents: AgentFilter,
        given: Iterable[tuple[str, str]],
        *,
        after: str | None,
        limit: int | None,
        root_path: str = "",
    ) -> Response:
        """Return the answer with a page, and with a link to the next; send it.

        Args:
            agents: who is listed.
            given: the parameters of the request, which the next page has too.
            after: begin behind this id.
            limit: how many at most; None: all.
            root_path: what stands in front of the registry's paths, for its client.

        Raises:
            ProblemError: 503 when too much is read or unsent already.
            StoreError: what the repository raises.
        """
        page = await self._listings.read(
            lambda: self._repo.submit(
                self._repo.list_page, agents, after=after, limit=limit
            )
        )
        following = page.next_after
        headers = None
        if following is not None:
            kept = [(name, value) for name, value in given if name != "cursor"]
            query = urlencode([*kept, ("cursor", following)])
            headers = {"Link": f'<{root_path}/agents?{query}>; rel="next"'}
        return self._listings.answer(page.body, headers)
