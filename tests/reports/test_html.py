"""The HTML report: whole, offline, accessible, and every number from the evaluation."""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cv_folds.errors import DataError
from reports.content import build_document
from reports.html import render_html
from reports.metrics import CLASS_METRICS as EVALUATED_CLASS_METRICS
from reports.metrics import LOWER_IS_BETTER, OVERALL_METRICS
from reports.results import Comparison, Estimate
from reports.run_folder import read_run_folder
from reports.score_tables import CLASS_METRICS, DECISION_METRICS, PROBABILITY_METRICS
from reports.summary import DEMO_BANNER, lead_model
from reports.wording import METRICS, count, duration, interval, listing, metric_in_sentence, number, shorten, signed
from reports.write import write_report

VOID = {"meta", "br", "link", "img", "input", "hr", "path", "use", "line", "rect", "circle"}
HOSTILE = ("<script>alert(1)</script>", 'a/b & "c"', "' onload=x y='", "{{ 7 * 7 }}")
SMALL = {"classes": ("df", "nv"), "backbones": ("resnet18",), "n_folds": 2, "n_epochs": 1}


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    parent: Element | None
    children: list[Element | str] = field(default_factory=list)

    def text(self) -> str:
        return "".join(child if isinstance(child, str) else child.text() for child in self.children)

    def all(self, tag: str = "") -> list[Element]:
        inner = [child for child in self.children if isinstance(child, Element)]
        return [
            element for child in inner for element in [*([child] if tag in ("", child.tag) else []), *child.all(tag)]
        ]


