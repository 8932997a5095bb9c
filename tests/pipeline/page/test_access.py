"""Who may see the page and what is in it: every route, by Airflow's own API server."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

import extend_pipeline.page
from fixtures.page.server import PAGE, PerDag

ClientOf = Callable[..., TestClient]

DOCUMENT = "0" * 32
OF_A_DAG = [
    f"{PAGE}/api/extend_nightly/{rest}"
    for rest in ("overview", "dead_letters", "reviews", "search?q=x", f"documents/{DOCUMENT}")
]
EVERYWHERE = [f"{PAGE}/", f"{PAGE}/static/index.html", f"{PAGE}/api/pipelines", *OF_A_DAG]


def test_the_list_above_has_every_route(api_server: Any) -> None:
    from extend_pipeline.page.app import app

    shapes = {path.partition("?")[0].removeprefix(PAGE) for path in EVERYWHERE}
    written = {
        shape.replace("extend_nightly", "{dag_id}")
        .replace(DOCUMENT, "{document_id}")
        .replace("index.html", "{name:path}")
        for shape in shapes
    }
    assert {getattr(route, "path", "") for route in app.routes} == written


@pytest.mark.parametrize("path", EVERYWHERE)
def test_anonymous_sees_nothing(client_of: ClientOf, path: str) -> None:
    answer = client_of().get(path)
    assert answer.status_code == 401
    assert answer.json() == {"detail": "Not authenticated"}


@pytest.mark.parametrize("path", EVERYWHERE)
def test_a_user_without_the_view_sees_nothing(client_of: ClientOf, path: str) -> None:
    PerDag.viewless.add("eve")
    assert client_of("eve", "admin").get(path).status_code == 403


@pytest.mark.parametrize("path", OF_A_DAG)
def test_a_viewer_of_another_dag_sees_nothing_of_this_one(client_of: ClientOf, path: str) -> None:
    assert client_of("olaf", denied={"extend_nightly"}).get(path).status_code == 403


@pytest.mark.parametrize("role", ["viewer", "user", "op", "admin"])
def test_every_role_sees_the_page_and_its_files(client_of: ClientOf, role: str) -> None:
    browser = client_of(f"some_{role}", role)
    for path in EVERYWHERE[:3]:
        assert browser.get(path).status_code == 200, path


@pytest.mark.parametrize(("role", "may"), [("viewer", False), ("user", True), ("op", True), ("admin", True)])
def test_who_may_not_start_a_run_cannot_send_again(client_of: ClientOf, role: str, may: bool) -> None:
    """What the page posts goes to Airflow, which refuses it, or else does not find this DAG."""
    started = client_of(f"some_{role}", role).post(
        "/api/v2/dags/no_dag_has_this_name/dagRuns",
        json={"logical_date": None, "conf": {"reprocess": "failed"}},
        headers={"Origin": "http://airflow.test"},
    )
    assert started.status_code == (404 if may else 403), started.text


@pytest.mark.parametrize("path", EVERYWHERE)
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://airflow.test.evil.example"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"},
    ],
)
def test_a_page_of_another_site_gets_nothing(client_of: ClientOf, path: str, headers: dict[str, str]) -> None:
    answer = client_of("ann", "admin").get(path, headers=headers)
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers


def test_a_link_to_the_page_may_be_anywhere(client_of: ClientOf) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert client_of("vera").get(f"{PAGE}/", headers=headers).status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_no_route_takes_anything_but_a_question(client_of: ClientOf, method: str) -> None:
    browser = client_of("ann", "admin")
    for path in EVERYWHERE:
        assert browser.request(method, path).status_code == 405, path


@pytest.mark.parametrize("path", EVERYWHERE)
def test_every_answer_says_what_a_browser_may_do_with_it(client_of: ClientOf, path: str) -> None:
    for browser in (client_of(), client_of("vera")):
        headers = browser.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'self'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", EVERYWHERE)
async def test_a_query_of_ten_megabytes_is_refused_before_it_is_read(api_server: Any, path: str) -> None:
    answers: list[Any] = []
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path.partition("?")[0],
        "raw_path": path.partition("?")[0].encode(),
        "query_string": b"q=" + b"x" * 10_000_000,
        "headers": [(b"host", b"airflow.test")],
        "server": ("airflow.test", 80),
    }

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        answers.append(message)

    await api_server(scope, receive, send)
    assert answers[0]["status"] == 414
    assert sum(len(message.get("body", b"")) for message in answers) < 200


@pytest.mark.parametrize("name", ["..%2Fapp.py", "%2e%2e/app.py", "../access.py", ".hidden", "app.py", ""])
def test_only_the_files_of_the_page_are_served(client_of: ClientOf, name: str) -> None:
    assert client_of("vera").get(f"{PAGE}/static/{name}").status_code in (404, 405)


def test_the_page_does_not_hide_the_receiver_of_webhooks(client_of: ClientOf) -> None:
    answer = client_of().post("/extend/webhooks/no_such_connection", content=b"{}")
    assert answer.status_code in (401, 404)
    assert answer.json() != {"detail": "This page changes nothing."}


@pytest.mark.parametrize(
    "missing",
    ["airflow.api_fastapi.core_api.security", "airflow.api_fastapi.app", "extend_pipeline.page.guard"],
)
async def test_if_an_import_fails_nobody_sees_anything(
    monkeypatch: pytest.MonkeyPatch, missing: str, caplog: pytest.LogCaptureFixture
) -> None:
    import httpx

    from extend_pipeline.page.plugin import LazyPage

    for name in ("app", "access", "guard"):
        monkeypatch.delitem(sys.modules, f"extend_pipeline.page.{name}", raising=False)
        monkeypatch.delattr(extend_pipeline.page, name, raising=False)
    monkeypatch.setitem(sys.modules, missing, None)
    transport = httpx.ASGITransport(LazyPage())
    async with httpx.AsyncClient(transport=transport, base_url="http://airflow.test") as browser:
        for path in (*EVERYWHERE, f"{PAGE}/docs"):
            for method in ("GET", "POST"):
                answer = await browser.request(method, path.removeprefix(PAGE))
                assert answer.status_code == 503
                assert "could not be loaded" in answer.json()["detail"]
    assert "refuses every request" in caplog.text


def test_a_process_that_only_loads_the_plugin_does_not_load_the_page() -> None:
    program = (
        "import sys, extend_pipeline; from airflow.providers.common.compat.sdk import AirflowPlugin; "
        "before = set(sys.modules); import extend_pipeline.page.plugin; "
        "print(*sorted(set(sys.modules) - before))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "extend_pipeline.page extend_pipeline.page.plugin"


def test_airflow_lists_both_views(client_of: ClientOf) -> None:
    plugins = client_of("vera").get("/api/v2/plugins").json()["plugins"]
    (ours,) = [plugin for plugin in plugins if plugin["name"] == "extend_page"]
    found = {view["destination"]: view["href"] for view in ours["external_views"]}
    assert found == {"nav": "extend/page/", "dag": "extend/page/?dag_id={DAG_ID}"}
