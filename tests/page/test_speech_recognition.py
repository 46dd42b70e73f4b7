"""SpeechRecognition in a page of another origin, case by case of the Web Speech API.

Source: WebAudio/web-speech-api@0a1b233 index.bs.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby, pairwise
from typing import Any

import pytest
from playwright.sync_api import Page, Route

from tests.page.author import author_site
from tests.page.test_transcribe import SAID, SPEECH
from tests.page.tympan_page import TRANSCRIBE_MS
from tympan.cli.testing import OpenBrowser
from tympan.cli.word_errors import word_error_rate

SENTENCE = "can you help me with this week"
SENTENCE_S = 2.5
MAX_WORD_ERROR_RATE = 0.35

HELPERS = """
    window.events = [];
    // A recognition that notes what happens. options: its attributes. Resolves with it after `end`.
    window.recognize = async (options = {}, track = undefined, act = () => {}) => {
        const recognition = Object.assign(new SpeechRecognition(), options);
        window.events = [];
        const kinds = ["start", "audiostart", "soundstart", "speechstart", "result", "nomatch", "speechend", "soundend",
            "audioend", "error", "end"];
        for (const kind of kinds) recognition.addEventListener(kind, (event) => events.push(noted(event)));
        const ended = new Promise((resolve) => { recognition.onend = resolve; });
        recognition.addEventListener("start", () => act(recognition));
        recognition.start(track);
        await ended;
        return events;
    };
    function noted({ type, resultIndex, results, error }) {
        if (type === "error") return { type, error };
        if (type !== "result") return { type };
        return { type, resultIndex, results: [...results].map((result) => ({
            isFinal: result.isFinal,
            length: result.length,
            start: result.speechStartTime,
            end: result.speechEndTime,
            transcript: result[0].transcript,
            confidence: result[0].confidence,
            words: result[0].words,
        })) };
    }
    window.decoded = fetch("speech.wav")
        .then((response) => response.arrayBuffer())
        .then((encoded) => new OfflineAudioContext(1, 1, 44100).decodeAudioData(encoded))
        .then((buffer) => { window.speech = buffer; });
    // A live track of the recording's first seconds, and silence after them. Awaits nothing, because WebKit would then
    // take the call of `start` that follows for one without a click.
    window.playing = (seconds) => {
        const player = new AudioBufferSourceNode(new AudioContext(), { buffer: speech });
        player.start(0, 0, seconds);
        return trackOf(player);
    };
    // A live track of white noise, for which the demo model writes no word, or doubtful ones.
    window.hissing = (seconds) => {
        const context = new AudioContext();
        const buffer = new AudioBuffer({ length: seconds * context.sampleRate, sampleRate: context.sampleRate });
        buffer.getChannelData(0).forEach((_, i, samples) => { samples[i] = 0.4 * Math.random() - 0.2; });
        const player = new AudioBufferSourceNode(context, { buffer });
        player.start(context.currentTime + 0.5); // after some silence, from which the noise differs
        return trackOf(player);
    };
    function trackOf(player) {
        const target = player.context.createMediaStreamDestination();
        player.connect(target);
        return target.stream.getAudioTracks()[0];
    }
    null; // Playwright would call a function that is the value of the last statement
"""


@pytest.fixture(scope="module")
def page(site: str, tympan_browser: OpenBrowser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A page that has imported the class and installed the model; its microphone hears the speech."""
    with author_site(tmp_path_factory.mktemp("author"), site) as url:
        page = tympan_browser(SPEECH).new_page()
        page.goto(f"{url}/blank.html")
        page.evaluate(HELPERS)
        page.evaluate("decoded")
        page.evaluate(f"import('{site}/speech-recognition.js?model=demo&backend=numpy')")
        yield page
        page.close()


