"""What check_buckets.py checks of credentials, of public files and of signed addresses."""

import json
import shutil
from contextlib import closing

from bucket_checker import ROOT, convert, unusual_names
from bucket_files import DISCRIMINATOR, PUBLIC
from bucket_servers import AZURE_ACCOUNT, AZURE_KEY, BUCKET, PUBLIC_BUCKET, Static, Web, closed_port, signature

# A directory of the public bucket, and the checkpoint in it.
PUBLIC_RUN = f"{PUBLIC}/runs/one"
PUBLIC_PREFIX = f"{PUBLIC_RUN}/electra_tiny"
# The longest time in seconds of a call that reaches no server, which is tried for 8 seconds, with pauses.
UNREACHED_LIMIT = 20


def profiles(s3, folder):
    """Writes the files of AWS's tools; returns the variables that name them."""
    credentials, config = folder / "credentials", folder / "config"
    keys = f"aws_access_key_id = {s3.key}\naws_secret_access_key = {s3.secret}\n"
    credentials.write_text(f"[default]\naws_access_key_id = other\naws_secret_access_key = other\n[lab]\n{keys}")
    place = f"region = us-east-1\nendpoint_url = {s3.endpoint}\n"
    config.write_text(
        f"[default]\nregion = eu-west-1\n\n[profile lab]\n{place}s3 =\n    max_concurrent_requests = 9\n\n"
        f"[profile alone]\n{place}{keys}\n[profile sso]\n{place}sso_session = work\n"
    )
    return {
        "AWS_SHARED_CREDENTIALS_FILE": str(credentials),
        "AWS_CONFIG_FILE": str(config),
        "AWS_ALLOW_HTTP": "true",
    }


