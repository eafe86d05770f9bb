"""The routes beside ingest and the stream."""

from pathlib import Path

import pytest

from sensorflow.keys.limits import MAX_FAILURES
from sensorflow.web import page
from tests.integration.conftest import Running, Serve
from tests.servers import ADMIN_KEY, INGEST_KEY, READ_KEY


async def test_health_is_public_and_tells_no_detail(app: Running) -> None:
    assert (await app.http.get("/healthz")).json() == {"status": "ok"}
    ready = await app.http.get("/readyz")
    assert (ready.status_code, ready.json()) == (200, {"status": "ok"})


async def test_metrics_need_the_read_key(app: Running) -> None:
    await app.post()
    assert (await app.http.get("/metrics")).status_code == 401
    assert (await app.http.get(f"/metrics?api-key={READ_KEY}")).status_code == 401
    refused = await app.http.get("/metrics", headers={"X-API-Key": INGEST_KEY})
    assert refused.status_code == 403
    response = await app.http.get("/metrics", headers={"Authorization": f"Bearer {READ_KEY}"})
    assert response.status_code == 200
    assert 'sensorflow_receipts_total{status="stored"} 1.0' in response.text


async def test_a_session_opens_with_the_read_key_only(app: Running) -> None:
    assert (await app.http.get("/api/session")).status_code == 401
    for key, status in [("wrong", 401), (INGEST_KEY, 403), (ADMIN_KEY, 403)]:
        response = await app.http.post("/api/session", headers={"X-API-Key": key})
        assert response.status_code == status
    response = await app.http.post("/api/session", headers={"X-API-Key": READ_KEY})
    assert response.status_code == 204
    cookie = response.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert READ_KEY not in cookie
    assert (await app.http.get("/api/session")).status_code == 204
    assert (await app.http.delete("/api/session")).status_code == 204
    assert (await app.http.get("/api/session")).status_code == 401


async def test_a_session_ends_when_the_read_key_changes(serve: Serve) -> None:
    async with serve() as app:
        response = await app.http.post("/api/session", headers={"X-API-Key": READ_KEY})
        cookie = {"Cookie": response.headers["set-cookie"].partition(";")[0]}
    async with serve() as app:
        assert (await app.http.get("/api/session", headers=cookie)).status_code == 204
    async with serve(api_key_ws="another-read-key") as app:
        assert (await app.http.get("/api/session", headers=cookie)).status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/assets/nothing.js", 404),
        ("GET", "/assets/../../settings.py", 404),
        ("GET", "/assets/%2e%2e/%2e%2e/page.py", 404),
        ("POST", "/healthz", 405),
    ],
)
async def test_errors_have_one_shape(app: Running, method: str, path: str, status: int) -> None:
    response = await app.http.request(method, path)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["status"] == status


async def test_a_405_names_every_method_of_the_path(app: Running) -> None:
    response = await app.http.request("PUT", "/api/session")
    assert response.status_code == 405
    assert response.headers["allow"] == "DELETE, GET, POST"


async def test_where_the_page_is_not_built_its_files_are_not_found(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "PAGE_DIR", tmp_path)
    async with serve() as app:
        assert (await app.http.get("/")).status_code == 503
        response = await app.http.get("/assets/index.js")
    assert (response.status_code, response.json()["reason"]) == (404, "not_found")


async def test_the_openapi_document_describes_the_ingest_route(app: Running) -> None:
    document = (await app.http.get("/openapi.json")).json()
    route = document["paths"]["/api/temperature_reading"]["post"]
    assert {"200", "201", "400", "401", "403", "409", "413", "415", "422", "429", "503"} <= set(
        route["responses"]
    )
    schema = document["components"]["schemas"]["Reading"]
    assert schema["required"] == ["temperature", "humidity", "pressure"]
    assert (await app.post(schema["example"])).status_code == 201
    receipt = (await app.post(schema["example"])).json()
    assert set(document["components"]["schemas"]["Receipt"]["required"]) <= set(receipt)


async def test_the_page_comes_under_a_strict_policy(app: Running) -> None:
    for path in ("/", "/docs"):
        response = await app.http.get(path)
        assert response.status_code == 200
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy


async def test_a_trusted_proxy_tells_the_client_and_the_scheme(serve: Serve) -> None:
    forwarded = {"X-Forwarded-For": "198.51.100.1, 203.0.113.9", "X-Forwarded-Proto": "https"}
    async with serve(trusted_proxies="127.0.0.0/8") as app:
        assert (await app.post(headers=forwarded)).json()["client_ip"] == "203.0.113.9"
        assert (await app.post()).json()["client_ip"] == "127.0.0.1"
        garbage = await app.post(headers={"X-Forwarded-For": "unknown, <>"})
        assert (garbage.status_code, garbage.json()["client_ip"]) == (201, "127.0.0.1")
        signed_in = await app.http.post(
            "/api/session", headers={"X-API-Key": READ_KEY, **forwarded}
        )
        assert "secure" in signed_in.headers["set-cookie"].lower().split("; ")
        plain = await app.http.post("/api/session", headers={"X-API-Key": READ_KEY})
        assert "secure" not in plain.headers["set-cookie"].lower().split("; ")


@pytest.mark.parametrize("trusted", [(), "192.0.2.0/24"])
async def test_what_others_say_of_a_client_is_ignored(serve: Serve, trusted: object) -> None:
    forwarded = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}
    async with serve(trusted_proxies=trusted) as app:
        assert (await app.post(headers=forwarded)).json()["client_ip"] == "127.0.0.1"
        signed_in = await app.http.post(
            "/api/session", headers={"X-API-Key": READ_KEY, **forwarded}
        )
        assert "secure" not in signed_in.headers["set-cookie"].lower().split("; ")


async def test_wrong_keys_count_against_the_client_behind_the_proxy(serve: Serve) -> None:
    async with serve(trusted_proxies="127.0.0.1") as app:

        async def status(client: str, key: str) -> int:
            return (
                await app.post(headers={"X-Forwarded-For": client, "X-API-Key": key})
            ).status_code

        assert {await status("2001:db8::1", "wrong-key") for _ in range(MAX_FAILURES)} == {401}
        assert await status("2001:db8::2", "wrong-key") == 429
        assert await status("2001:db8:0:1::1", "wrong-key") == 401
        assert await status("203.0.113.9", INGEST_KEY) == 201
