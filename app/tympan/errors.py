"""Errors with an external cause. Every message is a sentence for the screen.

    TympanError
    ├── ModelError
    │   ├── UnknownModel      no such id in the catalogue, or nothing at that address
    │   ├── BadModel          an invalid manifest, config or tensor
    │   ├── CorruptFile       a file does not match the hash or length in the manifest
    │   ├── DownloadFailed    a network or server error
    │   ├── StorageFull       not enough storage in the browser
    │   ├── NotEnoughMemory   the model is too large for this device
    │   └── Cancelled         the user cancelled loading
    ├── AudioError
    │   ├── BadAudio          a file that holds no audio the browser can decode
    │   ├── MicrophoneDenied  permission refused, or no microphone
    │   ├── TabDenied         permission refused, or a tab without audio
    │   └── TooSlow           audio arrives faster than this device can transcribe it
    ├── GpuError
    │   ├── NoWebGPU          the browser offers no adapter
    │   ├── GpuLimit          the adapter is too small for this model
    │   ├── GpuFault          the driver refused a shader or a buffer
    │   ├── GpuWrong          the GPU returns wrong results
    │   └── DeviceLost        the GPU was removed, reset or put to sleep
    ├── NotInWorker           Tympan was started outside of a worker
    ├── StorageRefused        the browser does not let this site store data
    ├── TooManyTerms          a vocabulary that is too long
    └── BadOption             an unknown value of a query parameter or an argument

Programming errors are `assert`s that show the values, never one of these.
MicroPython imports this module too, so it imports nothing itself.
"""


class TympanError(Exception):
    """The base class. `str(error)` is the sentence for the screen, `error.kind` the name of the class."""

    @property
    def kind(self) -> str:
        return type(self).__name__

    @property
    def fields(self) -> "dict[str, object]":
        """The values in the sentence, for pages that translate it."""
        return self.__dict__


class ModelError(TympanError):
    """The model cannot be used."""


class UnknownModel(ModelError):
    def __init__(self, model: str, known: tuple[str, ...] = ()) -> None:
        self.model, self.known = model, known
        hint = f" The catalogue has: {', '.join(known)}." if known else ""
        super().__init__(f"There is no model “{model}”.{hint}")


class BadModel(ModelError):
    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"The model cannot be read: {reason}.")


class CorruptFile(ModelError):
    def __init__(self, path: str, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(f"The model file {path} is damaged: {reason}. Reload the page to fetch it again.")


class DownloadFailed(ModelError):
    def __init__(self, url: str, reason: str) -> None:
        self.url, self.reason = url, reason
        super().__init__(f"Could not download {url}: {reason}.")


class StorageFull(ModelError):
    def __init__(self, needed_bytes: int, free_bytes: int) -> None:
        self.needed_bytes, self.free_bytes = needed_bytes, free_bytes
        free = (
            f"{free_bytes / 1e6:.1f} MB are free" if free_bytes < needed_bytes else "the browser refuses to store more"
        )
        super().__init__(f"There is not enough storage for the model: {needed_bytes / 1e6:.1f} MB are needed, {free}.")


class NotEnoughMemory(ModelError):
    def __init__(self, needed_gb: float, offered_gb: float) -> None:
        self.needed_gb, self.offered_gb = needed_gb, offered_gb
        super().__init__(
            f"This model is too large for this device: it needs about {needed_gb:.1f} GB of memory, and a page can use "
            f"about {offered_gb:.1f} GB here. Choose a smaller model."
        )


class Cancelled(ModelError):
    def __init__(self) -> None:
        super().__init__("Loading was cancelled. The files downloaded so far are kept.")


class AudioError(TympanError):
    """The audio cannot be used."""


class BadAudio(AudioError):
    def __init__(self, name: str, reason: str) -> None:
        self.name, self.reason = name, reason
        super().__init__(f"“{name}” cannot be transcribed: {reason}.")


class MicrophoneDenied(AudioError):
    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"The microphone cannot be used: {reason}.")


class TabDenied(AudioError):
    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"The audio of the tab cannot be used: {reason}.")


class TooSlow(AudioError):
    def __init__(self, backlog_s: float) -> None:
        self.backlog_s = backlog_s
        super().__init__(
            f"This device is {backlog_s:.0f} seconds behind the audio, so recording has stopped. "
            "The audio recorded so far is still transcribed."
        )


class GpuError(TympanError):
    """The GPU cannot be used."""


class NoWebGPU(GpuError):
    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"WebGPU is not available: {reason}. The CPU can be used instead.")


class GpuLimit(GpuError):
    def __init__(self, limit: str, needed: int, offered: int) -> None:
        self.limit, self.needed, self.offered = limit, needed, offered
        super().__init__(f"This GPU is too small for the model: {limit} is {offered}, {needed} is needed.")


class GpuFault(GpuError):
    def __init__(self, label: str, reason: str) -> None:
        self.label, self.reason = label, reason
        super().__init__(f"The GPU driver refused {label}: {reason}")


class GpuWrong(GpuError):
    def __init__(self, kernel: str) -> None:
        self.kernel = kernel
        super().__init__(f"This GPU computes wrongly: the result of the kernel “{kernel}” is wrong.")


class DeviceLost(GpuError):
    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"The GPU was lost ({reason}). Load the model again to continue.")


class NotInWorker(TympanError):
    def __init__(self) -> None:
        super().__init__('Tympan runs in a worker: add the attribute "worker" to the <py-script> element.')


class StorageRefused(TympanError):
    def __init__(self) -> None:
        super().__init__(
            "The browser does not let this site store data, and Tympan cannot start without it. Allow cookies and "
            "site data for this site in the browser's settings, then reload the page."
        )


class TooManyTerms(TympanError):
    def __init__(self, n_terms: int, limit: int) -> None:
        self.n_terms, self.limit = n_terms, limit
        super().__init__(f"The vocabulary has {n_terms} terms; {limit} are possible.")


class BadOption(TympanError):
    def __init__(self, option: str, value: str, allowed: tuple[str, ...]) -> None:
        self.option, self.value, self.allowed = option, value, allowed
        super().__init__(f"{option} cannot be “{value}”; it is one of: {', '.join(allowed)}.")