def credentials(checker, s3, gcs, azure, folder):
    """Yields the checks of every place where credentials are looked for."""
    files = profiles(s3, folder)
    keys = {name: s3.environment[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    home = folder / "home"
    (home / ".aws").mkdir(parents=True)
    for name in ("credentials", "config"):
        shutil.copy(folder / name, home / ".aws")
    account = gcs.account.read_text()
    rows = [
        ("AWS_PROFILE", s3.url, files | {"AWS_PROFILE": "lab"}),
        ("AWS_PROFILE of the file config alone", s3.url, files | {"AWS_PROFILE": "alone"}),
        ("AWS_PROFILE in HOME", s3.url, {"HOME": str(home), "AWS_PROFILE": "lab", "AWS_ALLOW_HTTP": "true"}),
        ("variables before the profile", s3.url, files | s3.environment),
        ("AWS_ENDPOINT_URL_S3", s3.url, keys | {"AWS_ENDPOINT_URL_S3": s3.endpoint, "AWS_ALLOW_HTTP": "true"}),
        (
            "variables of other programs",
            s3.url,
            s3.environment | {"TOKEN": "x", "REGION": "x", "BUCKET": "x", "ENDPOINT": "http://x"},
        ),
        ("s3a://", s3.url.replace("s3:", "s3a:"), s3.environment),
        ("GOOGLE_SERVICE_ACCOUNT_KEY", gcs.url, {"GOOGLE_SERVICE_ACCOUNT_KEY": account}),
        (
            "GOOGLE_SKIP_SIGNATURE",
            gcs.url,
            {"GOOGLE_BASE_URL": gcs.endpoint, "GOOGLE_SKIP_SIGNATURE": "true", "GOOGLE_ALLOW_HTTP": "true"},
        ),
        (
            "AZURE_STORAGE_CONNECTION_STRING",
            azure.url,
            {"AZURE_STORAGE_CONNECTION_STRING": azure.connection_string, "AZURE_ALLOW_HTTP": "true"},
        ),
        ("AZURE_STORAGE_SAS_TOKEN", azure.url, azure.unsigned | {"AZURE_STORAGE_SAS_TOKEN": azure.token}),
        (
            "AZURE_STORAGE_SAS_TOKEN with ?",
            azure.url,
            azure.unsigned | {"AZURE_STORAGE_SAS_TOKEN": f"?{azure.token}"},
        ),
        (
            "a connection string with a SAS token",
            azure.url,
            {
                "AZURE_STORAGE_CONNECTION_STRING": f"BlobEndpoint={azure.endpoint};AccountName="
                f"{AZURE_ACCOUNT};SharedAccessSignature={azure.token}",
                "AZURE_ALLOW_HTTP": "true",
            },
        ),
        (
            "AZURE_STORAGE_ACCOUNT and AZURE_STORAGE_KEY",
            azure.url,
            {
                "AZURE_STORAGE_ENDPOINT": azure.endpoint,
                "AZURE_STORAGE_ACCOUNT": AZURE_ACCOUNT,
                "AZURE_STORAGE_KEY": AZURE_KEY,
                "AZURE_ALLOW_HTTP": "true",
            },
        ),
        (
            "abfss://",
            f"abfss://{BUCKET}@{AZURE_ACCOUNT}.dfs.core.windows.net",
            azure.environment,
        ),
        ("AZURE_SKIP_SIGNATURE", f"az://{PUBLIC_BUCKET}", azure.unsigned | {"AZURE_SKIP_SIGNATURE": "true"}),
    ]
    for name, url, environment in rows:
        yield same_public(checker, name, url, environment)
    yield same_public(checker, "a public container", f"az://{PUBLIC_BUCKET}", azure.unsigned, PUBLIC_PREFIX)
    for path in ("run", "run/model.ckpt-400", "run/model.ckpt-400.index", "electra_tiny.zip"):
        arguments = convert(DISCRIMINATOR, path)
        yield lambda arguments=arguments: checker.same("no right to list", arguments, s3.url, s3.without_listing)


def same_public(checker, name, url, environment, path=PUBLIC_RUN):
    return lambda: checker.same(name, convert(DISCRIMINATOR, path), url, environment)


def refusals(checker, s3, gcs, azure, web):
    """Yields the checks of calls that must fail: name, URL, variables, exit codes, words of the error."""
    # A service account whose key cannot be parsed.
    no_key = json.dumps(json.loads(gcs.account.read_text()) | {"disable_oauth": False, "private_key": "hidden+key"})
    checker.secrets |= {"hidden+key", "hidden/secret", "aGlkZGVuIGtleQ=="}
    run = "/run/model.ckpt-400"
    rows = [
        (
            "wrong secret key",
            s3.url + run,
            s3.environment | {"AWS_SECRET_ACCESS_KEY": "hidden/secret"},
            (1,),
            ["SignatureDoesNotMatch", "403"],
        ),
        (
            "unknown access key",
            s3.url + run,
            s3.environment | {"AWS_ACCESS_KEY_ID": "AKIAUNKNOWN"},
            (1,),
            ["InvalidAccessKeyId", "403"],
        ),
        (
            "wrong secret key, directory",
            s3.url + "/run",
            s3.environment | {"AWS_SECRET_ACCESS_KEY": "hidden/secret"},
            (1,),
            ["SignatureDoesNotMatch", "403"],
        ),
        (
            "wrong account key",
            azure.url + run,
            azure.environment | {"AZURE_STORAGE_ACCOUNT_KEY": "aGlkZGVuIGtleQ=="},
            (1,),
            ["AuthorizationFailure", "AuthenticationFailed", "403"],
        ),
        (
            "wrong SAS token",
            azure.url + run,
            azure.unsigned | {"AZURE_STORAGE_SAS_TOKEN": azure.token.replace("sig=", "sig=hidden%2Fsecret")},
            (1,),
            ["AuthorizationFailure", "AuthenticationFailed", "403"],
        ),
        ("container without credentials", azure.url + run, azure.unsigned, (1, 3), ["there are no credentials"]),
        (
            "malformed private key",
            gcs.url + run,
            {"GOOGLE_SERVICE_ACCOUNT_KEY": no_key},
            (1,),
            ["GOOGLE_SERVICE_ACCOUNT", "private key", "credentials", "cannot be set up"],
        ),
        (
            "unknown account",
            azure.url + run,
            {},
            (1, 2),
            ["AZURE_STORAGE_ACCOUNT_NAME"],
        ),
        ("missing bucket", f"s3://missing{run}", s3.environment, (1, 3), ["NoSuchBucket", "no such bucket"]),
        ("missing container", f"az://missing{run}", azure.environment, (1, 3), ["ContainerNotFound"]),
        ("no bucket", "s3://", s3.environment, (2, 3), ["names no bucket"]),
        ("a password in a URL", "http://user:hidden+key@127.0.0.1:1/a.zip", {}, (2, 3), ["user name or password"]),
    ]
    for store in (s3, gcs, azure, *web):
        for path in ("run/model.ckpt-500", "nothing/here", "nothing.zip"):
            missing = f"{store.url}/{path}"
            rows.append((f"{store.name}: missing {path}", missing, store.environment, (3,), [missing]))
    nowhere = [*DISCRIMINATOR, f"http://127.0.0.1:{closed_port()}{run}", "out"]
    yield lambda: checker.refused("nothing listens", nowhere, {}, (1,), ["onnect"], UNREACHED_LIMIT)
    for name, url, environment, codes, words in rows:
        arguments = [*DISCRIMINATOR, url, "out"]
        yield lambda row=(name, arguments, environment, codes, words): checker.refused(*row)


def signed_addresses(checker, root):
    """Checks addresses with a query that the server demands, and that may be good for GET alone."""
    for name, methods in [("signed address", ("GET", "HEAD")), ("address signed for GET", ("GET",))]:
        with closing(Web(name, root, Static, missing=403, query=signature(), methods=methods)) as web:
            checker.secrets |= set(web.secrets)
            # Addresses are signed for GET alone one by one, so that the files of a prefix have other signatures.
            several = ("run", "run/model.ckpt-400") if "HEAD" in methods else ()
            for path in ("electra_tiny.zip", "electra_tiny.tar.gz!/electra_tiny", *several):
                checker.same(name, convert(DISCRIMINATOR, path), web.url, {}, web.query)
                checker.same(name, ("inspect", "--json", f"{ROOT}/{path}"), web.url, {}, web.query)
            options = ("--vocab", f"{ROOT}/run/vocab.txt", "--config", f"{ROOT}/settings/config.json")
            local = str(root / "v1" / "model.ckpt-400")
            checker.same(name, (*DISCRIMINATOR, *options, "--json", local, "out"), web.url, {}, web.query)

            def signed(path, web=web):
                return f"{web.url}/{path}?{web.query}"

            for arguments, codes, words in [
                ([f"{signed('electra_tiny.zip')}0", "out"], (1, 3), ["electra_tiny.zip"]),
                ([signed("nothing.zip"), "out"], (3,), ["nothing.zip"]),
                (["--vocab", signed("nothing.txt"), local, "out"], (2,), ["there is no such file"]),
                (["--config", signed("run/vocab.txt"), local, "out"], (2,), ["run/vocab.txt"]),
                ([local, signed("out")], (2,), ["cannot be written to"]),
                (["--num-attention-heads", "3", signed("electra_tiny.zip"), "out"], (2, 3, 4), ["attention"]),
            ]:
                checker.refused(f"refused {name}", [*DISCRIMINATOR, *arguments], {}, codes, words)


def unsigned_s3(checker, s3):
    """Checks S3 without credentials. moto then checks no signature at all, but the rights of each object."""
    s3.allow_unsigned(True)
    try:
        public = f"s3://{PUBLIC_BUCKET}"
        same_public(checker, "a public bucket, no credentials", public, s3.unsigned, PUBLIC_PREFIX)()
        declared = s3.unsigned | {"AWS_SKIP_SIGNATURE": "true"}
        same_public(checker, "a public bucket, AWS_SKIP_SIGNATURE", public, declared)()
        directory = [*DISCRIMINATOR, f"{public}/{PUBLIC_RUN}", "out"]
        checker.refused("a public directory", directory, s3.unsigned, (1,), ["AWS_SKIP_SIGNATURE=true", "prefix"])
        checker.same(s3.name, unusual_names(), s3.url, s3.environment)
        private = [*DISCRIMINATOR, f"{s3.url}/run/model.ckpt-400", "out"]
        words = ["there are no credentials"]
        checker.refused("private files without credentials", private, s3.unsigned, (1,), words)
    finally:
        s3.allow_unsigned(False)
