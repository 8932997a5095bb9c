"""Who may see what: a logged-in user with the right to see plugins, and to read the DAG that is asked for.

Airflow's own checks decide. Nothing here has another way: if one of these imports fails, the page cannot be
imported, and :mod:`extend_pipeline.page.plugin` refuses every request.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import AccessView, DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import get_user, requires_access_dag, requires_access_view
from airflow.models.dag import DagModel
from fastapi import Depends

#: The user, who is logged in.
User = Annotated[Any, Depends(get_user)]

#: Of every route: the right to see plugins, which Airflow demands of who lists them, too.
SEES_PLUGINS = Depends(requires_access_view(AccessView.PLUGINS))

#: What a pipeline has landed is what its runs and XComs tell of, so who may not read these may not read it.
_ENTITIES = (None, DagAccessEntity.RUN, DagAccessEntity.XCOM)

#: Of every route of one DAG, whose id is in the path.
READS_DAG = [Depends(requires_access_dag("GET", entity)) for entity in _ENTITIES]


def readable(dag_ids: Iterable[str], user: Any) -> set[str]:
    """Return those of the DAGs, known to Airflow or not, whose runs and XComs the user may read."""
    wanted = set(dag_ids)
    teams = DagModel.get_dag_id_to_team_name_mapping(list(wanted)) if wanted else {}
    manager = get_auth_manager()

    def may_read(dag_id: str) -> bool:
        details = DagDetails(id=dag_id, team_name=teams.get(dag_id))
        return all(
            manager.is_authorized_dag(method="GET", access_entity=entity, details=details, user=user)
            for entity in _ENTITIES
        )

    return {dag_id for dag_id in wanted if may_read(dag_id)}
