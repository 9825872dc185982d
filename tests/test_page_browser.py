"""The review page in a real headless Chromium, over a real server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from review_data.domain import Category, Finding, Side
from review_data.severity import Severity
from tests.support.browser import Watched, browsing, chromium
from tests.support.reviews import PATCH, four_findings, marker_patch, put_failed, put_review
from tests.support.server import Served, serving, wait_done
from ui.page.languages import ENGLISH, TURKISH

pytestmark = pytest.mark.browser
HOSTILE = (
    "<script>document.title='owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "**bold** [link](javascript:document.title='owned') ${document.title='owned'} {{title}}",
    "\x1b[31mred\x1b[0m",
    "admin\u202e\u2066 user\u2069",
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("page") / "store.db"


@pytest.fixture(scope="module")
def served(store: Path) -> Iterator[Served]:
    if chromium() is None:
        pytest.skip("Chromium is not installed (apt-get install chromium)")
    with serving(store) as running:
        yield running


@pytest.fixture(scope="module")
def browser(served: Served) -> Iterator[Browser]:
    with browsing() as running:
        yield running


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-US")
    page = context.new_page()
    page.set_default_timeout(30_000)
    yield page
    context.close()


def open_review(page: Page, served: Served, review_id: str, lang: str = "en") -> None:
    page.goto(f"{served.url}/{lang}/?review={review_id}")
    expect(page.locator(".tz-review")).to_be_visible()


def shown(page: Page) -> list[str]:
    """The severities of the visible cards, from top to bottom."""
    return page.locator(".tz-card:visible .tz-chip").all_inner_texts()


def test_a_pasted_patch_becomes_the_cards_that_the_api_reports(page: Page, served: Served) -> None:
    """The cards' severities are those of the stored review, the address can be shared, nothing is foreign."""
    watched = Watched(page)
    page.goto(served.url)
    page.locator("#tz-patch textarea").fill(PATCH)
    page.locator("#tz-go").click()
    expect(page.locator(".tz-review")).to_be_visible(timeout=60_000)
    page.wait_for_url(re.compile(r"\?review=[0-9a-f]{32}"))
    review_id = page.url.rsplit("=", 1)[1]
    with served.client() as client:
        body = client.get(f"/v1/reviews/{review_id}").json()
    assert shown(page) == [row["severity"] for row in body["findings"]]
    assert watched.foreign == []
    assert watched.errors == []


def test_the_slider_filters_in_the_browser(page: Page, served: Served, store: Path) -> None:
    """By keyboard: each step hides and shows cards, says the level, and asks the server nothing."""
    open_review(page, served, put_review(store))
    assert shown(page) == ["critical", "high", "medium"]
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    slider = page.get_by_role("slider", name=ENGLISH.threshold_hint)
    slider.focus()
    page.keyboard.press("ArrowLeft")
    assert shown(page) == ["critical", "high", "medium", "low"]
    expect(page.locator(".tz-hidden")).to_have_text(ENGLISH.hidden.format(n=0))
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    assert shown(page) == ["critical"]
    assert slider.get_attribute("aria-valuetext") == "critical"
    expect(page.locator(".tz-hidden")).to_have_text(ENGLISH.hidden.format(n=3))
    assert "threshold=critical" in str(page.locator("a[data-format=sarif]").get_attribute("href"))
    assert [url for url in asked if "/heartbeat/" not in url] == []


def test_the_slider_counts_findings_that_are_not_drawn(page: Page, served: Served, store: Path) -> None:
    """Of 310 findings 300 are drawn; what the threshold hides is counted among all."""
    every = [
        row.model_copy(update={"fingerprint": f"{number:032x}"})
        for number, row in enumerate(four_findings()[-1:] * 310)
    ]
    open_review(page, served, put_review(store, every, threshold=Severity.LOW))
    page.get_by_role("slider", name=ENGLISH.threshold_hint).focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".tz-hidden")).to_have_text(ENGLISH.hidden.format(n=310))