@pytest.fixture(scope="module")
def dictation(page: Page) -> list[dict[str, Any]]:
    """The events of a continuous recognition of the microphone, which is stopped when its last word is recognized."""
    page.evaluate(
        """() => {
            window.dictated = recognize({ continuous: true, interimResults: true }, undefined, (recognition) => {
                window.stopDictation = () => recognition.stop();
            });
        }"""
    )
    page.wait_for_function(
        "() => events.at(-1)?.results?.some(({ transcript }) => transcript.includes('kitchen'))", timeout=TRANSCRIBE_MS
    )
    page.evaluate("stopDictation()")
    return list(page.evaluate("dictated"))


def results(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event for event in events if event["type"] == "result"]


def kinds(events: list[dict[str, Any]]) -> list[str]:
    """What happened, several results in a row as one."""
    return [kind for kind, _ in groupby(event["type"] for event in events)]


def test_the_attributes_have_the_defaults_of_the_standard(page: Page) -> None:
    assert page.evaluate(
        """() => {
            const { lang, continuous, interimResults, maxAlternatives, processLocally } = new SpeechRecognition();
            return [lang, continuous, interimResults, maxAlternatives, processLocally];
        }"""
    ) == ["", False, False, 1, False]
    assert page.evaluate("new SpeechRecognition() instanceof EventTarget")
    assert page.evaluate("webkitSpeechRecognition === SpeechRecognition")


def test_availability_before_and_after_installation(page: Page) -> None:
    local = "SpeechRecognition.available({ langs: ['en-US'], processLocally: true })"
    assert page.evaluate("SpeechRecognition.available({ langs: ['en-US'] })") == "available"
    assert page.evaluate("SpeechRecognition.available({ langs: ['en', 'ja-JP'] })") == "unavailable"
    assert page.evaluate("SpeechRecognition.available({ langs: [] })") == "unavailable"
    assert page.evaluate(local) == "downloadable"
    assert page.evaluate("SpeechRecognition.install({ langs: ['xx'] })") is False
    page.evaluate("() => { window.installed = SpeechRecognition.install({ langs: ['en'] }); }")
    assert page.evaluate(local) == "downloading"
    assert page.evaluate("installed") is True
    assert page.evaluate(local) == "available"
    assert (
        page.evaluate("SpeechRecognition.available({ langs: ['no tag'] }).catch((error) => error.name)")
        == "SyntaxError"
    )


def test_the_events_come_in_the_standard_order(dictation: list[dict[str, Any]]) -> None:
    assert kinds(dictation) == [
        "start", "audiostart", "soundstart", "speechstart", "result", "speechend", "soundend", "audioend", "end",
    ]  # fmt: skip


def test_dictation_matches_the_speech(dictation: list[dict[str, Any]]) -> None:
    final = results(dictation)[-1]["results"]
    assert all(result["isFinal"] for result in final)
    text = "".join(result["transcript"] for result in final)
    assert word_error_rate(SAID, text) <= MAX_WORD_ERROR_RATE, text


def test_interim_results_grow_and_final_ones_stay(dictation: list[dict[str, Any]]) -> None:
    shown = results(dictation)
    assert len([event for event in shown if not event["results"][-1]["isFinal"]]) > 10
    for before, after in pairwise(shown):
        finals = [result for result in before["results"] if result["isFinal"]]
        assert after["results"][: len(finals)] == finals
        assert after["resultIndex"] >= len(finals)
        assert len(after["results"]) >= after["resultIndex"]


def test_words_have_times_within_their_result(dictation: list[dict[str, Any]]) -> None:
    for result in results(dictation)[-1]["results"]:
        assert result["length"] == 1
        assert 0 <= result["confidence"] <= 1
        assert result["transcript"].split() == [word["text"] for word in result["words"]]
        assert result["start"] == result["words"][0]["start"]
        assert result["end"] == result["words"][-1]["end"]
        assert all(0 <= word["start"] < word["end"] < 12 for word in result["words"])


