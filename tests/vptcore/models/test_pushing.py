"""A model's folder on a hub: a local server takes what the hub's own client sends; without one it is one line."""

import base64
import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

REFUSED = "owner/refused"


class Hub(BaseHTTPRequestHandler):
    """The part of the hub's interface that a commit of small files needs; it keeps what arrives."""

    made: dict
    files: dict

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers["Authorization"] != "Bearer hf_made_up":
            return self._answer({"error": "Invalid username or password."}, 401)
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            if f"{asked['organization']}/{asked['name']}" == REFUSED:
                return self._answer({"error": "You don't have the rights to create a model under this namespace"}, 403)
            self.made.update(asked)
            return self._answer({"url": self._page(), "id": "owner/pets", "name": "owner/pets"})
        if "/preupload/" in self.path:
            files = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False}
                     for f in json.loads(body)["files"]]  # fmt: skip
            return self._answer({"files": files})
        if "/commit/" in self.path:
            lines = [json.loads(line) for line in body.splitlines()]
            for value in (line["value"] for line in lines if line["key"] == "file"):
                self.files[value["path"]] = base64.b64decode(value["content"])
            return self._answer(
                {"success": True, "commitOid": "0" * 40, "commitUrl": f"{self._page()}/commit/{'0' * 40}"}
            )
        return self._answer({"errors": [], "warnings": []})

    def do_GET(self):
        if REFUSED in self.path:
            return self._answer({"error": "Repository not found"}, 404)
        return self._answer({"id": "owner/pets", "sha": "0" * 40, "siblings": []})

    def _page(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/owner/pets"

    def _answer(self, value, status=200):
        said = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)


@pytest.fixture
def hub():
    handler = type("OneHub", (Hub,), {"made": {}, "files": {}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", handler
    server.shutdown()


@pytest.fixture
def model(tmp_path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "model.safetensors", "README.md", "predict.py"):
        (folder / name).write_text(f"this is {name}")
    (folder / "notes.txt").write_text("mine alone")
    return folder


def pushed(folder: Path, repository: str, endpoint: str, **more: str) -> subprocess.CompletedProcess:
    """In a process of its own: the client reads endpoint and token when it is imported."""
    code = (
        "import sys; from pathlib import Path; from vptcore.models.pushing import push\n"
        "try: print(push(Path(sys.argv[1]), sys.argv[2]))\n"
        "except ValueError as error: print(error)"
    )
    home = folder.parent / "home"
    home.mkdir(exist_ok=True)
    environment = {"PATH": "", "HOME": str(home), "HF_HOME": str(home), "HF_ENDPOINT": endpoint,
                   "HF_HUB_DISABLE_XET": "1", "PYTHONPATH": ":".join(sys.path), "no_proxy": "*"} | more  # fmt: skip
    return subprocess.run(
        [sys.executable, "-c", code, str(folder), repository], capture_output=True, text=True, env=environment
    )


def test_the_files_of_a_model_arrive_in_a_private_repository(hub, model):
    endpoint, seen = hub
    done = pushed(model, "owner/pets", endpoint, HF_TOKEN="hf_made_up")
    assert done.stdout == f"{model}: pushed to {endpoint}/owner/pets\n", done.stdout + done.stderr
    assert seen.made["name"] == "pets"
    assert "private" in (seen.made.get("visibility"), *(["private"] if seen.made.get("private") else []))
    assert seen.files == {name: f"this is {name}".encode() for name in
                          ("config.json", "model.safetensors", "README.md", "predict.py")}  # fmt: skip


@pytest.mark.parametrize(
    ("repository", "token", "line"),
    [
        ("owner/pets", "", "--push: nobody is logged in; run `hf auth login`, or set HF_TOKEN"),
        ("owner/pets", "hf_of_another", "did not take owner/pets ("),
        (REFUSED, "hf_made_up", "did not take owner/refused (You don't have the rights"),
        ("pets", "hf_made_up", "--push: 'pets' is not a repository; expected OWNER/NAME"),
        ("../owner/pets", "hf_made_up", "is not a repository; expected OWNER/NAME"),
    ],
)
def test_what_the_hub_does_not_take_is_one_line(hub, model, repository, token, line):
    endpoint, seen = hub
    done = pushed(model, repository, endpoint, **({"HF_TOKEN": token} if token else {}))
    assert line in done.stdout, done.stdout + done.stderr
    assert len(done.stdout.splitlines()) == 1
    assert seen.files == {}


def test_without_a_network_the_model_stays_where_it_is(model):
    done = pushed(model, "owner/pets", "http://127.0.0.1:9", HF_TOKEN="hf_made_up")
    assert "--push: http://127.0.0.1:9 did not take owner/pets (" in done.stdout, done.stdout + done.stderr
    assert f"the model is in {model}" in done.stdout
    assert (model / "config.json").is_file()