def test_a_change_with_nothing_to_review_is_not_called_clean(page: Page, served: Served) -> None:
    """An empty change, as of a wrong range, says that nothing was there to review."""
    with served.client() as client:
        patch = "diff --git a/x b/y\nsimilarity index 100%\nrename from x\nrename to y\n"
        review_id = client.post("/v1/reviews", json={"patch": patch}).json()["id"]
        wait_done(client, review_id)
    open_review(page, served, review_id)
    expect(page.locator(".tz-headline")).to_have_text(ENGLISH.unchanged)


def test_a_review_has_its_address_before_it_is_done(page: Page, served: Served) -> None:
    """A reload in the middle of a review comes back to it."""
    page.goto(f"{served.url}/en/")
    page.evaluate(
        "const set = history.replaceState; history.replaceState = function (...given) {"
        "window.early ||= document.querySelector('.tz-wait') && given[2]; set.apply(this, given) }; 0"
    )
    lines = [f"eval(value_{number})" for number in range(500)]
    page.locator("#tz-patch textarea").fill(marker_patch(lines))
    page.locator("#tz-go").click()
    expect(page.locator(".tz-review")).to_be_visible(timeout=60_000)
    assert page.evaluate("window.early") == "?" + page.url.split("?")[1]


@pytest.mark.parametrize("lang", ["en", "tr"])
def test_the_page_says_which_language_it_is_in(page: Page, served: Served, lang: str) -> None:
    """A screen reader reads Turkish as Turkish."""
    page.goto(f"{served.url}/{lang}/")
    expect(page.locator("#tz-go")).to_be_visible()
    expect(page.locator("html")).to_have_attribute("lang", lang)


def test_a_card_shows_all_that_is_known_of_a_finding(page: Page, served: Served, store: Path) -> None:
    """Chip, place, probabilities, explanation, fix, and the diff with the line marked and coloured."""
    open_review(page, served, put_review(store))
    first = page.locator(".tz-card").first
    expect(first).to_contain_text("shop/search.py:5")
    expect(first.locator(".tz-bar")).to_have_attribute("aria-label", re.compile("critical 70%"))
    expect(first.locator(".tz-fix")).to_contain_text("Mend the critical fault.")
    marked = first.locator("tr[data-marked]")
    expect(marked).to_contain_text("cursor.execute")
    expect(marked.locator(".tz-no").nth(1)).to_have_text("5")
    assert first.locator(".tz-code .tok-k").count() > 0
    with page.expect_download() as download:
        page.locator("a[data-format=markdown]").click()
    assert download.value.suggested_filename.endswith(".md")


def test_a_verdict_is_stored_and_there_after_a_reload(page: Page, served: Served, store: Path) -> None:
    """Buttons and the severity list say that they were saved; a reload shows the same."""
    review_id = put_review(store)
    open_review(page, served, review_id)
    first, second = page.locator(".tz-card").nth(0), page.locator(".tz-card").nth(1)
    first.get_by_role("button", name=ENGLISH.not_issue).click()
    second.locator(".tz-wrong").select_option("low")
    expect(first.locator(".tz-status")).to_have_text(ENGLISH.saved)
    expect(second.locator(".tz-status")).to_have_text(ENGLISH.saved)
    page.get_by_text(ENGLISH.missed).click()
    form = page.locator(".tz-form")
    form.get_by_label(ENGLISH.file).fill("shop/search.py")
    form.get_by_label(ENGLISH.line).fill("10")
    form.get_by_label(ENGLISH.what).fill("An error is swallowed")
    form.get_by_role("button").click()
    expect(form.locator(".tz-status")).to_have_text(ENGLISH.missed_saved)
    page.reload()
    first, second = page.locator(".tz-card").nth(0), page.locator(".tz-card").nth(1)
    expect(first.get_by_role("button", name=ENGLISH.not_issue)).to_have_attribute("aria-pressed", "true")
    expect(second.locator(".tz-wrong")).to_have_value("low")
    with served.client() as client:
        body = client.get(f"/v1/reviews/{review_id}").json()
    assert body["missed"][0]["missed"]["title"] == "An error is swallowed"