def test_one_turn_gives_one_final_result_and_ends_the_recognition(page: Page) -> None:
    events = page.evaluate("(seconds) => recognize({ lang: 'en-GB' }, playing(seconds))", SENTENCE_S)
    assert kinds(events)[-5:] == ["result", "speechend", "soundend", "audioend", "end"]
    (result,) = results(events)
    assert (result["resultIndex"], len(result["results"]), result["results"][0]["isFinal"]) == (0, 1, True)
    assert word_error_rate(SENTENCE, result["results"][0]["transcript"]) <= MAX_WORD_ERROR_RATE


def test_track_of_the_author_is_not_stopped(page: Page) -> None:
    assert (
        page.evaluate(
            """async () => {
            window.track = playing(1);
            await recognize({}, track, (recognition) => setTimeout(() => recognition.stop(), 300));
            return track.readyState;
        }"""
        )
        == "live"
    )
    for change in ("track.stop()", "Object.defineProperty(track, 'kind', { value: 'video' })"):
        page.evaluate(change)
        assert (
            page.evaluate(
                "(() => { try { new SpeechRecognition().start(track); } catch (error) { return error.name; } })()"
            )
            == "InvalidStateError"
        )


def test_start_fails_during_a_recognition_and_works_after_it(page: Page) -> None:
    assert page.evaluate(
        """async () => {
            const recognition = new SpeechRecognition();
            const ended = () => new Promise((resolve) => { recognition.onend = resolve; });
            const names = [];
            const start = () => { try { recognition.start(); } catch (error) { names.push(error.name); } };
            recognition.stop();
            recognition.abort();
            for (const end of ["abort", "stop"]) {
                start();
                start();
                recognition[end]();
                await ended();
            }
            return names;
        }"""
    ) == ["InvalidStateError", "InvalidStateError"]


def test_abort_gives_no_result(page: Page) -> None:
    events = page.evaluate(
        """() => recognize({ interimResults: false }, playing(8), (recognition) => {
            recognition.onspeechstart = () => setTimeout(() => recognition.abort(), 1500);
        })"""
    )
    assert not results(events)
    assert kinds(events)[-3:] == ["audioend", "error", "end"]
    assert [event["error"] for event in events if event["type"] == "error"] == ["aborted"]


def test_start_without_a_click_hears_from_the_next_one(page: Page) -> None:
    """WebKit starts no audio without a click, unless the page has the microphone; the other engines start at once."""
    page.evaluate(
        """() => {
            document.body.innerHTML = "<button>Somewhere</button>";
            const track = playing(8);
            const begin = (resolve) => setTimeout(() => {
                window.recognized = recognize({ continuous: true }, track, (recognition) => {
                    window.stopRecognition = () => recognition.stop();
                    resolve();
                });
            }, 2000); // WebKit counts timers of up to a second to the click that set them
            window.begun = new Promise(begin);
        }"""
    )
    page.evaluate("begun")
    page.click("button")
    page.wait_for_function("() => events.some(({ type }) => type === 'result')", timeout=TRANSCRIBE_MS)
    page.evaluate("stopRecognition()")
    assert results(page.evaluate("recognized"))


def test_unknown_language(page: Page) -> None:
    events = page.evaluate("recognize({ lang: 'ja-JP' })")
    assert events == [{"type": "error", "error": "language-not-supported"}, {"type": "end"}]


@pytest.mark.needs("playwright")
def test_model_without_languages_accepts_any_language(page: Page, site: str) -> None:
    def forget_languages(route: Route) -> None:
        response = route.fetch()
        route.fulfill(response=response, json=response.json() | {"languages": []})

    assert page.context.browser is not None
    another = page.context.browser.new_page()
    another.route("**/models/demo/model.json", forget_languages)
    another.goto(page.url)
    another.evaluate(f"import('{site}/speech-recognition.js?model=demo&backend=numpy')")
    assert another.evaluate("SpeechRecognition.install({ langs: ['en'] })")
    assert another.evaluate("SpeechRecognition.available({ langs: ['cy'] })") == "available"
    another.close()


