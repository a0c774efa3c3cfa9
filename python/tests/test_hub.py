"""push_to_hub, against a stand-in for the Hub's API on loopback."""

import base64
import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import electra_convert
import pytest


class Hub(BaseHTTPRequestHandler):
    """The calls of the Hub's API that an upload of small files makes; keeps what it receives in the server."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.tokens.append(self.headers.get("Authorization"))
        path = self.path.partition("?")[0]
        if path == "/api/repos/create":
            request = json.loads(body)
            self.server.created.append(request)
            name = f"user/{request['name']}"
            self.answer({"url": f"{self.server.url}/{name}", "name": name})
        elif path == "/api/validate-yaml":
            self.server.cards.append(json.loads(body)["content"])
            self.answer({"errors": [], "warnings": []})
        elif "/preupload/" in path:
            names = [file["path"] for file in json.loads(body)["files"]]
            modes = [
                {"path": name, "uploadMode": "regular", "shouldIgnore": False, "oid": None}
                for name in names
            ]
            self.answer({"files": modes})
        elif "/commit/" in path:
            for line in body.splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    value = entry["value"]
                    self.server.files[value["path"]] = base64.b64decode(value["content"])
            url = f"{self.server.url}/user/model/commit/1234"
            self.answer({"commitUrl": url, "commitOid": "1234", "success": True})
        else:
            self.send_error(404)

    def do_GET(self):
        self.send_error(404)

    def answer(self, document):
        data = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub():
    pytest.importorskip("huggingface_hub")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.url = f"http://127.0.0.1:{server.server_port}"
    server.tokens, server.created, server.cards, server.files = [], [], [], {}
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def directory(fixtures, tmp_path):
    out = tmp_path / "out"
    electra_convert.convert(
        fixtures / "trained", out, model="generator", model_card=True, license="apache-2.0"
    )
    (out / "notes.txt").write_text("mine")
    return out


def test_the_export_and_its_card_are_uploaded(hub, directory):
    url = electra_convert.push_to_hub(
        directory, "model", private=True, token="hf_secret", endpoint=hub.url
    )
    assert url == f"{hub.url}/user/model/commit/1234"
    expected = {path.name: path.read_bytes() for path in directory.iterdir()}
    del expected["notes.txt"]
    assert hub.files == expected
    assert len(expected) == 7
    (created,) = hub.created
    assert created["name"] == "model"
    assert created.get("private", created.get("visibility")) in (True, "private")
    assert set(hub.tokens) == {"Bearer hf_secret"}


def test_nothing_is_uploaded_that_fails_verification_or_has_no_card(hub, directory):
    weights = directory / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-8] ^= 1
    weights.write_bytes(data)
    with pytest.raises(electra_convert.VerificationError):
        electra_convert.push_to_hub(directory, "model", token="x", endpoint=hub.url)
    (directory / "README.md").unlink()
    with pytest.raises(electra_convert.UsageError, match="model_card=True"):
        electra_convert.push_to_hub(
            directory, "model", token="x", endpoint=hub.url, verify=False
        )
    assert (hub.created, hub.files) == ([], {})


def test_without_huggingface_hub_the_error_names_the_extra():
    code = (
        "import sys; sys.modules['huggingface_hub'] = None; import electra_convert; "
        "electra_convert.push_to_hub('out', 'user/model')"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install 'electra-convert[hub]'" in finished.stderr
