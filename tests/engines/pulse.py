"""A PulseAudio server without hardware, whose microphone plays a file."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from tympan.cli.errors import CommandError

START_S = 20
RATE_HZ = 48_000


class Pulse:
    """A running server. Each time a program opens the microphone, it hears the file once from the start, then silence.

    The microphone is the monitor of a sink, so it has a rate of its own, 48 kHz, as that of a laptop. What browsers
    play goes to another sink, at which nobody listens.
    """

    def __init__(self, microphone: Path | None) -> None:
        """microphone: a WAV file; None for no microphone. Raises CommandError when the server does not start."""
        self._folder = tempfile.TemporaryDirectory(prefix="tympan-pulse-")
        socket = Path(self._folder.name) / "socket"
        self.environment = {
            "PULSE_SERVER": f"unix:{socket}",
            "PULSE_COOKIE": f"{self._folder.name}/cookie",
            "XDG_RUNTIME_DIR": self._folder.name,
        }
        modules = [
            f"module-native-protocol-unix socket={socket} auth-anonymous=1",
            f"module-null-sink sink_name=speaker rate={RATE_HZ}",
        ]
        if microphone is not None:
            modules += [
                f"module-null-sink sink_name=voice rate={RATE_HZ} channels=1",
                "module-remap-source source_name=microphone master=voice.monitor",
            ]
        options = ("-n", "--daemonize=no", "--use-pid-file=no", "--exit-idle-time=-1", "--log-level=error")
        loads = [argument for module in modules for argument in ("-L", module)]
        self._processes = [self._start("pulseaudio", *options, *loads)]
        deadline = time.monotonic() + START_S
        while not socket.exists():
            if self._processes[0].poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise CommandError("pulseaudio did not start.")
            time.sleep(0.02)
        self._run("set-default-sink", "speaker")
        if microphone is not None:
            self._run("set-default-source", "microphone")
            events = self._start("pactl", "subscribe", stdout=subprocess.PIPE)
            self._processes.append(events)
            threading.Thread(target=self._play_on_opening, args=(events, microphone), daemon=True).start()

    def stop(self) -> None:
        """Stop the server and all players."""
        for process in reversed(self._processes):
            process.terminate()
            process.wait()
            if process.stdout:
                process.stdout.close()
        self._folder.cleanup()

    def _play_on_opening(self, events: subprocess.Popen[str], microphone: Path) -> None:
        players: dict[str, subprocess.Popen[str]] = {}
        assert events.stdout is not None
        for line in events.stdout:
            if "source-output" not in line:
                continue
            number = line.rsplit("#", 1)[1].strip()
            if "'new'" in line:
                players[number] = self._start("paplay", "--device=voice", str(microphone))
            elif "'remove'" in line and number in players:
                player = players.pop(number)
                player.terminate()
                player.wait()
        for player in players.values():
            player.terminate()
            player.wait()

    def _start(self, *command: str, stdout: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
        environment = {**os.environ, **self.environment}
        return subprocess.Popen(command, env=environment, stdout=stdout, stderr=subprocess.DEVNULL, text=True)

    def _run(self, *command: str) -> None:
        subprocess.run(["pactl", *command], env={**os.environ, **self.environment}, check=True, capture_output=True)
