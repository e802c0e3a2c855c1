"""A small hub on this machine, for the tests of what is fetched from the hub and pushed to it."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from unittest import mock
from urllib.parse import unquote, urlsplit

from huggingface_hub import constants, hf_api

Files = dict[str, bytes]
TOKEN = "hf_stand_in"


class Hub:
    """Repositories of models: name → branch or tag → commit → files.

    Attributes:
        private: the names of those that were made private.
        failing: part of the paths that may not be written.
    """

    def __init__(self) -> None:
        self.refs: dict[str, dict[str, str]] = {}
        self.commits: dict[str, Files] = {}
        self.private: set[str] = set()
        self.failing = ""

    def add(self, name: str, folder: Path, revision: str = "main") -> None:
        """Add a folder as the only content of a revision."""
        files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        self.commit(name, revision, files)

    def commit(self, name: str, revision: str, files: Files) -> str:
        text = repr(sorted((path, hashlib.sha256(content).hexdigest()) for path, content in files.items()))
        sha = hashlib.sha1(f"{name} {text}".encode()).hexdigest()
        self.commits[sha] = files
        self.refs.setdefault(name, {})[revision] = sha
        return sha

    def sha(self, name: str, revision: str) -> str | None:
        """Return the commit of a branch, tag or commit; None if there is none."""
        return self.refs[name].get(revision) or (revision if revision in self.commits else None)

    def files(self, name: str, revision: str = "main") -> Files:
        return self.commits[self.refs[name][revision]]


@contextmanager
def stand_in_hub(cache: Path) -> Iterator[Hub]:
    """Let the hub's client in this process ask a hub of this machine, with an empty cache in the folder `cache`."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    values = {"ENDPOINT": endpoint, "HUGGINGFACE_CO_URL_TEMPLATE": template, "HF_HUB_CACHE": str(cache)}
    try:
        with (
            mock.patch.multiple(constants, HF_HUB_OFFLINE=False, **values),
            mock.patch.object(hf_api.api, "endpoint", endpoint),
            mock.patch("transformers.utils.hub._hf_api", None, create=True),  # a client that keeps its first endpoint
            mock.patch.dict("os.environ", {"HF_TOKEN": TOKEN}),
        ):
            yield hub
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.0"  # no connection outlives its request, and so its server

    def log_message(self, *_: Any) -> None:
        """Print nothing."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        parts = self._parts()
        if parts[:2] == ["api", "models"] and len(parts) >= 4:
            name, what, revision = "/".join(parts[2:4]), "".join(parts[4:5]), "".join(parts[5:6]) or "main"
            if (files := self._find(name, revision)) is not None:
                self._send(_tree(files) if what == "tree" else self._info(name, revision, files))
        elif parts[2:3] == ["resolve"]:
            name, revision, path = "/".join(parts[:2]), parts[3], "/".join(parts[4:])
            if (files := self._find(name, revision)) is None:
                return
            commit = {"X-Repo-Commit": str(self.hub.sha(name, revision))}
            if path not in files:
                self._answer(404, b"", {"X-Error-Code": "EntryNotFound", **commit})
                return
            self._answer(200, files[path], {"ETag": f'"{_blob_id(files[path])}"', **commit})
        else:
            self._refuse(404, "", "no such page")

    def do_POST(self) -> None:
        parts, body = self._parts(), self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._refuse(401, "", "Invalid username or password.")
        elif self.hub.failing and self.hub.failing in self.path:
            self._refuse(403, "", "You do not have the required permissions")
        elif parts == ["api", "repos", "create"]:
            self._create(json.loads(body))
        elif parts == ["api", "validate-yaml"]:
            self._send({"errors": [], "warnings": []})
        elif parts[:2] == ["api", "models"] and len(parts) == 6:
            getattr(self, f"_{parts[4]}")("/".join(parts[2:4]), parts[5], body)
        else:
            self._refuse(404, "", "no such page")

    def _create(self, asked: dict[str, Any]) -> None:
        name = f"{asked['organization']}/{asked['name']}"
        url = f"http://{self.headers['Host']}/{name}"
        if name in self.hub.refs:
            self._refuse(409, "", "You already created this model repo", url=url)
            return
        self.hub.commit(name, "main", {".gitattributes": b""})
        if asked.get("visibility") == "private" or asked.get("private"):  # in version 1 of the client
            self.hub.private.add(name)
        self._send({"url": url, "name": name})

    def _branch(self, name: str, branch: str, _: bytes) -> None:
        if branch in self.hub.refs[name]:
            self._refuse(409, "", "Reference already exists")
            return
        self.hub.refs[name][branch] = self.hub.refs[name]["main"]
        self._send({})

    def _preupload(self, name: str, revision: str, body: bytes) -> None:
        if self._find(name, revision) is not None:
            asked = json.loads(body)["files"]
            answers = [{"path": each["path"], "uploadMode": "regular", "shouldIgnore": False} for each in asked]
            self._send({"files": answers})

    def _commit(self, name: str, revision: str, body: bytes) -> None:
        files = dict(self._find(name, revision) or {})
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "file":
                files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            elif line["key"] == "deletedFile":
                del files[line["value"]["path"]]
        sha = self.hub.commit(name, revision, files)
        self._send({"commitUrl": f"http://{self.headers['Host']}/{name}/commit/{sha}", "commitOid": sha})

    def _find(self, name: str, revision: str) -> Files | None:
        """Return the files of a revision; refuse the request and return None if there is none."""
        if name not in self.hub.refs:
            self._refuse(404, "RepoNotFound", "Repository not found")
        elif (sha := self.hub.sha(name, revision)) is None:
            self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        else:
            return self.hub.commits[sha]
        return None

    def _info(self, name: str, revision: str, files: Files) -> dict[str, Any]:
        siblings = [{"rfilename": path} for path in files]
        return {"id": name, "sha": self.hub.sha(name, revision), "siblings": siblings}

    def _parts(self) -> list[str]:
        return [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]

    def _send(self, content: Any) -> None:
        self._answer(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _refuse(self, status: int, code: str, message: str, **more: str) -> None:
        self._answer(
            status, json.dumps({"error": message, **more}).encode(), {"X-Error-Code": code, "X-Error-Message": message}
        )

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _tree(files: Files) -> list[dict[str, Any]]:
    return [
        {"type": "file", "path": path, "size": len(content), "oid": _blob_id(content)}
        for path, content in files.items()
    ]


def _blob_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