def test_an_upload_that_was_taken_leaves_its_field(page: Page, served: Served, tmp_path: Path) -> None:
    """What was reviewed is no longer offered: a second click asks for a patch, not for a lost file."""
    upload = tmp_path / "search.patch"
    upload.write_text(PATCH)
    page.goto(f"{served.url}/en/")
    page.locator("#tz-upload input[type=file]").set_input_files(upload)
    expect(page.locator("#tz-upload")).to_contain_text("search")
    page.locator("#tz-go").click()
    expect(page.locator(".tz-review h2")).to_have_text("search", timeout=60_000)
    expect(page.locator("#tz-upload")).not_to_contain_text("search")
    page.locator("#tz-go").click()
    expect(page.locator(".tz-error")).to_contain_text(ENGLISH.nothing_given)


def test_an_upload_that_is_no_diff_is_explained(page: Page, served: Served, tmp_path: Path) -> None:
    """The message says what is wrong and how to make a diff; the page stays usable."""
    upload = tmp_path / "photo.patch"
    upload.write_bytes(b"\x89PNG\r\n\x1a\n\0\0 not a diff")
    page.goto(f"{served.url}/en/")
    page.locator("#tz-upload input[type=file]").set_input_files(upload)
    expect(page.locator("#tz-upload")).to_contain_text("photo")
    page.locator("#tz-go").click()
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text(ENGLISH.error)
    expect(alert).to_contain_text("git diff")
    expect(page.locator("#tz-go")).to_be_enabled()


def test_nothing_given_is_explained(page: Page, served: Served) -> None:
    """The button without any input says what to give."""
    page.goto(f"{served.url}/en/")
    page.locator("#tz-go").click()
    expect(page.get_by_role("alert")).to_contain_text(ENGLISH.nothing_given)


def test_hostile_text_shows_as_text(page: Page, served: Served, store: Path) -> None:
    """Markup, templates, ANSI and bidirectional tricks in diff, title and findings act on nothing."""
    patch = marker_patch(HOSTILE, path="<b>x.py")
    findings = [
        Finding(
            path="<b>x.py",
            line=line,
            side=Side.NEW,
            category=Category.SECURITY,
            severity=Severity.HIGH,
            title=text,
            explanation=text,
            suggestion=text,
            probabilities=None,
            source="rules",
            fingerprint=f"{line:032x}",
        )
        for line, text in enumerate(HOSTILE, 1)
    ]
    watched = Watched(page)
    open_review(page, served, put_review(store, findings, patch=patch, title=HOSTILE[0]))
    assert page.title() == "Terazi"
    assert watched.errors == []
    assert page.locator("#tz-result script, #tz-result img, #tz-result h3 b, #tz-result h3 a").count() == 0
    expect(page.locator(".tz-head h2")).to_have_text(HOSTILE[0])
    codes = page.locator(".tz-card").first.locator(".tz-code").all_inner_texts()
    assert codes[:3] == list(HOSTILE[:3])
    assert codes[3] == r"\x1b[31mred\x1b[0m"
    assert codes[4] == r"admin\u202e\u2066 user\u2069"
    titles = page.locator(".tz-card h3").all_inner_texts()
    assert titles[2] == HOSTILE[2]


def test_a_review_that_failed_or_is_gone_says_so(page: Page, served: Served, store: Path) -> None:
    """Neither looks like a clean review."""
    page.goto(f"{served.url}/en/?review={put_failed(store, 'there is no revision nowhere')}")
    expect(page.get_by_role("alert")).to_contain_text("there is no revision nowhere")
    page.goto(f"{served.url}/en/?review={'0' * 32}")
    expect(page.get_by_role("alert")).to_contain_text(ENGLISH.not_found)


