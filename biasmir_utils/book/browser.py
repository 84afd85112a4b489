"""A headless Chromium, driven through the DevTools protocol.

Enough to open a page as a desktop or a phone shows it, run JavaScript in it, press keys, take
pictures, and know what it asked of the network and complained about. Debian's Chromium lays no
window out narrower than 500 px, so the phone's width is set by device emulation.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import tempfile
import time
import urllib.request
from math import ceil
from pathlib import Path
from types import TracebackType
from typing import Any

from biasmir_utils.errors import BookError

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
# Addresses that need no network.
_LOCAL = ("file:", "data:", "blob:", "about:", "chrome:", "devtools:")
# True once the page was laid out and drawn anew: the first frame may still be the old one.
_DRAWN = "new Promise(d => requestAnimationFrame(() => requestAnimationFrame(() => d(true))))"


def find_chromium() -> str:
    """Return the path of a Chromium, or raise a `BookError` that says what to install."""
    for name in NAMES:
        found = shutil.which(name)
        if found:
            return found
    raise BookError("no Chromium on the PATH; install it (Debian: sudo apt install chromium)")


class Browser:
    """One page of a headless Chromium, to use in a `with` statement.

    Parameters
    ----------
    executable : str, optional
        Path of Chromium; looked for when not given.
    timeout : float
        Seconds to wait for an answer before giving up.

    Attributes
    ----------
    requests : list of str
        Addresses that the page asked for since it was opened.
    errors : list of str
        What it reported on the console as errors, and exceptions that nobody caught.
    """

    def __init__(self, executable: str | None = None, timeout: float = 60.0) -> None:
        self._executable = executable or find_chromium()
        self._timeout = timeout
        self._number = 0
        self._events: list[dict[str, Any]] = []
        self.requests: list[str] = []
        self.errors: list[str] = []

    def __enter__(self) -> Browser:
        import websocket

        self._folder = tempfile.TemporaryDirectory(
            prefix="biasmir-chromium-", ignore_cleanup_errors=True
        )
        command = [
            self._executable,
            *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
            *("--hide-scrollbars", "--mute-audio", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update"),
            *("--remote-debugging-port=0", "--remote-allow-origins=*"),
            f"--user-data-dir={self._folder.name}",
            "about:blank",
        ]
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self._port()}/json/list", timeout=self._timeout
            ) as answer:
                targets = json.load(answer)
            address = next(t["webSocketDebuggerUrl"] for t in targets if t["type"] == "page")
            self._socket = websocket.create_connection(address, timeout=self._timeout)
            for domain in ("Page", "Runtime", "Network", "Log"):
                self.send(f"{domain}.enable")
            # As in a window that is in front: without it nothing hears of its focus before a click.
            self.send("Emulation.setFocusEmulationEnabled", enabled=True)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()
        self._stop()

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the DevTools protocol and return its result."""
        self._number += 1
        number = self._number
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = self._receive()
            if message.get("id") == number:
                if "error" in message:
                    raise BookError(f"Chromium refused {method}: {message['error']['message']}")
                result: dict[str, Any] = message["result"]
                return result

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression; a promise is waited for."""
        answer = self.send(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in answer:
            raise BookError(f"JavaScript failed: {_exception(answer['exceptionDetails'])}")
        return answer["result"].get("value")

    def open(self, address: str, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Open a page and wait until it is loaded, fonts and formulas included.

        Below 600 px the page is shown as a phone would show it; `dark` is what the reader's
        system asks for.
        """
        self._size(width, height)
        self.send("Emulation.setTouchEmulationEnabled", enabled=width < 600)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        # No fading: what is measured or photographed is the page as it comes to rest.
        calm = {"name": "prefers-reduced-motion", "value": "reduce"}
        self.send("Emulation.setEmulatedMedia", features=[scheme, calm])
        self.requests, self.errors, self._events = [], [], []
        answer = self.send("Page.navigate", url=address)
        if answer.get("errorText"):
            raise BookError(f"{address} cannot be opened: {answer['errorText']}")
        while not any(event["method"] == "Page.loadEventFired" for event in self._events):
            self._receive()
        self.evaluate(
            "Promise.all([document.fonts.ready, window.MathJax?.startup?.promise])"
            ".then(() => new Promise(done => requestAnimationFrame(() => done(true))))"
        )

    def press(self, key: str, code: str | None = None, text: str | None = None) -> None:
        """Press and release a key, named as in the DOM (`Enter`, `ArrowRight`, `Tab`, `a`)."""
        codes = {"Enter": 13, "Tab": 9, "Escape": 27, " ": 32}
        codes |= {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
        codes |= {"PageUp": 33, "PageDown": 34, "End": 35, "Home": 36}
        common = {"key": key, "code": code or key, "windowsVirtualKeyCode": codes.get(key, 0)}
        if text is None and key == "Enter":
            text = "\r"
        down = {"type": "keyDown", "text": text} if text else {"type": "rawKeyDown"}
        self.send("Input.dispatchKeyEvent", **common, **down)
        self.send("Input.dispatchKeyEvent", **common, type="keyUp")

    def click(self, x: float, y: float) -> None:
        """Click with the left button at a point of the window, in CSS pixels."""
        place = {"x": x, "y": y}
        self.send("Input.dispatchMouseEvent", type="mouseMoved", **place)
        press = {**place, "button": "left", "clickCount": 1}
        self.send("Input.dispatchMouseEvent", type="mousePressed", **press)
        self.send("Input.dispatchMouseEvent", type="mouseReleased", **press)

    def wait_for(self, expression: str, timeout: float | None = None) -> Any:
        """Wait until a JavaScript expression is true, and return its value.

        Raises
        ------
        BookError
            It is not, within `timeout` seconds (by default as long as this browser waits).
        """
        timeout = self._timeout if timeout is None else timeout
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            value = self.evaluate(expression)
            if value:
                return value
            time.sleep(0.02)
        raise BookError(f"waited {timeout:g} s in vain for {expression}")

    def screenshot(self, target: Path, top: int = 0, height: int | None = None) -> None:
        """Write a PNG of the page, from `top` on, `height` CSS pixels high (None: to its end)."""
        width, window, across, down = self.evaluate("[innerWidth, innerHeight, scrollX, scrollY]")
        page = ceil(self.send("Page.getLayoutMetrics")["cssContentSize"]["height"])
        clip = {"x": 0, "y": top, "width": width, "height": height or page - top, "scale": 1}
        # The window is made as high as the page. With captureBeyondViewport Chromium often makes it
        # a pixel wide for a moment, and a column that a phone does not show is caught sliding in.
        self._size(width, max(page, window))
        try:
            self.evaluate(_DRAWN)
            answer = self.send("Page.captureScreenshot", format="png", clip=clip)
        finally:
            self._size(width, window)
            self.evaluate(f"window.scrollTo({across}, {down})")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(base64.b64decode(answer["data"]))

    def requests_out(self) -> list[str]:
        """Return what the page asked of any machine by network."""
        return [address for address in self.requests if not address.startswith(_LOCAL)]

    def _size(self, width: int, height: int) -> None:
        """Give the window a size in CSS pixels; below 600 of width it is a phone's."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )

    def _receive(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self._socket.recv())
        method = message.get("method")
        if method:
            self._events.append({"method": method})
            parameters = message["params"]
            if method == "Network.requestWillBeSent":
                self.requests.append(parameters["request"]["url"])
            elif method == "Runtime.exceptionThrown":
                self.errors.append(_exception(parameters["exceptionDetails"]))
            elif method == "Runtime.consoleAPICalled" and parameters["type"] == "error":
                said = [str(a.get("value", a.get("description"))) for a in parameters["args"]]
                self.errors.append(" ".join(said))
            elif method == "Log.entryAdded" and parameters["entry"]["level"] == "error":
                entry = parameters["entry"]
                self.errors.append(f"{entry['text']} {entry.get('url', '')}".strip())
        return message

    def _port(self) -> int:
        announced = Path(self._folder.name, "DevToolsActivePort")
        end = time.monotonic() + self._timeout
        while time.monotonic() < end:
            if self._process.poll() is not None:
                raise BookError(f"{self._executable} ended at once; does it run by itself?")
            lines = announced.read_text().splitlines() if announced.is_file() else []
            if len(lines) >= 2:
                return int(lines[0])
            time.sleep(0.05)
        raise BookError(f"{self._executable} did not start within {self._timeout:.0f} s")

    def _stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()


def _exception(details: dict[str, Any]) -> str:
    return str(details.get("exception", {}).get("description") or details.get("text"))
