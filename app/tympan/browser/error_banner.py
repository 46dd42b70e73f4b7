"""What went wrong: the sentence for the screen and a way out where there is one."""

from pyscript import window

from tympan.browser.language import language

CPU = ("backend", "simd", "use_cpu")
DEMO = ("model", "", "use_demo")
GPU_TROUBLE = ("NoWebGPU", "GpuLimit", "GpuFault", "GpuWrong", "DeviceLost")
WAYS_OUT = {"UnknownModel": DEMO, "BadModel": DEMO}
WAYS_OUT.update((kind, CPU) for kind in GPU_TROUBLE)
PASSING = ("DownloadFailed", "CorruptFile", "Cancelled")  # what may go well the next time


class ErrorBanner:
    """Shows errors. view: the page's `View`. on_delete: called when a person wants to make room."""

    def __init__(self, view, on_delete):
        self._view, self._on_delete = view, on_delete

    def show(self, error, on_retry=None):
        """Say what went wrong. on_retry: does the same again."""
        kind, message = getattr(error, "kind", ""), language.error(error)
        view = self._view
        view.hide_progress()
        view.show_state("error", "failed")
        if kind in WAYS_OUT:
            key, value, text = WAYS_OUT[kind]
            query = window.URLSearchParams.new(window.location.search)
            query.set(key, value)
            view.show_error(message, language.text(text), href=f"?{query.toString()}")
        elif kind == "StorageFull":
            view.show_error(message, language.text("delete_models_now"), on_press=self._on_delete)
        elif kind in PASSING and on_retry:
            view.show_error(message, language.text("try_again"), on_press=on_retry)
        else:
            view.show_error(message)
