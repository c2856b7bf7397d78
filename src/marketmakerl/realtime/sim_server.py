"""HTTP under the offline venue: connections in, requests to a function, JSON out. Nothing here knows of markets."""

from __future__ import annotations

import socket
import socketserver
import threading
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, Final

import orjson

from marketmakerl.realtime.sim_protocol import Reply

if TYPE_CHECKING:
    from collections.abc import Callable

SERVER_NAME: Final = "marketmakerl-exchange-sim"
STOP_WITHIN_S: Final = 5.0
_MAX_BODY: Final = 1 << 20


class Server(socketserver.TCPServer):
    """A listening socket and one thread a connection; `server_close` leaves none of either.

    Args:
        address: host and port.
        answer: takes method and target (path and query) of a request and returns the reply; None hangs up.

    Raises:
        OSError: the address cannot be bound.
    """

    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], answer: Callable[[str, str], Reply | None]) -> None:
        self.answer = answer
        self._open: dict[socket.socket, threading.Thread] = {}
        self._guard = threading.Lock()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Talk to one client in a thread of its own."""
        thread = threading.Thread(target=self._converse, args=(request, client_address), daemon=True)
        with self._guard:
            self._open[request] = thread
        thread.start()

    def _converse(self, request: socket.socket, client_address: Any) -> None:
        try:
            self.finish_request(request, client_address)
        except OSError:
            pass  # the client went away
        finally:
            self.shutdown_request(request)
            with self._guard:
                self._open.pop(request, None)

    def server_close(self) -> None:
        """Stop listening, hang up on everybody and wait for the threads."""
        super().server_close()
        with self._guard:
            left = dict(self._open)
        for connection in left:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # closed in the meantime
        for thread in left.values():
            thread.join(STOP_WITHIN_S)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body leave in one packet
    disable_nagle_algorithm = True
    server: Server

    def _serve(self) -> None:
        length = self.headers.get("Content-Length", "0")
        if not length.isdigit() or int(length) > _MAX_BODY or "Transfer-Encoding" in self.headers:
            self.close_connection = True
        elif int(length):
            self.rfile.read(int(length))
        reply = self.server.answer(self.command, self.path)
        if reply is None:
            self.close_connection = True
        else:
            self._write(reply)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_OPTIONS = _serve  # noqa: N815

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer a request that is none with JSON, as everything else here."""
        self.close_connection = True
        text = message or explain or "A request that is none."
        self._write(Reply(int(code), orjson.dumps({"code": -1000, "msg": text}), {}))

    def _write(self, reply: Reply) -> None:
        self.send_response_only(reply.status)
        headers = {"Server": SERVER_NAME, "Content-Type": "application/json;charset=UTF-8", **reply.headers}
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.send_header("Connection", "close" if self.close_connection else "keep-alive")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (its name in the standard library)
        """Say nothing."""
