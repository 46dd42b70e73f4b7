"""Resolving `?model=` to the URL of a model directory."""

from __future__ import annotations

import json

import pytest

from tympan.errors import BadModel, UnknownModel
from tympan.weights.catalogue import Catalogue, directory_url, is_url

URL = "https://example.org/tympan/models/catalogue.json"
PAGE_URL = "https://example.org/tympan/index.html?model=x"


def catalogue() -> Catalogue:
    models = [{"id": "demo", "path": "demo", "title": "Demo"}, {"id": "large", "path": "https://cdn.example.org/large"}]
    return Catalogue.parse(json.dumps({"models": models}).encode(), URL)


def test_ids_are_relative_to_the_catalogue() -> None:
    assert catalogue().find("demo") == "https://example.org/tympan/models/demo"
    assert catalogue().find("large") == "https://cdn.example.org/large"


def test_the_first_model_is_the_default() -> None:
    assert catalogue().find("") == catalogue().find("demo")


def test_unknown_id_lists_known_ids() -> None:
    with pytest.raises(UnknownModel, match=r"“tiny”.* demo, large"):
        catalogue().find("tiny")


@pytest.mark.parametrize("text", [b"", b"<html>", b"[]", b"{}", b'{"models": []}', b'{"models": [{"id": "demo"}]}'])
def test_invalid_catalogue_is_named(text: bytes) -> None:
    with pytest.raises(BadModel, match=r"catalogue\.json"):
        Catalogue.parse(text, URL)


@pytest.mark.parametrize(
    ("model", "url"),
    [
        ("./mine", "https://example.org/tympan/mine"),
        ("../mine/", "https://example.org/mine/"),
        ("/mine", "https://example.org/mine"),
        ("http://localhost:9000/mine", "http://localhost:9000/mine"),
    ],
)
def test_urls_are_relative_to_the_page(model: str, url: str) -> None:
    assert is_url(model)
    assert directory_url(model, PAGE_URL) == url


@pytest.mark.parametrize("model", ["file:///etc", "javascript:alert(1)", "data:,x"])
def test_only_http_urls_are_accepted(model: str) -> None:
    assert is_url(model)
    with pytest.raises(UnknownModel):
        directory_url(model, PAGE_URL)


@pytest.mark.parametrize("model", ["demo", "stt-1b-en_fr", ""])
def test_ids_are_not_urls(model: str) -> None:
    assert not is_url(model)
