"""Errors: the message on the page, and an action that may help."""

from pyscript import window

from tympan.browser.language import language

CPU = ("backend", "simd", "use_cpu")
DEMO = ("model", "", "use_demo")
GPU_ERRORS = ("NoWebGPU", "GpuLimit", "GpuFault", "GpuWrong", "DeviceLost")
LINKS = {"UnknownModel": DEMO, "BadModel": DEMO, "NotEnoughMemory": DEMO}
LINKS.update((kind, CPU) for kind in GPU_ERRORS)
TRANSIENT = ("DownloadFailed", "CorruptFile", "Cancelled")  # a retry may succeed


class ErrorBanner:
    """Shows errors with an action: a link to other settings, a retry, or deleting downloads."""

    def __init__(self, view, on_delete):
        """view: the page's `View`. on_delete: called to delete downloaded models."""
        self._view, self._on_delete = view, on_delete

    def show(self, error, on_retry=None):
        """Show an error. on_retry: called to repeat what failed."""
        kind, message = getattr(error, "kind", ""), language.error(error)
        view = self._view
        view.hide_progress()
        view.show_state("error", "failed")
        if kind in LINKS:
            key, value, text = LINKS[kind]
            query = window.URLSearchParams.new(window.location.search)
            query.set(key, value)
            view.show_error(message, language.text(text), href=f"?{query.toString()}")
        elif kind == "StorageFull":
            view.show_error(message, language.text("delete_models_now"), on_press=self._on_delete)
        elif kind in TRANSIENT and on_retry:
            view.show_error(message, language.text("try_again"), on_press=on_retry)
        else:
            view.show_error(message)
