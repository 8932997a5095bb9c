"""The routes of the page. Each of them demands a logged-in user; none of them changes anything."""

from __future__ import annotations

import mimetypes
from importlib.resources import files
from typing import Annotated, Final

from fastapi import APIRouter, FastAPI, HTTPException, Path, Query, Response

from extend_pipeline.page import access, answers, examples, guard

#: The files of the page by name, with their type; read once: they are small and come with the release.
_FILES: Final = {
    file.name: (file.read_bytes(), mimetypes.guess_type(file.name)[0] or "application/octet-stream")
    for file in files("extend_pipeline.page").joinpath("static").iterdir()
    if file.is_file() and not file.name.startswith(".")
}
_INDEX: Final = "index.html"

app = FastAPI(
    title="Extend documents",
    openapi_url=None,
    docs_url=None,
    redoc_url=None,
    redirect_slashes=False,
    dependencies=[access.SEES_PLUGINS],
)
app.middleware("http")(guard.guarded)
dag_router = APIRouter(prefix="/api/{dag_id}", dependencies=access.READS_DAG)

Group = Annotated[str | None, Query(max_length=200)]
Limit = Annotated[int, Query(ge=1, le=500)]
After = Annotated[str | None, Query(max_length=1000)]


@app.get("/")
def page() -> Response:
    """Return the page itself."""
    return static(_INDEX)


@app.get("/static/{name}")
def static(name: str) -> Response:
    """Return a file of the page."""
    if name not in _FILES:
        raise HTTPException(404, "There is no such file.")
    content, kind = _FILES[name]
    return Response(content, media_type=kind)


@app.get("/api/pipelines", response_model=None)
def pipelines(user: access.User) -> list[answers.Pipeline]:
    """Return the pipelines of the DAGs that the user may read."""
    return examples.PIPELINES


@dag_router.get("/overview", response_model=None)
def overview(
    dag_id: str, user: access.User, days: Annotated[int, Query(ge=1, le=90)] = 30, group: Group = None
) -> answers.Overview:
    """Return the counts of a pipeline's dataset."""
    return examples.OVERVIEW


@dag_router.get("/dead_letters", response_model=None)
def dead_letters(
    dag_id: str,
    user: access.User,
    reason: Annotated[str | None, Query(max_length=200)] = None,
    limit: Limit = 50,
    after: After = None,
    group: Group = None,
) -> answers.DeadLetters:
    """Return documents that failed and are not sent again by themselves."""
    return examples.DEAD_LETTERS


@dag_router.get("/reviews", response_model=None)
def reviews(
    dag_id: str, user: access.User, limit: Limit = 50, after: After = None, group: Group = None
) -> answers.Reviews:
    """Return documents that wait for a person."""
    return examples.REVIEWS


@dag_router.get("/search", response_model=None)
def search(
    dag_id: str,
    user: access.User,
    q: Annotated[str, Query(min_length=1, max_length=1024)],
    limit: Limit = 50,
    group: Group = None,
) -> answers.Search:
    """Return documents by address, file name, document id or run id."""
    return examples.SEARCH


@dag_router.get("/documents/{document_id}", response_model=None)
def document(
    dag_id: str,
    user: access.User,
    document_id: Annotated[str, Path(pattern="^[0-9a-f]{32}$")],
    group: Group = None,
) -> answers.Story:
    """Return everything that is known of one document."""
    return examples.STORY


app.include_router(dag_router)
