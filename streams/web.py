"""A worker's three pages: /metrics, /healthz (alive and making progress) and /ready (assigned and connected).

Not Faust's web server: that one answers from the event loop that runs the agents, so it would fall silent with what it
should report on, and it serves a dozen pages more. This one has a thread of its own and nothing else to say.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

REQUEST_S_MAX = 10.0
"""A client that sends nothing for so long is let go."""
Check = Callable[[], list[str]]
"""What is wrong, one sentence each; empty: all is well."""


class Web:
    """The server.

    Args:
        host: address to bind, loopback unless said otherwise.
        port: TCP port; 0: any free one (see `port` after `start`).
        registry: what /metrics shows.
        health, ready: what /healthz and /ready ask.
    """

    def __init__(
        self, host: str, port: int, registry: CollectorRegistry, health: Check, ready: Check
    ) -> None:
        checks = {"/healthz": health, "/ready": ready}
        handler = type("Pages", (_Pages,), {"registry": registry, "checks": checks})
        self._server = ThreadingHTTPServer((host, port), handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]

    def start(self) -> None:
        """Answer from now on, in threads that end with the process."""
        threading.Thread(target=self._server.serve_forever, name="web", daemon=True).start()

    def stop(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()


class _Pages(BaseHTTPRequestHandler):
    registry: CollectorRegistry
    checks: dict[str, Check]
    timeout = REQUEST_S_MAX
    server_version = "ehps"
    sys_version = ""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/metrics":
            self._answer(200, generate_latest(self.registry), CONTENT_TYPE_LATEST)
        elif path in self.checks:
            wrong = self.checks[path]()
            self._answer(503 if wrong else 200, "\n".join(wrong or ["ok"]).encode() + b"\n")
        else:
            self._answer(404, b"/metrics, /healthz or /ready\n")

    def _answer(self, code: int, body: bytes, kind: str = "text/plain; charset=utf-8") -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Silent: a page is asked for every few seconds."""
