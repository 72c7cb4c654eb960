"""``push_to_hub`` and ``from_pretrained`` by name, against a hub of our own on this machine."""

import base64
import hashlib
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch

from textok.pipeline import TexTokPipeline
from textok.pipeline.folder import find_folder
from textok.runs.export import pipeline_of_run

NAME, COMMIT = "someone/pictures", "c0ffee" + "0" * 34
FILES = {"config.json", "model.safetensors", "class_captions.json", "README.md"}


@pytest.fixture
def hub():
    """A server that speaks as much of the hub's language as huggingface_hub needs for one model, and its files."""
    files: dict[str, bytes] = {}

    class Hub(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args):
            """Keep quiet."""

        def reply(self, body=b"", status=200, **headers):
            body = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            headers = {"Content-Length": str(len(body)), "X-Repo-Commit": COMMIT} | headers
            for key, value in headers.items():
                self.send_header(key.replace("_", "-"), value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def do_POST(self):
            content = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Authorization") != "Bearer hf_right":
                self.reply({"error": "Invalid username or password."}, 401)
            elif self.path == "/api/repos/create":
                self.reply({"url": f"http://{self.headers['Host']}/{NAME}", "name": NAME, "id": NAME})
            elif self.path == "/api/validate-yaml":
                assert "library_name: textok" in json.loads(content)["content"]
                self.reply({"errors": [], "warnings": []})
            elif "/preupload/" in self.path:
                asked = json.loads(content)["files"]
                modes = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in asked]
                self.reply({"files": modes})
            elif "/commit/" in self.path:
                for line in content.splitlines():
                    entry = json.loads(line)
                    if entry["key"] == "file":
                        files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
                url = f"http://{self.headers['Host']}/{NAME}/commit/{COMMIT}"
                self.reply({"commitUrl": url, "commitOid": COMMIT, "hookOutput": ""})

        def do_GET(self):
            name = self.path.partition("?")[0].rpartition("/")[2]
            if not self.path.lstrip("/").removeprefix("api/models/").startswith(NAME):
                self.reply({"error": "Repository not found"}, 404, X_Error_Code="RepoNotFound")
            elif self.path.startswith("/api/models/") and "/tree/" not in self.path:
                siblings = [{"rfilename": file} for file in files]
                self.reply({"id": NAME, "sha": COMMIT, "siblings": siblings, "private": False, "tags": []})
            elif "/tree/" in self.path:
                self.reply([{"type": "file", "path": f, "size": len(v), "oid": "0"} for f, v in files.items()])
            elif name in files:
                self.reply(files[name], ETag=f'"{hashlib.sha1(files[name]).hexdigest()}"')
            else:
                self.reply({"error": "Entry not found"}, 404, X_Error_Code="EntryNotFound")

        do_HEAD = do_GET

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", files
    server.shutdown()
    server.server_close()


@pytest.fixture
def elsewhere(hub, tmp_path):
    """Runs code in a process that knows this hub only: huggingface_hub reads its address when it is imported."""

    def run(code, token="hf_right", endpoint=None):
        settings = {
            "HF_ENDPOINT": endpoint or hub[0],
            "HF_HOME": str(tmp_path / "home"),
            "HF_TOKEN": token,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "NO_PROXY": "*",
        }
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")} | settings
        command = [sys.executable, "-c", code]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)

    return run


def test_a_model_goes_to_the_hub_and_comes_back(hub, elsewhere, text_run, tmp_path):
    made = tmp_path / "made.pt"
    code = f"""
import torch
from textok.pipeline import TexTokPipeline
from textok.runs.export import pipeline_of_run
print(pipeline_of_run({str(text_run)!r}).push_to_hub({NAME!r}, private=True))
pictures = TexTokPipeline.from_pretrained({NAME!r}).generate("a red circle", num_images=2, output="tensor")
torch.save(pictures, {str(made)!r})
"""
    result = elsewhere(code)
    assert result.returncode == 0, result.stderr
    assert COMMIT in result.stdout
    files = hub[1]
    assert files.keys() == FILES
    assert not any(content.startswith((b"PK", b"\x80")) for content in files.values())  # neither zip nor pickle
    card = files["README.md"].decode()
    numbers = json.loads((text_run / "metrics.json").read_text())["metrics"]
    assert numbers and all(f"| {name} | {value:.6g} |" in card for name, value in numbers.items())
    assert f'TexTokPipeline.from_pretrained("{NAME}")' in card
    expected = pipeline_of_run(text_run).generate("a red circle", num_images=2, output="tensor")
    torch.testing.assert_close(torch.load(made, weights_only=True), expected)


def test_what_the_hub_refuses_is_told_in_a_line(elsewhere, text_run):
    code = f"""
from textok.cli import main
from textok.runs.export import pipeline_of_run
for name in ("someone/else", "no/such/folder"):
    assert main(["generate", name, "--prompt", "a cat"]) == 1
pipeline_of_run({str(text_run)!r}).push_to_hub({NAME!r})
"""
    lines = elsewhere(code, token="hf_wrong").stderr.strip().splitlines()
    assert "someone/else is no folder here, and the hub has no such model" in lines[0]
    assert "there is no folder no/such/folder" in lines[1]
    assert lines[-1].startswith("ValueError: the hub does not take someone/pictures: ")


def test_a_hub_that_cannot_be_reached_is_told_in_a_line(elsewhere):
    asked = f"from textok.cli import main; raise SystemExit(main(['generate', {NAME!r}, '--prompt', 'a cat']))"
    result = elsewhere(asked, endpoint="http://127.0.0.1:9")  # the port "discard": nobody listens
    assert result.returncode == 1
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("textok generate: error:") and "the hub cannot be reached" in line


def test_a_folder_wins_over_the_hub(monkeypatch, tmp_path, text_run):
    pipeline_of_run(text_run).save_pretrained(tmp_path / "here")
    monkeypatch.chdir(tmp_path)
    assert find_folder("here").name == "here"
    assert TexTokPipeline.from_pretrained("here").networks.dit is not None
