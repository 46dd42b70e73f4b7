"""The messages between a page and the engine's worker, and the constants that both sides share.

Messages to the worker:    {id, name, fields}           a request, which gets an answer
                           {name, fields}               a command, which gets none
Messages from the worker:  {id, value}                  the answer to a request
                           {id, error}                  or its error: {kind, message, fields}
                           {event, ...}                 an event, with the fields of EVENTS

`cli/site_files.py` writes this module as `bridge/protocol.js` for the JavaScript side. MicroPython imports it too, so
it imports nothing itself.
"""

SAMPLE_RATE_HZ = 24_000
FRAME_SAMPLES = 1_920
FRAME_S = FRAME_SAMPLES / SAMPLE_RATE_HZ
CHUNK_SAMPLES = 2 * SAMPLE_RATE_HZ  # samples of a file per message
SHORTEST_AUDIO_S = 0.25  # shorter audio cannot contain a word and is rejected
SILENCE_S = 1.2  # that ends a turn; pauses within a number last up to 0.9 s
MIN_SILENCE_S, MAX_SILENCE_S = 0.4, 5.0
DOUBTFUL = 0.5  # words with a lower confidence are doubtful

# Fields by request. `recording` is a number that the page increments; `samples` is a Float32Array, sent by transfer.
REQUESTS = {
    "offer": ("model", "embeddings", "page_url"),
    "open_model": ("model", "backend", "mimi", "simd", "embeddings", "page_url"),
    "cancel": (),
    "delete_models": (),
    "begin": ("recording", "rate_hz", "live", "trace", "silence_s", "terms"),  # terms: as of `read_terms`
    "feed": ("recording", "samples"),  # of a file; answered when the backlog has room for more
    "finish": ("recording",),
    "abandon": ("recording",),
    "captions": ("words", "format"),
}
COMMANDS = {
    "push": ("recording", "samples"),  # of a live source; errors are posted as "failure" events
}

# Fields by event. `sequence` numbers the events of one recording; the page ignores events of other recordings and
# events that arrive out of order.
EVENTS = {
    "progress": ("phase", "done", "total", "rate", "seconds_left"),
    "backend": ("backend", "runs_on", "why", "mimi", "mimi_why"),  # the transformer or Mimi now runs elsewhere
    "update": (
        "recording",
        "sequence",
        "words",  # new and complete: {text, start, end, confidence, alternatives: [{text, confidence}]}
        "cues",  # of captions, new or changed: {index, start, end, text}; at the end of a recording, all cues
        "partial",  # text so far of the word in progress
        "seconds",  # duration of the audio transcribed so far
        "backlog_s",  # duration of the audio queued
        "memory_mb",
        "mimi_ms",
        "lm_ms",
        "elapsed_s",
        "real_time_factor",
    ),
    "turn": ("recording", "sequence", "turn", "seconds"),
    "failure": ("recording", "sequence", "kind", "message", "fields"),  # the page must stop the source, then `finish`
}

# Fields of the answers that are objects.
ANSWERS = {
    "offer": ("title", "languages", "licence", "source", "notes", "bytes", "missing", "host", "converts", "must_ask"),
    "open_model": (
        "title",
        "languages",
        "licence",
        "source",
        "notes",
        "bytes",
        "host",
        "simd",
        "backend",
        "runs_on",
        "why",  # {kind, message, fields}: the reason for the backend
        "mimi",  # where Mimi runs: webgpu or cpu
        "mimi_why",
        "pauses",  # how they are found: heads, loudness, or missing if the model's heads could not be downloaded
    ),
    "finish": ("text", "words", "seconds", "frames", "timing", "stuck"),
}
TRACES = ("codes", "tokens", "logits")  # additional fields of `finish` if a trace was requested

# Errors that the JavaScript side raises: classes of `tympan.errors`.
PAGE_ERRORS = ("BadAudio", "DownloadFailed", "MicrophoneDenied", "TabDenied")

# Reasons of these errors by code. The page's text tables translate them.
REASONS = {
    "denied": "permission was refused. Allow it in the address bar and try again",
    "no_microphone": "none was found",
    "microphone_busy": "another program is using it",
    "insecure": "this page was not opened over HTTPS or from this machine",
    "no_tab_sound": "no audio was shared. Choose a tab and select “Also share tab audio”",
    "no_tab_support": "this browser cannot share the audio of a tab",
    "empty": "it is empty",
    "unreadable": "it cannot be read ({detail})",
    "no_sound": "it has no audio that this browser can decode",
    "too_short": "it is {seconds} long, too short for a word",
    "no_answer": "the server does not answer, or does not let other sites read the file",
    "bad_answer": "the server answered {status}",
}
DEVICE_REASONS = {  # codes by the name of the browser's DOMException
    "NotAllowedError": "denied",
    "NotFoundError": "no_microphone",
    "NotReadableError": "microphone_busy",
}
