"""The comparison page in a real browser: what a person sees, clicks and types."""

import time

import pytest

pytest.importorskip("selenium", reason="pip install 'ssljax[dev]'")
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

from ssljax.serve.arena.viewer import Dataset, Rows  # noqa: E402
from ssljax.serve.background import serving  # noqa: E402

pytestmark = pytest.mark.slow    # a browser takes more of a core than all other tests of the page

XSS = "<img src=x onerror=document.title='owned'><script>document.title='owned'</script>"
PATIENCE = 40.0                  # seconds; a loaded machine draws slowly


@pytest.fixture(scope="module")
def models(Script):
    return {"one": Script(("The", " cat", " sat", " down."), 0.02),
            "two": Script(("The", " cat", " ran", " off."), 0.02),
            "three": Script(("A", " dog."), 0.01), "evil": Script((XSS[:20], XSS[20:])),
            "slow": Script(("So much to say, ",) * 64, 1.0)}


@pytest.fixture
def look(browser, make_page, models):
    """Open the page of a server and return (browser, the page's state)."""
    app, arena = make_page(models)
    with serving(app, grace=1.0) as (url, _):
        browser.get(url)
        eventually(lambda: script(browser, "document.documentElement.dataset.ready") == "yes")
        yield browser, arena
        errors = [e["message"] for e in browser.get_log("browser") if e["level"] == "SEVERE"]
        script(browser, "localStorage.clear()")
        browser.get("about:blank")           # ends its streams, so that the server can
        assert errors == []


def script(browser, expression):
    return browser.execute_script(f"return {expression}")


def eventually(condition):
    """Wait until `condition` is true and return what it is."""
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)
    return found


def find(browser, selector):
    return browser.find_elements(By.CSS_SELECTOR, selector)


def texts(browser, selector):
    return script(browser, f"[...document.querySelectorAll('{selector}')].map(e => e.textContent)")


def choose(browser, *names):
    """Press the chips until just `names` are chosen: others go last, as one must always stay."""
    for wanted in (True, False):
        for name in texts(browser, ".chip"):
            chip = find(browser, f".chip:nth-child({texts(browser, '.chip').index(name) + 1})")[0]
            pressed = chip.get_attribute("aria-pressed") == "true"
            if (name in names) == wanted and pressed != wanted:
                chip.click()


def ask(browser, prompt="Tell me"):
    field = find(browser, "#prompt")[0]
    field.clear()
    field.send_keys(prompt, Keys.CONTROL, Keys.ENTER)


def ended(browser):
    return eventually(lambda: find(browser, ".pane") and not find(browser, ".writing")
                      and texts(browser, "#go") == ["Run"])


def test_answers_come_into_all_panes_and_the_divergence_is_marked(look):
    browser, _ = look
    choose(browser, "one", "two", "three")
    ask(browser)
    ended(browser)
    assert texts(browser, ".text") == ["The cat sat down.", "The cat ran off.", "A dog."]
    assert texts(browser, ".parting") == ["T", "r", "A"]        # from the first pane, each its own
    assert "From the first character" in texts(browser, "#summary")[0]
    assert all("first token" in f and "tokens" in f for f in texts(browser, ".pane footer"))


def test_the_token_is_marked_with_its_probabilities_where_they_are_told(look):
    browser, _ = look
    choose(browser, "one", "two")
    script(browser, "document.getElementById('details').click()")
    ask(browser)
    ended(browser)
    assert texts(browser, ".parting") == ["sat", "ran"]
    assert "token 3 (character 9)" in texts(browser, "#summary")[0]
    assert [t.replace("81.9 %", "") for t in texts(browser, ".chances .drawn")] == [" sat", " ran"]


def test_a_blind_round_reveals_its_names_after_the_vote(look):
    browser, arena = look
    choose(browser, "one", "two")
    script(browser, "document.getElementById('blind').click()")
    ask(browser)
    ended(browser)
    assert texts(browser, ".pane .name") == ["hidden until you vote"] * 2
    assert texts(browser, ".pane footer") == ["", ""]
    right = texts(browser, ".text")[1]
    find(browser, ".choice.best")[1].click()
    names = eventually(lambda: (n := texts(browser, ".pane .name")) and "hidden" not in n[0] and n)
    assert sorted(names) == ["one", "two"]
    assert names[1] == ("one" if "sat" in right else "two")
    [vote] = arena.votes.read()
    assert vote["best"] == [names[1]] and vote["shown"] == names and vote["blind"]
    find(browser, "#tab-ranking")[0].click()
    eventually(lambda: texts(browser, ".ratings tbody th") == [names[1], names[0]])


def test_everything_can_be_done_with_keys(look):
    browser, arena = look
    def press(*what):
        browser.switch_to.active_element.send_keys(*what)

    assert script(browser, "document.activeElement.id") == "prompt"
    press("Hello", Keys.CONTROL, Keys.ENTER)
    ended(browser)
    press(Keys.ESCAPE)                                   # out of the field: letters are keys now
    press("2")
    eventually(lambda: arena.votes.read())
    assert arena.votes.read()[0]["best"] == ["two"]
    press("n")
    eventually(lambda: len(arena.transcripts.read()) == 2)
    ended(browser)
    eventually(lambda: find(browser, "#vote .best"))
    press("0")
    eventually(lambda: len(arena.votes.read()) == 2)
    assert arena.votes.read()[1]["choice"] == "tie"
    press("d")
    assert script(browser, "document.activeElement.className").startswith("pane")
    press("?")
    eventually(lambda: script(browser, "document.getElementById('keys').open"))
    press(Keys.ESCAPE)
    press(Keys.ALT, "2")
    eventually(lambda: script(browser, "!document.getElementById('ranking').hidden"))
    press(Keys.ALT, "1")
    press("p")
    assert script(browser, "document.activeElement.id") == "prompt"


