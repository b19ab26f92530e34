"""Test how a server sends the files of the web clients."""

import gzip
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hatchling.builders.wheel import WheelBuilder

from curhat.app.static_files import StaticFiles, web_folder

ORIGINS = {
    "app": ("https://app.example.id",),
    "mitra": ("https://mitra.example.id",),
    "control-center": ("https://control.example.id",),
}
SCRIPT = "assets/index-AbCd_12.js"
SOURCE = b"console.log('halo');\n" * 50


def build(folder: Path) -> None:
    """Write a small build of one client into this folder."""
    files = {
        "index.html": b"<!doctype html><title>Curhat</title>",
        SCRIPT: SOURCE,
        f"{SCRIPT}.gz": gzip.compress(SOURCE),
        f"{SCRIPT}.br": b"as if it were Brotli",
        "worker.js": b"self",
        "manifest.webmanifest": b"{}",
    }
    for name, body in files.items():
        path = folder / "app" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)


async def api(scope: Any, receive: Any, send: Any) -> None:
    """An application that replaces the API in these tests, and answers every request with status 418."""
    await send({"type": "http.response.start", "status": 418, "headers": []})
    await send({"type": "http.response.body", "body": scope["path"].encode()})


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Make a client of a server that serves the small build."""
    build(tmp_path)
    transport = httpx.ASGITransport(app=StaticFiles(api, tmp_path, ORIGINS))
    async with httpx.AsyncClient(transport=transport, base_url="http://app.example.id") as client:
        client.headers.pop("accept-encoding")
        yield client


async def test_the_root_path_and_paths_without_a_final_slash_redirect_to_an_app(
    browser: httpx.AsyncClient,
) -> None:
    for path, place in (("/", "/app/"), ("/app", "/app/"), ("/mitra", "/mitra/")):
        answer = await browser.get(path)
        assert (answer.status_code, answer.headers["location"]) == (307, place)


@pytest.mark.parametrize("path", ["/app/", "/app/history", "/app/history/0198a0c1-7e5f", "/app/index.html"])
async def test_every_path_of_a_client_returns_the_page_of_the_client(
    browser: httpx.AsyncClient, path: str
) -> None:
    answer = await browser.get(path)
    assert (answer.status_code, "Curhat" in answer.text) == (200, True)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"


async def test_a_page_can_use_only_scripts_and_servers_of_its_own_origin(
    browser: httpx.AsyncClient,
) -> None:
    policy = (await browser.get("/app/")).headers["content-security-policy"].split("; ")
    assert policy[:3] == ["default-src 'none'", "script-src 'self'", "style-src 'self'"]
    assert "connect-src 'self' wss://app.example.id" in policy
    assert {"base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"} <= set(policy)
    assert not any("unsafe" in directive or "*" in directive for directive in policy)


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        (f"/app/{SCRIPT}", "public, max-age=31536000, immutable"),
        ("/app/worker.js", "no-cache"),
        ("/app/manifest.webmanifest", "no-cache"),
    ],
)
async def test_a_file_is_cached_without_revalidation_only_if_its_name_contains_a_hash(
    browser: httpx.AsyncClient, path: str, kept: str
) -> None:
    assert (await browser.get(path)).headers["cache-control"] == kept


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("gzip, deflate, br, zstd", "br"),
        ("gzip", "gzip"),
        ("br;q=0, gzip;q=0.5", "gzip"),
        ("identity", None),
        ("", None),
    ],
)
async def test_a_browser_gets_the_best_encoding_that_its_accept_encoding_header_allows(
    browser: httpx.AsyncClient, accepted: str, encoding: str | None
) -> None:
    request = browser.build_request("GET", f"/app/{SCRIPT}", headers={"accept-encoding": accepted})
    answer = await browser.send(request, stream=True)
    await answer.aclose()
    assert answer.headers.get("content-encoding") == encoding
    assert answer.headers["vary"] == "accept-encoding"
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"


async def test_an_unchanged_file_is_answered_with_304_without_a_body(browser: httpx.AsyncClient) -> None:
    first = await browser.get("/app/")
    again = await browser.get("/app/", headers={"if-none-match": f'W/"other", {first.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    other = await browser.get("/app/", headers={"if-none-match": '"other"'})
    assert other.status_code == 200


async def test_a_head_request_gets_the_length_and_no_body(browser: httpx.AsyncClient) -> None:
    answer = await browser.head(f"/app/{SCRIPT}")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == str(len(SOURCE))


@pytest.mark.parametrize(
    "path",
    ["/app/assets/gone-AbCd_12.js", "/app/..%2f..%2fetc/passwd.txt", "/app/assets/index-AbCd_12.js.gz"],
)
async def test_a_file_outside_the_build_is_not_found(browser: httpx.AsyncClient, path: str) -> None:
    assert (await browser.get(path)).status_code == 404


async def test_the_server_accepts_only_get_and_head_requests_for_the_files_of_a_client(
    browser: httpx.AsyncClient,
) -> None:
    answer = await browser.post("/app/", content=b"x")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", ["/api/client/state", "/application/", "/healthz"])
async def test_a_request_for_a_path_outside_the_clients_goes_to_the_api(
    browser: httpx.AsyncClient, path: str
) -> None:
    answer = await browser.get(path)
    assert (answer.status_code, answer.text) == (418, path)


async def test_the_answer_explains_how_to_build_the_clients_when_the_build_is_missing(tmp_path: Path) -> None:
    transport = httpx.ASGITransport(app=StaticFiles(api, tmp_path, ORIGINS))
    async with httpx.AsyncClient(transport=transport, base_url="http://app.example.id") as client:
        answer = await client.get("/app/")
        assert answer.status_code == 503
        assert "make up" in answer.text
        assert (await client.get("/api/client/state")).status_code == 418


def test_the_wheel_contains_the_built_clients(tmp_path: Path) -> None:
    checkout = Path(__file__).parents[2]
    assert (web_folder() / "app" / "index.html").is_file(), "the web clients are not built; run make web"
    wheel = next(WheelBuilder(str(checkout)).build(directory=str(tmp_path), versions=["standard"]))
    with zipfile.ZipFile(wheel) as files:
        names = set(files.namelist())
    built = {path.relative_to(web_folder()).as_posix() for path in web_folder().rglob("*") if path.is_file()}
    assert {f"curhat/_web/{name}" for name in built} <= names
