"""The engine client of the JavaScript bridge, with a worker whose messages the test chooses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

# window.client: its worker answers every request at once; before, it calls `act` for the name of the request.
CLIENT = """
    async () => {
        window.sent = [];
        window.act = {};
        window.Worker = class extends EventTarget {
            constructor() {
                super();
                window.post = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
            }

            postMessage({ id, name, fields }) {
                sent.push(name);
                queueMicrotask(() => {
                    act[name]?.(fields);
                    const values = { open_model: { backend: "webgpu", runs_on: "a GPU" }, finish: { words: ["all"] } };
                    if (id !== undefined) post({ id, value: values[name] });
                });
            }
        };
        const { EngineClient } = await import("../bridge/engine_client.js");
        window.client = new EngineClient({ model: "", backend: "auto", simd: "auto" });
        window.update = (recording, sequence, text) => post({
            event: "update", recording, sequence, words: [], cues: [], partial: text, seconds: 0, backlog_s: 0,
            memory_mb: 0, mimi_ms: 0, lm_ms: 0, elapsed_s: 0, real_time_factor: 0,
        });
        window.seen = [];
        client.addEventListener("update", ({ detail }) => seen.push(detail.partial));
        window.record = () => client.transcribe(() => new Float32Array(10), {
            onupdate: ({ partial }) => seen.push(`own ${partial}`),
        });
        // A live source that gives one frame and never ends.
        window.source = {
            rateHz: 24000,
            ended: new Promise(() => {}),
            start: (onSamples) => onSamples(new Float32Array(10)),
            stop: async () => { sent.push("source stopped"); },
            close: async () => { sent.push("source closed"); },
        };
    }
"""


@pytest.fixture
def page(browser: Browser, site: str) -> Iterator[Page]:
    page = browser.new_page()
    page.goto(f"{site}/examples/captions.html")
    page.evaluate(CLIENT)
    yield page
    page.close()


def test_events_of_other_recordings_and_late_ones_are_dropped(page: Page) -> None:
    seen = page.evaluate(
        """async () => {
            act.feed = ({ recording }) => {
                update(recording, 1, "a");
                update(recording, 3, "b");
                update(recording, 2, "late");
                update(recording, 3, "twice");
                update(recording + 1, 4, "of no recording");
            };
            await record();
            update(1, 5, "after the end");
            act.feed = () => {
                update(1, 6, "of the first recording");
                update(2, 1, "c");
            };
            await record();
            return seen;
        }"""
    )
    assert seen == ["own a", "a", "own b", "b", "own c", "c"]
    assert page.evaluate("sent") == ["open_model", *["begin", "feed", "finish"] * 2]


def test_backend_event_belongs_to_no_recording(page: Page) -> None:
    info = page.evaluate(
        """async () => {
            const info = await client.load();
            client.addEventListener("backend", ({ detail }) => seen.push(detail.why.kind));
            post({ event: "backend", backend: "simd", runs_on: "CPU", why: { kind: "gpu_lost" } });
            return info;
        }"""
    )
    assert (info["backend"], info["runs_on"]) == ("simd", "CPU")
    assert page.evaluate("seen") == ["gpu_lost"]


def test_failure_ends_listening_with_the_transcript_so_far(page: Page) -> None:
    error: dict[str, Any] = page.evaluate(
        """() => {
            act.push = ({ recording }) => post({
                event: "failure", recording, sequence: 1, kind: "TooSlow", message: "behind", fields: { backlog_s: 61 },
            });
            return client.listen(() => source, new Promise(() => {})).catch(
                ({ name, message, fields, transcript }) => ({ name, message, fields, transcript }),
            );
        }"""
    )
    assert error == {
        "name": "TooSlow",
        "message": "behind",
        "fields": {"backlog_s": 61},
        "transcript": {"words": ["all"]},
    }
    sent = page.evaluate("sent")
    assert sent.index("source stopped") < sent.index("finish")
    assert sent[-1] == "source closed"


def test_worker_error_has_kind_message_and_fields(page: Page) -> None:
    assert page.evaluate(
        """() => {
            window.Worker.prototype.postMessage = ({ id }) => {
                post({ id, error: { kind: "BadModel", message: "It is bad.", fields: { reason: "bad" } } });
            };
            return client.load().catch(({ name, message, fields }) => [name, message, fields.reason]);
        }"""
    ) == ["BadModel", "It is bad.", "bad"]


def test_crash_of_the_worker_ends_the_recording_and_the_next_one_starts_another_worker(page: Page) -> None:
    assert page.evaluate(
        """async () => {
            const workers = [];
            const Base = window.Worker;
            window.Worker = class extends Base {
                constructor() {
                    super();
                    workers.push(this);
                }

                terminate() { sent.push("terminated"); }
            };
            act.feed = () => {
                delete act.feed;
                const message = "Uncaught RuntimeError: memory access out of bounds";
                workers[0].dispatchEvent(new ErrorEvent("error", { message }));
            };
            const crash = await record().catch(({ name, message }) => ({ name, message }));
            return [crash, await record(), workers.length, sent.includes("terminated")];
        }"""
    ) == [
        {
            "name": "Bug",
            "message": "Something went wrong inside Tympan (Uncaught RuntimeError: memory access out of bounds).",
        },
        {"words": ["all"]},
        2,
        True,
    ]