def test_focus_can_be_seen_and_streams_are_announced(look):
    browser, _ = look
    choose(browser, "one", "two")
    ask(browser)
    ended(browser)
    find(browser, "#seed")[0].send_keys(Keys.TAB)
    style = "getComputedStyle(document.activeElement.nextElementSibling).outlineStyle"
    assert script(browser, style) == "solid"
    assert script(browser, "document.querySelector('.text').getAttribute('aria-live')") == "polite"
    assert script(browser, "document.querySelector('.text').getAttribute('aria-busy')") == "false"
    unnamed = [e.get_attribute("outerHTML") for e in find(browser, "button, input, select, a")
               if e.is_displayed() and not e.accessible_name]
    assert unnamed == []


def test_a_models_markup_stays_text(look):
    browser, _ = look
    choose(browser, "evil", "one")
    ask(browser, XSS)
    ended(browser)
    assert XSS in texts(browser, ".text") and find(browser, ".pane img, .pane script") == []
    assert browser.title == "ssljax"
    with pytest.raises(Exception, match="TrustedHTML"):
        script(browser, "document.querySelector('.text').innerHTML = '<b>x</b>'")
    browser.get_log("browser")                           # that the attempt was blocked


def test_parts_are_shown_as_they_come_and_a_stopped_round_can_be_judged(look):
    browser, arena = look
    choose(browser, "slow", "one")
    ask(browser)
    # The slow pane shows what it has while it writes, and after the quick one has ended.
    eventually(lambda: find(browser, ".pane.writing") and "".join(
        texts(browser, ".pane.writing .text")).startswith("So much"))
    find(browser, "#go")[0].click()
    ended(browser)
    find(browser, ".choice.best")[0].click()
    eventually(lambda: arena.votes.read())
    assert "stopped" in [p["finish"] for p in arena.transcripts.read()[0]["panes"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_follow_the_system_and_the_switch(look, scheme):
    browser, _ = look
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {
        "features": [{"name": "prefers-color-scheme", "value": scheme}]})

    def ground():
        colour = script(browser, "getComputedStyle(document.documentElement).backgroundColor")
        return "dark" if sum(map(int, colour[4:-1].split(","))) < 3 * 128 else "light"

    assert ground() == scheme
    found = []
    for _ in range(3):
        find(browser, "#theme")[0].click()
        found.append((texts(browser, "#theme")[0], ground()))
    assert found == [("Light", "light"), ("Dark", "dark"), ("Auto", scheme)]


@pytest.mark.parametrize(("width", "panes", "columns"), [
    (1500, 2, 2), (1500, 5, 3), (800, 2, 2), (390, 2, 1), (360, 5, 1)])
def test_panes_fit_the_width(look, width, panes, columns):
    browser, _ = look
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
        "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500})
    try:
        choose(browser, *["one", "two", "three", "evil", "slow"][:panes])
        find(browser, "#max_tokens")[0].clear()
        find(browser, "#max_tokens")[0].send_keys("3")
        ask(browser)
        ended(browser)
        tops = script(browser, "[...document.querySelectorAll('.pane')].map(e => e.offsetTop)")
        assert len(tops) == panes and tops.count(tops[0]) == columns
        assert script(browser, "document.documentElement.scrollWidth") <= width
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_the_door_opens_with_the_key(browser, make_page, models):
    app, _ = make_page(models, key="k")
    with serving(app, grace=1.0) as (url, _):
        browser.get(url)
        find(browser, "#key")[0].send_keys("wrong", Keys.ENTER)
        eventually(lambda: "not a key" in texts(browser, "#said")[0])
        find(browser, "#key")[0].send_keys(Keys.CONTROL, "a")
        find(browser, "#key")[0].send_keys("k", Keys.ENTER)
        eventually(lambda: script(browser, "document.documentElement.dataset.ready") == "yes")
        choose(browser, "one", "two")
        ask(browser)
        ended(browser)
        assert texts(browser, ".text")[0] == "The cat sat down."
        find(browser, "#sign-out")[0].click()
        eventually(lambda: find(browser, "#key"))
        browser.get("about:blank")
        browser.get_log("browser")


def test_texts_are_shown_with_those_near_them(browser, make_page, models):
    rows = [{"number": n, "text": text} for n, text in enumerate(
        ["no such letters", XSS, "zzzz z zz", "zebra, a word like any other. " * 9])]
    data = Dataset("words", {}, lambda query: Rows(rows, None, 4), lambda n: None, lambda n: [])
    app, _ = make_page(models, key="k", datasets=[data])
    with serving(app, grace=1.0) as (url, _):
        browser.get(url)
        find(browser, "#key")[0].send_keys("k", Keys.ENTER)
        eventually(lambda: script(browser, "document.documentElement.dataset.ready") == "yes")
        find(browser, "#tab-texts")[0].click()
        assert script(browser, "document.activeElement.id") == "near"
        find(browser, "#near")[0].send_keys("zzz", Keys.CONTROL, Keys.ENTER)
        found = eventually(lambda: texts(browser, ".passages li:first-child p"))
        assert found == ["zzzz z zz"] * 5 and len(find(browser, ".passages li")) == 20
        assert XSS in texts(browser, ".passages p") and browser.title == "ssljax"
        assert "4 of 4 nearest neighbours are the same" in texts(browser, "#texts .summary")[0]
        assert script(browser, "document.documentElement.scrollWidth") <= 1280
        find(browser, "#sign-out")[0].click()
        eventually(lambda: find(browser, "#key"))