def test_silence_ends_with_no_speech(page: Page) -> None:
    events = page.evaluate(
        """async () => {
            const wait = setTimeout;
            window.setTimeout = (callback, ms) => wait(callback, ms / 10); // patience is a matter of seconds
            try { return await recognize({}, playing(0.01)); } finally { window.setTimeout = wait; }
        }"""
    )
    assert kinds(events) == ["start", "audiostart", "audioend", "error", "end"]
    assert events[-2]["error"] == "no-speech"


def test_noise_is_not_speech(page: Page) -> None:
    """White noise, for which the demo model writes no word at any offset; for a hum it does."""
    events = page.evaluate("recognize({}, hissing(0.5))")
    assert kinds(events) == [
        "start", "audiostart", "soundstart", "speechstart", "nomatch", "speechend", "soundend", "audioend", "end",
    ]  # fmt: skip


def test_microphone_permission_denied(page: Page) -> None:
    events = page.evaluate(
        """async () => {
            const devices = navigator.mediaDevices;
            devices.getUserMedia = async () => { throw new DOMException("no", "NotAllowedError"); };
            try { return await recognize(); } finally { delete devices.getUserMedia; }
        }"""
    )
    assert events == [{"type": "error", "error": "not-allowed"}, {"type": "end"}]


def test_phrases_are_objects_with_a_boost(page: Page) -> None:
    assert page.evaluate(
        """() => {
            const nameOf = (act) => { try { return act(); } catch ({ name }) { return name; } };
            const recognition = new SpeechRecognition();
            recognition.phrases = [new SpeechRecognitionPhrase("Tympan"), new SpeechRecognitionPhrase("Kyutai", 3)];
            return [
                recognition.phrases.map(({ phrase, boost }) => [phrase, boost]),
                nameOf(() => { recognition.phrases = ["Tympan"]; }),
                nameOf(() => new SpeechRecognitionPhrase("Tympan", 11)),
                nameOf(() => new SpeechRecognitionPhrase(" ")),
                recognition.phrases.length,
            ];
        }"""
    ) == [[["Tympan", 1], ["Kyutai", 3]], "TypeError", "SyntaxError", "SyntaxError", 2]


def test_the_result_has_as_many_alternatives_as_asked_for(page: Page) -> None:
    options = "{ lang: 'en-GB', maxAlternatives: 3, phrases: [new SpeechRecognitionPhrase('week')] }"
    events = page.evaluate(f"(seconds) => recognize({options}, playing(seconds))", SENTENCE_S)
    (result,) = results(events)
    (final,) = result["results"]
    assert 1 <= final["length"] <= 3
    assert final["confidence"] == min(word["confidence"] for word in final["words"])


def test_event_handler_attributes_can_be_set_and_removed(page: Page) -> None:
    assert page.evaluate(
        """() => {
            const recognition = new SpeechRecognition();
            const seen = [];
            recognition.onresult = () => seen.push("first");
            recognition.onresult = function (event) { seen.push(this === recognition && event.type); };
            recognition.dispatchEvent(new Event("result"));
            recognition.onresult = null;
            recognition.dispatchEvent(new Event("result"));
            return [seen, recognition.onresult, "onnomatch" in recognition];
        }"""
    ) == [["result"], None, True]


def test_the_microphone_is_released_on_stop(page: Page) -> None:
    assert page.evaluate(
        """async () => {
            const devices = navigator.mediaDevices;
            const tracks = [];
            const ask = MediaDevices.prototype.getUserMedia;
            devices.getUserMedia = async (wanted) => {
                const stream = await ask.call(devices, wanted);
                tracks.push(...stream.getTracks());
                return stream;
            };
            const during = [];
            await recognize({}, undefined, (recognition) => {
                during.push(...tracks.map((track) => track.readyState));
                recognition.stop();
            });
            delete devices.getUserMedia;
            return [during, tracks.map((track) => track.readyState)];
        }"""
    ) == [["live"], ["ended"]]
