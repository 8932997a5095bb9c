"""The routes of the page. Each of them demands a logged-in user; none of them changes anything.

What asks Airflow's database or a warehouse runs in threads of its own, a few at a time: the API server's loop
and its other threads go on, however slow the warehouse is.
"""

from __future__ import annotations

import pathlib
import threading
from collections.abc import Callable, Collection, Hashable
from mimetypes import guess_type
from typing import Annotated, Any, Final, TypeVar

import anyio
from cachetools import TTLCache
from fastapi import APIRouter, FastAPI, HTTPException, Path, Query, Response

from extend_pipeline.page import access, answers, guard, questions
from extend_pipeline.page.pipelines import known_pipelines

T = TypeVar("T")

_STATIC: Final = pathlib.Path(__file__).with_name("static")
#: The files of the page by their path, with their type; read once: they are small and come with the release.
_FILES: Final = {
    file.relative_to(_STATIC).as_posix(): (file.read_bytes(), guess_type(file.name)[0] or "text/plain")
    for file in _STATIC.rglob("[!.]*")
    if file.is_file()
}
_INDEX: Final = "index.html"
#: Questions that are asked at the same time.
_AT_ONCE: Final = anyio.CapacityLimiter(4)
#: Answers of the last seconds by user and question: the page asks again by itself.
_FRESH: Final[TTLCache[Hashable, Any]] = TTLCache(maxsize=128, ttl=3)
_FRESH_LOCK: Final = threading.Lock()

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

User = access.User
Group = Annotated[str | None, Query(max_length=200)]
Limit = Annotated[int, Query(ge=1, le=500)]
#: Where a page begins: the ``next`` of the one before, which is a number.
After = Annotated[int, Query(ge=0, le=10_000_000)]


@app.get("/")
def page() -> Response:
    """Return the page itself."""
    return static(_INDEX)


@app.get("/static/{name:path}")
def static(name: str) -> Response:
    """Return a file of the page."""
    if name not in _FILES:
        raise HTTPException(404, "There is no such file.")
    content, kind = _FILES[name]
    return Response(content, media_type=kind)


@app.get("/api/pipelines", response_model=None)
async def pipelines(user: User) -> list[answers.Pipeline]:
    """Return the pipelines of the DAGs that the user may read."""
    return await _asked(user, ("pipelines",), lambda: questions.pipelines(_may_read(user)))


@dag_router.get("/overview", response_model=None)
async def overview(
    dag_id: str, user: User, days: Annotated[int, Query(ge=1, le=90)] = 30, group: Group = None
) -> answers.Overview:
    """Return the counts of a pipeline's dataset."""
    return await _asked(
        user,
        ("overview", dag_id, group, days),
        lambda: questions.overview(_question(dag_id, group, user), days),
    )


@dag_router.get("/dead_letters", response_model=None)
async def dead_letters(
    dag_id: str,
    user: User,
    reason: Annotated[str | None, Query(min_length=1, max_length=200)] = None,
    limit: Limit = 50,
    after: After = 0,
    group: Group = None,
) -> answers.DeadLetters:
    """Return documents that failed and are not sent again by themselves."""
    return await _asked(
        user,
        ("dead_letters", dag_id, group, reason, limit, after),
        lambda: questions.dead_letters(_question(dag_id, group, user), reason, limit, after),
    )


@dag_router.get("/reviews", response_model=None)
async def reviews(
    dag_id: str, user: User, limit: Limit = 50, after: After = 0, group: Group = None
) -> answers.Reviews:
    """Return documents that wait for a person."""
    return await _asked(
        user,
        ("reviews", dag_id, group, limit, after),
        lambda: questions.reviews(_question(dag_id, group, user), limit, after),
    )


@dag_router.get("/search", response_model=None)
async def search(
    dag_id: str,
    user: User,
    q: Annotated[str, Query(min_length=1, max_length=1024)],
    limit: Limit = 50,
    group: Group = None,
) -> answers.Search:
    """Return documents by address, file name, document id or run id."""
    return await _asked(
        user,
        ("search", dag_id, group, q, limit),
        lambda: questions.search(_question(dag_id, group, user), q, limit),
    )


@dag_router.get("/documents/{document_id}", response_model=None)
async def document(
    dag_id: str,
    user: User,
    document_id: Annotated[str, Path(pattern="^[0-9a-f]{32}$")],
    group: Group = None,
) -> answers.Story:
    """Return everything that is known of one document."""
    found = await _asked(
        user,
        ("document", dag_id, group, document_id),
        lambda: questions.document(_question(dag_id, group, user), document_id),
    )
    if found is None:
        raise HTTPException(404, "There is no such document, or you may not read the DAG that landed it.")
    return found


async def _asked(user: Any, question: tuple[Hashable, ...], answer: Callable[[], T]) -> T:
    """Return the answer for this user: a fresh one, or what a thread finds out."""
    key = (type(user), user.get_id(), question)
    with _FRESH_LOCK:
        if key in _FRESH:
            known: T = _FRESH[key]
            return known
    found = await anyio.to_thread.run_sync(answer, limiter=_AT_ONCE)
    with _FRESH_LOCK:
        _FRESH[key] = found
    return found


def _may_read(user: Any) -> questions.MayRead:
    def may_read(dag_ids: Collection[str]) -> set[str]:
        return access.readable(dag_ids, user)

    return may_read


def _question(dag_id: str, group: str | None, user: Any) -> questions.Question:
    for pipeline in known_pipelines({dag_id}):
        if group in (None, pipeline.group_id):
            return questions.Question(pipeline, _may_read(user))
    raise HTTPException(404, "No run of this DAG has planned any documents yet, or Airflow has removed it.")


app.include_router(dag_router)