def test_the_history_lists_searches_and_draws(page: Page, served: Served, store: Path) -> None:
    """Search narrows the list, a link opens the review, the trend has today's bar and a table."""
    review_id = put_review(store, title="Zebra crossing")
    put_review(store, title="Another one")
    page.goto(f"{served.url}/en/")
    page.get_by_role("tab", name=ENGLISH.tab_history).click()
    expect(page.locator("#tz-history")).to_contain_text("Zebra crossing")
    assert page.locator(".tz-chart rect").count() > 0
    page.get_by_label(ENGLISH.search).fill("zebra")
    page.keyboard.press("Enter")
    expect(page.locator("#tz-history a")).to_have_count(1)
    page.locator("#tz-history a").click()
    page.wait_for_url(re.compile(review_id))
    expect(page.locator(".tz-head h2")).to_have_text("Zebra crossing")


def test_a_batch_is_reviewed_and_sorted_by_severity(page: Page, served: Served, tmp_path: Path) -> None:
    """Every upload becomes a row; what is no diff is one with its reason; the histogram is there."""
    files = []
    for name, content in (
        ("good.patch", PATCH),
        ("docs.patch", marker_patch(["# Hi"], "a.md")),
        ("bad.patch", "x"),
    ):
        files.append(tmp_path / name)
        files[-1].write_text(content)
    page.goto(f"{served.url}/en/")
    page.get_by_role("tab", name=ENGLISH.tab_batch).click()
    page.locator("#tz-uploads input[type=file]").set_input_files(files)
    expect(page.locator("#tz-uploads")).to_contain_text("docs")
    page.locator("#tz-batch-go").click()
    result = page.locator("#tz-batch")
    expect(result).to_contain_text(ENGLISH.batch_done.format(done=3, total=3), timeout=60_000)
    expect(result.locator("tbody tr")).to_have_count(3)
    expect(result.locator("tbody tr").last).to_contain_text("this is not a diff")
    expect(result.locator(".tz-chart svg")).to_be_visible()
    expect(page.locator("#tz-uploads")).not_to_contain_text("docs")


def test_the_page_speaks_turkish(browser: Browser, served: Served, store: Path) -> None:
    """A Turkish browser gets the Turkish page, texts made in the browser too; a link leads to English."""
    context = browser.new_context(locale="tr-TR")
    page = context.new_page()
    page.goto(f"{served.url}/?review={put_review(store)}")
    expect(page.locator(".tz-review")).to_be_visible()
    assert "/tr/" in page.url
    assert shown(page) == ["kritik", "yüksek", "orta"]
    first = page.locator(".tz-card").first
    assert (first.locator(".tz-chip").get_attribute("title") or "").startswith("olağan işleyişte")
    expect(first.locator(".tz-place")).to_contain_text("güvenlik")
    page.get_by_role("slider").press("ArrowRight")
    expect(page.locator(".tz-level")).to_have_text("yüksek")
    page.get_by_role("link", name=TURKISH.other).click()
    expect(page.get_by_role("tab", name=ENGLISH.tab_history)).to_be_visible()
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_phone(browser: Browser, served: Served, store: Path, scheme: str) -> None:
    """At 400 px nothing is wider than the screen in any tab, in both colour schemes."""
    dark = scheme == "dark"
    context = browser.new_context(
        viewport={"width": 400, "height": 800}, color_scheme="dark" if dark else "light"
    )
    page = context.new_page()
    open_review(page, served, put_review(store))
    for name in (ENGLISH.tab_review, ENGLISH.tab_history, ENGLISH.tab_batch, ENGLISH.tab_model):
        page.get_by_role("tab", name=name).click()
        assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = sum(int(part) for part in re.findall(r"\d+", colour)[:3])
    assert (brightness < 200) == dark
    context.close()
