"""What a training leaves to read: charts, page, JSON and card, made from a report written by hand."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from hybrid_search.training.card import model_card
from hybrid_search.training.evaluation import Evaluation
from hybrid_search.training.export import Exported
from hybrid_search.training.recipe import Recipe
from hybrid_search.training.report import WORSE, Report, environment, page
from hybrid_search.training.svg_chart import line_chart


@pytest.fixture
def report(tmp_path):
    before, after = Evaluation(0, 0.3, 20.0, 200.0, 3.0), Evaluation(10, 0.4, 18.0, 150.0, 2.0)
    later = Evaluation(20, 0.39, 17.0, 140.0, 1.9)
    return Report(
        out=str(tmp_path / "<films>"),
        command="hybrid-search train films --out out",
        recipe=Recipe(base="a & b", seed=5),
        data={"examples": 1200, "held-out queries": 20, "held-out documents": 392},
        hashes={"films/corpus.jsonl": "ab" * 32},
        base={"name": "a & b", "licence": "mit", "head": "its own", "weights": "cd" * 16},
        environment=environment("cpu"),
        steps=30,
        made=20,
        seconds=61.26,
        evaluations=(before, after, later),
        curve=tuple({"step": step, "loss": 3.0 / step, "learning_rate": 1e-5 * step} for step in range(1, 21)),
        best=10,
        exported=Exported(2e-6, 0.999, after._replace(ndcg=0.401), after._replace(ndcg=0.395), (90.0, 35.0)),
        created="2026-01-01T00:00:00+00:00",
    )


def test_a_chart_is_an_svg_with_its_numbers():
    chart = ElementTree.fromstring(line_chart("A <b> & c", {"one": [(0, 0.3), (10, 0.5)], "two": [(0, 0.1)]}))
    (line, _) = chart.iter("{http://www.w3.org/2000/svg}polyline")
    (x0, y0), (x1, y1) = (map(float, point.split(",")) for point in line.get("points").split())
    assert x0 < x1
    assert y0 > y1  # higher is further up
    words = [text.text for text in chart.iter("{http://www.w3.org/2000/svg}text")]
    assert {"A <b> & c", "one", "two", "step", "10"} <= set(words)


def test_a_chart_of_what_cannot_be_drawn():
    assert line_chart("x", {}) == ""
    assert line_chart("x", {"a": []}) == ""
    assert line_chart("x", {"a": [(1, float("nan"))]}) == ""
    ElementTree.fromstring(line_chart("x", {"a": [(1, float("inf")), (2, 5.0)]}))
    ElementTree.fromstring(line_chart("x", {"a": [(1, 1e-9), (2, 2e-9)]}))


class Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.links, self.words = [], [], []

    def handle_starttag(self, tag, attributes):
        self.links += [value for name, value in attributes if name in ("src", "href")]
        if tag not in ("meta", "line", "circle", "rect", "polyline"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def test_the_page_needs_nothing_else(report):
    reader = Reader()
    text = page(report)
    reader.feed(text)
    assert (reader.open, reader.links) == ([], [])
    assert "<script" not in text
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)
    assert text.count("<svg") == 5
    assert "<films>" in "".join(reader.words)


def test_the_page_says_what_was_done(report):
    text = page(report)
    for shown in (
        "0.3000",
        "0.4000",
        "ab" * 32,
        "1,200",
        "learning_rate",
        "2e-05",
        report.command,
        "python",
        "exported",
    ):
        assert shown in text
    assert WORSE not in text
    assert WORSE in page(replace(report, best=0))


def test_json_has_everything(report, tmp_path):
    (tmp_path / "<films>").mkdir()
    report.write()
    found = json.loads((tmp_path / "<films>" / "report.json").read_text("utf-8"))
    assert found == json.loads(json.dumps(report.to_dict()))
    assert found["improved"] is True
    assert Recipe.from_dict(found["recipe"]) == report.recipe
    assert found["evaluations"][1] == {
        "step": 10,
        "ndcg": 0.4,
        "query_dims": 18.0,
        "document_dims": 150.0,
        "flops": 2.0,
    }
    assert found["exported"]["int8"]["ndcg"] == 0.395
    assert found["curve"][0]["loss"] == 3.0
    assert found["environment"]["device"] == "cpu"
    assert (tmp_path / "<films>" / "report.html").read_text("utf-8") == page(report)


def test_the_card_names_base_data_losses_numbers_licence_and_command(report):
    text = model_card(report)
    assert text.startswith("---\nlicense: mit\nbase_model: a & b\n")
    for shown in (
        "| base, before training | 0.3000 | 20.0 | 200.0 | 3.00 |",
        "| exported, int8 | 0.3950 |",
        "InfoNCE",
        "FLOPS regularisation of 0.03 on queries",
        f"| `films/corpus.jsonl` | `{'ab' * 32}` |",
        "1,200 examples",
        report.command,
        "seed 5",
        "20 held-out queries over 392 documents",
        "The base's licence is mit",
    ):
        assert shown in text
    assert "license" not in model_card(replace(report, base={**report.base, "licence": ""}))
    assert "nothing was measured" in model_card(replace(report, evaluations=()))
    assert WORSE in model_card(replace(report, best=0))
