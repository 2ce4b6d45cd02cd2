# An S3 server for tests: moto behind two rules that the real one keeps and moto does not.
# Signatures are checked (by botocore's own code), and one request is carried out after another,
# so that conditional writes are atomic. Prints its port; ends when its standard input does.
import io
import os
import sys
import threading
from urllib.parse import parse_qs

from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

KEYS = Credentials("key-id", "secret/+key", "session/token+=")
inner = DomainDispatcherApplication(create_backend_app)
turn = threading.Lock()


def signature_is_right(environ):
    path, _, query = environ["RAW_URI"].partition("?")
    parts = query.split("&")
    given = [part[16:] for part in parts if part.startswith("X-Amz-Signature=")]
    query = "&".join(part for part in parts if not part.startswith("X-Amz-Signature="))
    fields = {name: values[0] for name, values in parse_qs(query).items()}
    if not given or fields.get("X-Amz-Security-Token") != KEYS.token:
        return False
    key_id, _, region, service, _ = fields["X-Amz-Credential"].split("/")
    signed = [name for name in fields["X-Amz-SignedHeaders"].split(";") if name != "host"]
    headers = {name: environ.get("HTTP_" + name.upper().replace("-", "_"), "") for name in signed}
    conditions = {"if-match", "if-none-match"}
    sent = {name for name in conditions if "HTTP_" + name.upper().replace("-", "_") in environ}
    if key_id != KEYS.access_key or not sent <= set(signed):
        return False
    url = f"http://{environ['HTTP_HOST']}{path}?{query}"
    request = AWSRequest(environ["REQUEST_METHOD"], url, headers)
    request.context["timestamp"] = fields["X-Amz-Date"]
    auth = S3SigV4QueryAuth(KEYS, service, region)
    return auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request) == given[0]


def refuse(start, status, code):
    start(status, [("Content-Type", "application/xml")])
    return [f"<Error><Code>{code}</Code><Message>found {code} in the test server.</Message></Error>".encode()]


def application(environ, start):
    length = int(environ.get("CONTENT_LENGTH") or 0)
    body = environ["wsgi.input"].read(length)
    if len(body) < length:
        return refuse(start, "400 Bad Request", "IncompleteBody")
    environ["wsgi.input"] = io.BytesIO(body)
    makes_bucket = environ["REQUEST_METHOD"] == "PUT" and environ["PATH_INFO"].count("/") == 1
    if not makes_bucket and not signature_is_right(environ):
        return refuse(start, "403 Forbidden", "SignatureDoesNotMatch")
    if "/forbidden/" in environ["PATH_INFO"]:
        return refuse(start, "403 Forbidden", "AccessDenied")
    with turn:
        return [b"".join(inner(environ, start))]


class Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_request(self, *_):
        pass


def end_with_the_test():
    sys.stdin.read()
    os._exit(0)


server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=Quiet)
threading.Thread(target=end_with_the_test, daemon=True).start()
print(server.server_port, flush=True)
server.serve_forever()
