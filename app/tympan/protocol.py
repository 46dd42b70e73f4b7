"""The messages between a page and the engine's worker, and the constants that both sides share.

Messages to the worker:    {id, name, fields}           a request, which is answered
                           {name, fields}               a command, which is not
Messages from the worker:  {id, value}                  the answer to a request
                           {id, error}                  or its failure: {kind, message, fields}
                           {event, ...}                 an event, with the fields of EVENTS

`cli/site.py` writes this module as `bridge/protocol.js` for the JavaScript side. MicroPython imports it too, so it
imports nothing itself.
"""

SAMPLE_RATE_HZ = 24_000
FRAME_SAMPLES = 1_920
FRAME_S = FRAME_SAMPLES / SAMPLE_RATE_HZ
CHUNK_SAMPLES = 2 * SAMPLE_RATE_HZ  # of a file, sent in one message
SHORTEST_AUDIO_S = 0.25  # shorter audio holds no word and is rejected

# Fields by request. A recording is a number that the page counts up; `samples` is a Float32Array, which is transferred.
REQUESTS = {
    "offer": ("model", "page_url"),
    "open_model": ("model", "backend", "simd", "page_url"),
    "cancel": (),
    "delete_models": (),
    "begin": ("recording", "rate_hz", "live", "trace"),
    "feed": ("recording", "samples"),  # of a file; answered when there is room for more
    "finish": ("recording",),
    "abandon": ("recording",),
    "captions": ("words", "format"),
}
COMMANDS = {
    "push": ("recording", "samples"),  # of a live source; an error comes as the event "failure"
}

# Fields by event. `sequence` counts the events of one recording; a page ignores events of other recordings, and those
# that come out of order.
EVENTS = {
    "progress": ("phase", "done", "total", "rate", "seconds_left"),
    "backend": ("backend", "runs_on", "why"),  # the transformer now runs on another backend
    "update": (
        "recording",
        "sequence",
        "words",  # new and complete: {text, start, end}
        "cue_starts",  # indices into `words` of those that begin a caption cue
        "partial",  # the word that is being said
        "seconds",  # of audio transcribed
        "backlog_s",  # of audio that waits
        "memory_mb",
        "mimi_ms",
        "lm_ms",
        "elapsed_s",
        "real_time_factor",
    ),
    "turn": ("recording", "sequence", "turn", "seconds"),
    "failure": ("recording", "sequence", "kind", "message", "fields"),  # the source is to stop; `finish` still answers
}

# Fields of the answers that are objects.
ANSWERS = {
    "offer": ("title", "languages", "licence", "source", "notes", "bytes", "missing", "host", "must_ask"),
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
    ),
    "finish": ("text", "words", "seconds", "frames", "timing"),
}
TRACES = ("codes", "tokens", "logits")  # further fields of `finish`, where a trace was asked for

# Errors that the page's side raises: classes of `tympan.errors`.
PAGE_ERRORS = ("BadAudio", "DownloadFailed", "MicrophoneDenied", "TabDenied")

# Their reasons by code. The page's tables of texts translate them.
REASONS = {
    "denied": "permission was refused. Allow it in the address bar and try again",
    "no_microphone": "none was found",
    "microphone_busy": "another program is using it",
    "insecure": "this page was not opened over https or from this machine",
    "no_tab_sound": "no sound was shared with it. Choose a tab, and tick “Also share tab audio”",
    "no_tab_support": "this browser cannot share the sound of a tab",
    "empty": "it is empty",
    "unreadable": "it cannot be read ({detail})",
    "no_sound": "the browser finds no sound in it that it can decode",
    "too_short": "it is {seconds} long, too short for a word",
    "no_answer": "there is no answer from that address, or it does not let other sites read it",
    "bad_answer": "the server answered {status}",
}
DEVICE_REASONS = {  # codes by the name of the browser's DOMException
    "NotAllowedError": "denied",
    "NotFoundError": "no_microphone",
    "NotReadableError": "microphone_busy",
}
