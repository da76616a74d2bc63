"""The page and its assets: public, from this server alone, and cached as they should be."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from simway_flask_app.web import pages
from simway_testing.web_site import Site

STATIC = Path(pages.__file__).parent / "static"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("site"))
    yield made
    made.close()


def test_the_page_is_public_and_its_policy_lets_nothing_foreign_in(site: Site) -> None:
    response = site.stranger.get("/")
    assert response.status_code == 200
    assert response.mimetype == "text/html"
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_everything_that_the_page_names_is_there(site: Site) -> None:
    html = site.stranger.get("/").get_data(as_text=True)
    named = set(re.findall(r'"(/assets/[^"]+)"', html))
    assert f"/assets/{pages.plotly_name()}" in named
    for path in named:
        assert site.stranger.get(path).status_code == 200, path


def test_modules_import_only_what_is_there() -> None:
    for file in STATIC.glob("*.js"):
        for name in re.findall(r'from "\./([^"]+)"', file.read_text()):
            assert (STATIC / name).is_file(), f"{file.name} imports {name}"


def test_nothing_is_loaded_from_elsewhere_and_no_script_makes_markup_of_text() -> None:
    for file in STATIC.iterdir():
        text = file.read_text()
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text), file.name
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", text), file.name
        assert not re.search(r'\sstyle="|\son\w+="', text) or file.suffix != ".html", file.name


def test_plotly_is_kept_for_ever_and_sent_compressed(site: Site) -> None:
    path = f"/assets/{pages.plotly_name()}"
    response = site.stranger.get(path, headers={"Accept-Encoding": "gzip"})
    assert "immutable" in response.headers["Cache-Control"]
    assert response.headers["Content-Encoding"] == "gzip"
    assert response.mimetype == "text/javascript"
    plain = site.stranger.get(path)
    assert "Content-Encoding" not in plain.headers
    assert len(plain.data) > 3 * len(response.data)


@pytest.mark.parametrize("path", ["/", "/assets/console.js", "/assets/console.css", "/assets/icon.svg"])
@pytest.mark.parametrize("encoding", ["", "gzip"])
def test_our_own_files_are_asked_for_anew_and_not_sent_again(site: Site, path: str, encoding: str) -> None:
    first = site.stranger.get(path, headers={"Accept-Encoding": encoding})
    assert first.headers["Cache-Control"] == "no-cache"
    again = site.stranger.get(path, headers={"Accept-Encoding": encoding, "If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


@pytest.mark.parametrize("name", ["..%2fapp.py", "index.html", "nothing.js", "__init__.py", "plotly-0.0.0.min.js"])
def test_no_other_file_is_served(site: Site, name: str) -> None:
    response = site.stranger.get(f"/assets/{name}")
    assert (response.status_code, response.get_json()["reason"]) == (404, "not_found")
