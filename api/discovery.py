"""The calls that find agents: list and get."""

from collections import Counter
from typing import Annotated

from fastapi import FastAPI, Query, Request
from fastapi.responses import Response

from api import describe
from api.errors import FieldError, ProblemError, agent_not_found, shown
from api.finding import Finder
from api.grammar import (
    AGENT_ID_PATTERN,
    MAX_HOST_LENGTH,
    AgentId,
    PageLimit,
    is_agent_id,
)
from api.handover import hand
from api.models import AgentInfo, json_response
from store import AgentFilter, AgentRegistryRepository

#: Each filter deepens the query, and a database reads only so deep.
MAX_METADATA_FILTERS = 16
_METADATA = "metadata."
_PARAMETERS = {"include_dead", "name", "host", "limit", "cursor"}


def install(app: FastAPI, repo: AgentRegistryRepository, finder: Finder) -> None:
    """Add the calls that read the agents in `repo`."""

    # The lane in front of the application answers most of these: see api.lane.
    @app.get("/agents", **describe.LIST)
    async def list_agents(
        request: Request,
        *,
        include_dead: Annotated[bool, Query()] = False,
        name: Annotated[
            str | None, Query(max_length=256, json_schema_extra=describe.NO_NUL)
        ] = None,
        host: Annotated[
            str | None,
            Query(max_length=MAX_HOST_LENGTH, json_schema_extra=describe.NO_NUL),
        ] = None,
        limit: Annotated[PageLimit | None, Query()] = None,
        cursor: Annotated[str | None, Query(pattern=AGENT_ID_PATTERN)] = None,
    ) -> Response:
        """List the agents that match, ordered by id."""
        wanted = AgentFilter(include_dead, name, host, _metadata_filters(request))
        given = request.query_params.multi_items()
        return await finder.list(
            wanted,
            given,
            after=cursor,
            limit=limit,
            root_path=request.scope.get("root_path", ""),
        )

    @app.get("/agents/{agent_id}", **describe.GET)
    async def get(agent_id: AgentId) -> Response:
        """Tell of one agent, dead or alive."""
        if not is_agent_id(agent_id):
            raise agent_not_found()
        view = await hand(repo, repo.view, agent_id)
        if view is None:
            raise agent_not_found()
        return json_response(AgentInfo.of(view).model_dump_json())


def _metadata_filters(request: Request) -> dict[str, str]:
    """Return the `metadata.KEY` filters.

    Raises:
        ProblemError: 422 for a parameter that is unknown or given twice, and for
            too many. Ignoring a misspelt filter would answer with the whole fleet.
    """
    filters: dict[str, str] = {}
    errors = []
    given = Counter(name for name, _ in request.query_params.multi_items())
    for name, value in request.query_params.items():
        if given[name] > 1:
            errors.append(FieldError(field=shown(name), reason="is given twice"))
        elif "\x00" in name + value:
            errors.append(FieldError(field=shown(name), reason="has a NUL"))
        elif name.startswith(_METADATA) and len(name) > len(_METADATA):
            filters[name.removeprefix(_METADATA)] = value
        elif name not in _PARAMETERS:
            errors.append(FieldError(field=shown(name), reason="is no filter"))
    if len(filters) > MAX_METADATA_FILTERS:
        reason = f"has more than {MAX_METADATA_FILTERS} filters"
        errors.append(FieldError(field="metadata", reason=reason))
    if errors:
        raise ProblemError(422, "invalid_request", errors=errors)
    return filters
