"""The lock is read whole, advisories are told apart from none, and a missing network ends in one line."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from faults.dependencies import main, pins


@pytest.fixture
def database():
    """Answers as OSV does: one advisory for the package called bad."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["queries"]
            vulns = [{"vulns": [{"id": "PYSEC-1"}]} if q["package"]["name"] == "bad" else {} for q in asked]
            body = json.dumps({"results": vulns}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_every_line_of_the_lock_is_a_pin():
    lock = Path("requirements.lock").read_text()
    assert len(pins(lock)) == len(lock.split())
    with pytest.raises(ValueError, match="pins no version"):
        pins("torch>=2\n")


@pytest.mark.parametrize(("lock", "status"), [("good==1\n", 0), ("good==1\nbad==2\n", 1)])
def test_advisories_decide_the_exit_code(database, tmp_path, capsys, lock, status):
    (tmp_path / "lock").write_text(lock)
    assert main(tmp_path / "lock", database) == status
    assert ("bad 2: PYSEC-1" in capsys.readouterr().out) == bool(status)


def test_without_a_network_one_line(tmp_path, capsys):
    (tmp_path / "lock").write_text("good==1\n")
    assert main(tmp_path / "lock", "http://127.0.0.1:9") == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