class Page(HTMLParser):
    """Builds a tree and complains about tags that do not match."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.root = self.open = Element("", {}, None)
        self.feed(text)
        self.close()
        assert self.open is self.root, f"<{self.open.tag}> is never closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(set(names)) == len(names), (tag, names)
        element = Element(tag, {name: value or "" for name, value in attrs}, self.open)
        self.open.children.append(element)
        if tag not in VOID:
            self.open = element

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.children.append(Element(tag, {name: value or "" for name, value in attrs}, self.open))

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        assert self.open.tag == tag, f"</{tag}> closes <{self.open.tag}>"
        assert self.open.parent is not None
        self.open = self.open.parent

    def handle_data(self, data: str) -> None:
        self.open.children.append(data)


def html_of(run: Any) -> str:
    folder = read_run_folder(run.path, run.evaluation.classes)
    return render_html(build_document(folder, run.evaluation, run.predictions))


@pytest.fixture(scope="module")
def text(run: Any) -> str:
    return html_of(run)


@pytest.fixture(scope="module")
def page(text: str) -> Element:
    return Page(text).root


@pytest.fixture(scope="module")
def hostile(make_run: Callable[..., Any]) -> str:
    made = make_run(
        classes=HOSTILE, backbones=("resnet18",), n_folds=2, data_name=HOSTILE[0], weights=f"folder {HOSTILE[1]}"
    )
    return html_of(made)


def rows_of(page: Element, name: str) -> dict[str, list[str]]:
    table = next(figure for figure in page.all("figure") if figure.attributes.get("id") == name)
    body = table.all("tbody")[0]
    return {
        row.all("th")[0].attributes["data-key"]: [cell.text().strip() for cell in row.all("td")]
        for row in body.all("tr")
    }


def shown(estimate: Estimate) -> str:
    assert estimate.value is not None
    return f"{number(estimate.value)} {interval(estimate)}"


def test_nothing_is_loaded_from_anywhere(text: str, page: Element) -> None:
    assert not re.search(r"https?:|//[a-z]", text, re.IGNORECASE)
    for element in page.all():
        assert element.tag not in {"link", "img", "iframe", "object", "embed", "base", "form"}
        assert "src" not in element.attributes
        assert element.attributes.get("href", "#").startswith("#")
        assert not any(name.startswith("on") for name in element.attributes)
    for inside in re.findall(r"url\(([^)]*)\)", text):
        assert inside.startswith("#")
    assert "@import" not in text


def test_the_policy_allows_just_this_script(page: Element) -> None:
    (policy,) = (
        meta.attributes["content"]
        for meta in page.all("meta")
        if meta.attributes.get("http-equiv") == "Content-Security-Policy"
    )
    (script,) = page.all("script")
    digest = base64.b64encode(hashlib.sha256(script.text().encode()).digest()).decode()
    assert "default-src 'none'" in policy
    assert f"script-src 'sha256-{digest}'" in policy


def test_ids_are_unique_and_references_lead_somewhere(text: str, page: Element) -> None:
    ids = Counter(element.attributes["id"] for element in page.all() if "id" in element.attributes)
    assert [name for name, amount in ids.items() if amount > 1] == []
    for element in page.all():
        for name in ("href", "xlink:href"):
            if element.attributes.get(name, "").startswith("#"):
                assert element.attributes[name][1:] in ids
        for name in ("aria-labelledby", "aria-describedby"):
            assert set(element.attributes.get(name, "").split()) <= set(ids)
    assert set(re.findall(r"url\(#([^)]*)\)", text)) <= set(ids)


def test_every_figure_has_a_text_alternative_and_every_table_a_caption(page: Element) -> None:
    pictures = page.all("svg")
    assert len(pictures) >= 10
    for picture in pictures:
        assert picture.attributes["role"] == "img"
        assert len(picture.attributes["aria-label"]) > 40
    for table in page.all("table"):
        assert table.all("caption")[0].text().strip()
        assert all(head.attributes.get("scope") in ("col", "row") for head in table.all("th"))
        widths = {len([child for child in row.children if isinstance(child, Element)]) for row in table.all("tr")}
        assert len(widths) == 1


def test_the_page_has_landmarks_and_headings_in_order(page: Element) -> None:
    (document,) = page.all("html")
    assert document.attributes["lang"] == "en"
    assert len(page.all("main")) == len(page.all("h1")) == 1
    assert page.all("a")[0].attributes == {"class": "skip", "href": "#main"}
    levels = [int(element.tag[1]) for element in page.all() if re.fullmatch("h[1-6]", element.tag)]
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert len(page.all("nav")[0].all("a")) == len(page.all("section"))


def test_the_leaderboard_shows_the_evaluation(run: Any, page: Element) -> None:
    for name, metrics in (("leaderboard", DECISION_METRICS), ("probability-scores", PROBABILITY_METRICS)):
        rows = rows_of(page, name)
        assert list(rows) == list(run.evaluation.models)
        for model, cells in rows.items():
            assert cells == [shown(run.evaluation.models[model].overall[metric]) for metric in metrics]


def test_the_class_tables_show_the_evaluation(run: Any, page: Element) -> None:
    for model, scores in run.evaluation.models.items():
        rows = rows_of(page, f"classes-{model}")
        assert list(rows) == list(run.evaluation.classes)
        for class_name, cells in rows.items():
            metrics = scores.per_class[class_name]
            assert cells == [count(metrics["support"].value), *(shown(metrics[metric]) for metric in CLASS_METRICS)]


def test_cells_carry_every_digit_for_sorting_and_copying(run: Any, page: Element) -> None:
    table = next(figure for figure in page.all("figure") if figure.attributes.get("id") == "leaderboard")
    first = table.all("tbody")[0].all("tr")[0].all("td")[0]
    model = next(iter(run.evaluation.models.values()))
    assert float(first.attributes["data-key"]) == model.overall[DECISION_METRICS[0]].value


def test_an_undefined_value_says_why(make_run: Callable[..., Any]) -> None:
    page = Page(html_of(make_run(**SMALL, undefined=("df", "precision")))).root
    cells = rows_of(page, "classes-stack")["df"]
    assert cells[1 + CLASS_METRICS.index("precision")] == "n/a1"
    table = next(figure for figure in page.all("figure") if figure.attributes.get("id") == "classes-stack")
    assert [note.text() for note in table.all("li")] == ["no image was given this class"]
    assert "0.000" not in cells


def test_hostile_names_stay_text(hostile: str) -> None:
    page = Page(hostile).root
    assert len(page.all("script")) == 1
    assert "alert(1)" not in page.all("script")[0].text()
    for name in HOSTILE:
        assert name in rows_of(page, "class-counts")
        assert any(name in element.attributes["aria-label"] for element in page.all("svg"))
    assert HOSTILE[0] in page.all("title")[0].text()
    assert "49" not in rows_of(page, "class-counts")
    assert not any(name.startswith("on") for element in page.all() for name in element.attributes)
    assert "onload=x" in page.text()


def test_the_demo_set_is_called_so_on_top(make_run: Callable[..., Any], text: str) -> None:
    page = Page(html_of(make_run(**SMALL, demo=True, weights="none"))).root
    (banner,) = (element for element in page.all("div") if element.attributes.get("class") == "banner")
    assert banner.text() == DEMO_BANNER
    assert "trained from scratch" in page.text()
    assert DEMO_BANNER not in text
    assert "from scratch" not in text


def test_the_summary_names_the_best_and_the_lack_of_evidence(run: Any, page: Element) -> None:
    summary = next(section for section in page.all("section") if section.attributes["id"] == "section-summary").text()
    models = run.evaluation.models
    best = max(models, key=lambda name: models[name].overall["macro_f1"].value)
    surest = min(models, key=lambda name: models[name].overall["log_loss"].value)
    assert f"The highest macro F1 is that of {best}: {number(models[best].overall['macro_f1'].value)}" in summary
    assert f"The lowest log-loss is that of {surest}: {number(models[surest].overall['log_loss'].value)}" in summary
    assert f"{count(run.evaluation.n_images)} images of {count(run.evaluation.n_lesions)} lesions" in summary
    for comparison in run.evaluation.comparisons:
        if comparison.metric == "macro_f1" and comparison.against == "soft_vote":
            assert comparison.evidence == "no evidence of a difference"
    assert "No evidence of a difference in macro F1 between stack and soft_vote" in summary


def test_every_metric_has_words_and_the_right_direction(run: Any) -> None:
    scores = run.evaluation.models["stack"]
    names = {*OVERALL_METRICS, *EVALUATED_CLASS_METRICS, *scores.overall, *scores.per_class["nv"]}
    assert names <= METRICS.keys()
    assert {name for name in names if METRICS[name].better == "lower"} == set(LOWER_IS_BETTER) & names
    assert [metric_in_sentence(name) for name in ("macro_f1", "log_loss", "ece", "mcc")] == [
        "macro F1",
        "log-loss",
        "ECE",
        "MCC",
    ]


def test_the_summary_names_the_class_that_is_missed_most(run: Any, page: Element) -> None:
    summary = next(section for section in page.all("section") if section.attributes["id"] == "section-summary").text()
    lead = lead_model(run.evaluation)
    recalls = {name: scores["recall"].value for name, scores in run.evaluation.models[lead].per_class.items()}
    worst = min(recalls, key=lambda name: recalls[name])
    assert f"{worst} least often: {number(recalls[worst])} (95 % interval" in summary


def warnings_of(page: Element) -> list[str]:
    return [part.text() for part in page.all("p") if part.attributes.get("class") == "notice warning"]


def test_an_early_end_and_failed_checks_are_said_on_top(make_run: Callable[..., Any]) -> None:
    run = make_run(**SMALL)
    folder = read_run_folder(run.path, run.evaluation.classes)
    record = folder.record.model_copy(update={"status": "interrupted"})
    check = folder.audit.checks[0].model_copy(update={"status": "failed"})
    audit = folder.audit.model_copy(update={"checks": (check,)})
    page = Page(
        render_html(build_document(replace(folder, record=record, audit=audit), run.evaluation, run.predictions))
    ).root
    early, leaked = warnings_of(page)
    assert early == "Warning: The run ended early (status: interrupted)."
    assert leaked.startswith(f"Warning: Leakage checks failed: {check.title}")


@pytest.mark.parametrize(("share", "warned"), [(1.0, True), (0.992, True), (0.98, False)])
def test_a_backbone_that_names_one_class_only_is_said_on_top(run: Any, share: float, warned: bool) -> None:
    rows = run.predictions.probabilities["resnet50"].copy()
    rows[: round(share * len(rows))] = 0.94 * np.eye(7)[5] + 0.06 / 7
    rows[round(share * len(rows)) :] = 0.94 * np.eye(7)[0] + 0.06 / 7
    # An ensemble is no network that could have failed to learn.
    changed = {**run.predictions.probabilities, "resnet50": rows, "stack": np.tile(np.eye(7)[5], (len(rows), 1))}
    page = Page(html_of(replace(run, predictions=replace(run.predictions, probabilities=changed)))).root
    warnings = warnings_of(page)
    assert len(warnings) == warned
    if warned:
        assert "resnet50 (nv)" in warnings[0]
        assert "stack" not in warnings[0]


def test_scores_without_intervals_are_shown(make_run: Callable[..., Any]) -> None:
    run = make_run(**SMALL)
    reason = "every resample gives the same value"

    def bare(estimates: Any) -> dict[str, Estimate]:
        return {name: replace(found, low=None, high=None, reason=reason) for name, found in estimates.items()}

    models = {
        name: replace(
            scores,
            overall=bare(scores.overall),
            per_class={label: bare(metrics) for label, metrics in scores.per_class.items()},
        )
        for name, scores in run.evaluation.models.items()
    }
    same = Estimate(value=0.0, reason=reason)
    comparisons = tuple(replace(found, difference=same, evidence="undefined") for found in run.evaluation.comparisons)
    page = Page(html_of(replace(run, evaluation=replace(run.evaluation, models=models, comparisons=comparisons)))).root
    assert rows_of(page, "leaderboard")["stack"][0] == f"{number(models['stack'].overall['macro_f1'].value)}1"
    table = next(figure for figure in page.all("figure") if figure.attributes.get("id") == "leaderboard")
    assert [note.text() for note in table.all("li")] == [f"no interval: {reason}"]


def test_a_run_without_ensembles(make_run: Callable[..., Any]) -> None:
    made = make_run(**SMALL)
    evaluation = replace(made.evaluation, models={"resnet18": made.evaluation.models["resnet18"]}, comparisons=())
    predictions = replace(
        made.predictions,
        probabilities={"resnet18": made.predictions.probabilities["resnet18"]},
        kinds={"resnet18": "backbone"},
    )
    page = Page(html_of(replace(made, evaluation=evaluation, predictions=predictions))).root
    assert list(rows_of(page, "leaderboard")) == ["resnet18"]
    assert "combined" not in page.text()


def test_better_and_worse_follow_the_metrics_direction(make_run: Callable[..., Any]) -> None:
    run = make_run(**SMALL)
    lower_loss = Comparison(
        metric="log_loss", model="stack", against="soft_vote", evidence="difference",
        difference=Estimate(value=-0.2, low=-0.3, high=-0.1),
    )  # fmt: skip
    lower_f1 = replace(lower_loss, metric="macro_f1")
    changed = replace(run, evaluation=replace(run.evaluation, comparisons=(lower_loss, lower_f1)))
    page = Page(html_of(changed)).root
    table = next(figure for figure in page.all("figure") if figure.attributes.get("id") == "differences-table")
    rows = [[cell.text().strip() for cell in row.all("td")] for row in table.all("tbody")[0].all("tr")]
    assert rows == [
        ["stack", "soft_vote", "−0.200 [−0.300, −0.100]", "better"],
        ["stack", "soft_vote", "−0.200 [−0.300, −0.100]", "worse"],
    ]


def test_audit_jobs_and_settings_are_shown(page: Element) -> None:
    checks = rows_of(page, "leakage-checks")
    assert checks["near-duplicates"][2] == "FAILED"
    assert checks["two-diagnoses"][2:] == ["skipped", "switched off in the settings"]
    assert rows_of(page, "settings")["training.batch_size"] == ["32"]
    assert len(next(figure for figure in page.all("figure") if figure.attributes.get("id") == "jobs").all("tr")) == 13


def test_write_report_leaves_only_this_reports_figures(make_run: Callable[..., Any]) -> None:
    made = make_run(**SMALL)
    stale = made.path / "figures" / "confusion-gone.svg"
    stale.parent.mkdir()
    stale.write_text("<svg/>")
    written = write_report(made.path, evaluation=made.evaluation, predictions=made.predictions, formats=("html",))
    assert written == (made.path / "report.html",)
    names = {path.stem for path in (made.path / "figures").iterdir()}
    assert "confusion-gone" not in names
    page = Page(written[0].read_text(encoding="utf-8")).root
    assert names == {
        figure.attributes["id"] for figure in page.all("figure") if figure.attributes["class"] == "picture"
    }
    assert not list(Path(made.path).glob("*.partial-*"))


def test_parts_of_different_runs_are_refused(run: Any, make_run: Callable[..., Any]) -> None:
    other = make_run(n_lesions=90, n_epochs=1)
    folder = read_run_folder(run.path, run.evaluation.classes)
    with pytest.raises(DataError, match="do not hold the same images"):
        build_document(folder, run.evaluation, other.predictions)
    fewer = replace(run.evaluation, models=dict(list(run.evaluation.models.items())[1:]))
    with pytest.raises(DataError, match="do not hold the same models"):
        build_document(folder, fewer, run.predictions)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (number(0.12349), "0.123"),
        (number(-0.5), "−0.500"),
        (number(-0.0001), "0.000"),
        (signed(0.2), "+0.200"),
        (signed(-0.2), "−0.200"),
        (signed(-0.0001), "0.000"),
        (count(10015), "10\N{NARROW NO-BREAK SPACE}015"),
        (interval(Estimate(value=0.1, low=-0.05, high=0.2)), "[−0.050, 0.200]"),
        (interval(Estimate(value=0.1, reason="few resamples")), ""),
        (duration(0.04), "0.0 s"),
        (duration(59.6), "1 min 00 s"),
        (duration(3599), "59 min 59 s"),
        (duration(7650), "2 h 08 min"),
        (listing(["a"]), "a"),
        (listing(["a", "b", "c"]), "a, b and c"),
        (shorten("abcdefghij", 5), "ab…ij"),
        (shorten("abcdefghij", 6), "abc…ij"),
        (shorten("abcde", 5), "abcde"),
    ],
)
def test_numbers_and_words(written: str, expected: str) -> None:
    assert written == expected
