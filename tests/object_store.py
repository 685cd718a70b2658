"""An S3 of this process on the loopback address, which can be told to refuse."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

from mint_ray.storage import location

BUCKET = "bucket"
SECRET = "not-for-any-log"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
STATUS = {
    "InvalidRequest": "400 Bad Request",
    "ExpiredToken": "400 Bad Request",
    "AccessDenied": "403 Forbidden",
    "InvalidAccessKeyId": "403 Forbidden",
    "SlowDown": "503 Slow Down",
}


class Quiet(WSGIRequestHandler):
    def log(self, *arguments, **more):
        pass


class ObjectStore:
    """moto behind a door: what `refusing` picks is answered with an error, as S3 words it."""

    def __init__(self):
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self, threaded=True, request_handler=Quiet)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._refused: Callable[[str, str], str | None] = lambda method, path: None
        self.requests: list[tuple[str, str]] = []
        self.ignores_conditions = False  # as older stores do
        self._thread.start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __call__(self, environ, start_response):
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        self.requests.append((method, path))
        if code := self._refused(method, path):
            body = f"<Error><Code>{code}</Code><Message>{code} it is</Message></Error>".encode()
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start_response(STATUS[code], [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
            return [b"" if method == "HEAD" else body]
        if self.ignores_conditions:
            environ.pop("HTTP_IF_NONE_MATCH", None)
        return self._moto(environ, start_response)

    def refuse(self, refused: Callable[[str, str], str | None]) -> None:
        """From now on answer a request with the error that the function gives its method and path, if any."""
        self._refused = refused

    @contextmanager
    def refusing(self, code: str, within: str = "") -> Iterator[None]:
        """Refuse every request whose path holds `within`, for the time of the block."""
        self.refuse(lambda method, path: code if within in path else None)
        try:
            yield
        finally:
            self.refuse(lambda method, path: None)

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()


def place(name: str) -> Path:
    """A place in the bucket that no other test uses."""
    return location(f"s3://{BUCKET}/{name}")
