"""Make real failures: ``python tests/core/corpus/make.py [--only TEXT]``, as root in a machine of one's own.

Each command of recipes.yaml runs by itself, in a mount namespace and an empty directory; what it said and how it ended
goes to made.yaml, with the tool's version. The tools are Debian's (xrootd-client, gfal2-util, default-jdk-headless,
r-base-core, openmpi-bin, bubblewrap, ...); ``$PYTHON`` has boto3 and XRootD, ``$RUCIO`` is the client of that name.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
SMALL = "mkdir small; mount -t tmpfs -o size=5M,mode=777 none small; chmod 777 .; "
LONGEST_S = 60
KEPT_LINES = 40
KEPT_CHARS = 400


class Answers(BaseHTTPRequestHandler):
    """Answers with the status that stands in the path, with too little, too much, too late or not at all."""

    def do_GET(self) -> None:
        word = self.path.strip("/").partition("/")[0].partition("?")[0]
        with suppress(OSError):
            {"slow": self.wait, "reset": self.reset, "short": self.cut, "large": self.flood}.get(word, self.refuse)()

    do_HEAD = do_PUT = do_POST = do_GET  # noqa: N815

    def refuse(self) -> None:
        word = self.path.strip("/").partition("/")[0].partition("?")[0]
        self.send_response(int(word) if word.isdigit() else 404)
        if word == "401":
            self.send_header("WWW-Authenticate", 'Basic realm="store"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def wait(self) -> None:
        time.sleep(8)

    def reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.connection.close()

    def cut(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"short")

    def flood(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "9000000")
        self.end_headers()
        self.wfile.write(bytes(9_000_000))

    def log_message(self, *about: object) -> None:
        pass


def serve(certificate: Path | None = None) -> str:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, certificate.with_suffix(".key"))
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http{'s' if certificate else ''}://127.0.0.1:{server.server_port}"


def certify(folder: Path, name: str, *more: str) -> Path:
    """A self-signed certificate for the loopback."""
    place = folder / f"{name}.pem"
    about = ("-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1", *more)
    command = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-out", str(place), *about)
    subprocess.run([*command, "-keyout", str(place.with_suffix(".key"))], check=True, capture_output=True)
    return place


def expire(folder: Path) -> Path:
    """A certificate that was valid in 2001."""
    valid = certify(folder, "expired")
    request = folder / "request"
    key = str(valid.with_suffix(".key"))
    subprocess.run(["openssl", "req", "-new", "-key", key, "-subj", "/CN=expired", "-out", str(request)], check=True)
    (folder / "index").write_text("")
    (folder / "serial").write_text("01")
    (folder / "ca.cnf").write_text(
        f"[ca]\ndefault_ca=a\n[a]\ndatabase={folder}/index\nserial={folder}/serial\nnew_certs_dir={folder}\n"
        "default_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n"
    )
    dates = ("-startdate", "20010101000000Z", "-enddate", "20010201000000Z", "-batch", "-notext")
    ca = ("openssl", "ca", "-config", str(folder / "ca.cnf"), "-selfsign", "-keyfile", key, "-in", str(request))
    subprocess.run([*ca, *dates, "-out", str(valid)], check=True, capture_output=True)
    return valid


@contextmanager
def xrootd(folder: Path) -> Iterator[str]:
    """A server with one file that nobody may read and one that is there already."""
    data = folder / "data"
    data.mkdir()
    (data / "locked.root").write_text("x")
    (data / "locked.root").chmod(0)
    (data / "there.root").write_text("x")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (folder / "conf").write_text(
        f"xrd.port {port}\nall.export /data\noss.localroot {folder}\nall.adminpath {folder}\nall.pidpath {folder}\n"
    )
    for each in (folder, data):
        os.chown(each, 4299, 4299)
    user = ("setpriv", "--reuid", "4299", "--regid", "4299", "--clear-groups")
    command = (*user, "xrootd", "-c", str(folder / "conf"), "-l", str(folder / "log"))
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.1)
        yield f"127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def cut(text: str, places: dict[str, str]) -> str:
    """The text as it goes to the corpus: the ends of what is long, no trace of where it was made."""
    for place, shown in places.items():
        text = text.replace(place, shown)
    lines = [line[:KEPT_CHARS] for line in text.replace("\0", "").splitlines()]
    if len(lines) > KEPT_LINES:
        lines = lines[: KEPT_LINES // 2] + lines[-KEPT_LINES // 2 :]
    return "\n".join("".join(c if c.isprintable() or c == "\t" else " " for c in line) for line in lines)


def fail(name: str, command: str, env: dict[str, str]) -> dict[str, Any]:
    """Run one recipe: what it said, and how it ended."""
    folder = Path(tempfile.mkdtemp(prefix="job-"))
    folder.chmod(0o777)
    argv = ["unshare", "--mount", "timeout", "-s", "KILL", str(LONGEST_S), "bash", "-c", SMALL + command]
    try:
        run = subprocess.run(argv, cwd=folder, env=env, capture_output=True, stdin=subprocess.DEVNULL, check=False)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    places = {str(folder): "/job", env["CERTS"]: "/servers", prefix(env["PYTHON"]): "/sw", prefix(env["RUCIO"]): "/sw"}
    places |= {prefix(os.path.realpath(env["PYTHON"])): "/usr"}
    out, err = (cut(each.decode(errors="replace"), places) for each in (run.stdout, run.stderr))
    return {"exit": run.returncode, "stdout": out, "stderr": err}


def prefix(program: str) -> str:
    """Where a program is installed."""
    return str(Path(shutil.which(program) or program).parent.parent)


def version(command: str, env: dict[str, str]) -> str:
    run = subprocess.run(["bash", "-c", command], env=env, capture_output=True, text=True, check=False)
    said = next((line for line in (run.stdout + run.stderr).splitlines() if line.strip()), "")
    return said.strip()[:80]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="", help="Only recipes with this in their name; the others stay as they are.")
    only = parser.parse_args().only
    recipes = yaml.safe_load((HERE / "recipes.yaml").read_text())
    place = HERE / "made.yaml"
    made = {each["name"]: each for each in yaml.safe_load(place.read_text())} if only and place.exists() else {}
    with tempfile.TemporaryDirectory(prefix="servers-") as top:
        folder = Path(top)
        folder.chmod(0o755)
        (folder / "xrootd").mkdir()
        tls, expired = certify(folder, "server"), expire(folder)
        env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8", "CERTS": top}
        env |= {"SERVER": serve(), "PIP_CONFIG_FILE": "/dev/null", "PIP_BREAK_SYSTEM_PACKAGES": "1"}
        env |= {"TLS": serve(tls), "TLS_EXPIRED": serve(expired), "PYTHON": os.environ.get("PYTHON", sys.executable)}
        env |= {"RUCIO": os.environ.get("RUCIO", "rucio")}
        with xrootd(folder / "xrootd") as env["XROOTD"]:
            versions = {tool: version(command, env) for tool, command in recipes["versions"].items()}
            for name, kind, tool, command in recipes["cases"]:
                if only in name:
                    said = fail(name, command, env)
                    told = {"name": name, "class": kind, "tool": versions[tool], "command": command, **said}
                    made[name] = told
    names = [name for name, *_ in recipes["cases"] if name in made]
    place.write_text(yaml.safe_dump([made[name] for name in names], sort_keys=False, width=120, allow_unicode=True))


if __name__ == "__main__":
    main()
