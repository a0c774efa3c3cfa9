"""What check_buckets.py checks of exports that are written to a bucket."""

import json

from bucket_files import DISCRIMINATOR

# Where exports go, in a bucket of its own for each server.
BUCKET = "exports"
MODELS = {
    "discriminator": DISCRIMINATOR,
    "both": ("--model", "both"),
}
# A word in an object that does not belong to an export.
OTHER = b"not an export"


class S3Place:
    """A bucket of moto."""

    def __init__(self, s3):
        self.name, self.environment, self.url = s3.name, s3.environment, f"s3://{BUCKET}"
        self.wrong = s3.environment | {"AWS_SECRET_ACCESS_KEY": "hidden/secret"}
        self.client = s3.client("s3", s3.key, s3.secret)
        self.client.create_bucket(Bucket=BUCKET)

    def put(self, key, content):
        self.client.put_object(Bucket=BUCKET, Key=key, Body=content)

    def objects(self, below):
        """Returns the objects below a directory by their paths in it."""
        found = self.client.list_objects_v2(Bucket=BUCKET, Prefix=f"{below}/").get("Contents", [])
        keys = [entry["Key"] for entry in found]
        return {key[len(below) + 1 :]: self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys}

    def unfinished(self):
        """Returns the keys of uploads that were neither completed nor aborted."""
        return [entry["Key"] for entry in self.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])]


class AzurePlace:
    """A container of azurite."""

    def __init__(self, azure):
        self.name, self.environment, self.url = azure.name, azure.environment, f"az://{BUCKET}"
        self.wrong = azure.unsigned | {"AZURE_STORAGE_SAS_TOKEN": azure.token}
        self.container = azure.client.create_container(BUCKET)

    def put(self, key, content):
        self.container.upload_blob(key, content)

    def objects(self, below):
        names = list(self.container.list_blob_names(name_starts_with=f"{below}/"))
        return {name[len(below) + 1 :]: self.container.download_blob(name).readall() for name in names}

    def unfinished(self):
        blobs = self.container.list_blobs(include=["uncommittedblobs"])
        committed = set(self.container.list_blob_names())
        return [blob.name for blob in blobs if blob.name not in committed]


def failure(run, code=0):
    """Returns what is wrong with a call that should have ended with a code."""
    return None if run.code == code else f"exit code {run.code}, not {code}: {run.error.strip()[:500]}"


class Writing:
    """Checks of one server."""

    def __init__(self, checker, place):
        self.checker = checker
        self.place = place

    def check_all(self):
        run = str(self.checker.root / "run")
        for name, options in MODELS.items():
            self.same(f"model {name}", options, run, f"new/{name}")
        self.same("trailing slash", DISCRIMINATOR, run, "slash", "/")
        self.same("large file", DISCRIMINATOR, str(self.checker.root / "large" / "tf_model.h5"), "large")
        self.same("unusual names", DISCRIMINATOR, run, "unusual/é+%20=")
        self.replace(run)
        self.dry_run(run)
        self.refusals(run)
        unfinished = self.place.unfinished()
        self.check("uploads are completed or aborted", unfinished and f"{unfinished} are neither")

    def check(self, what, problem):
        self.checker.check(f"{self.place.name}, writing: {what}", problem)

    def convert(self, options, source, out, environment=None):
        arguments = (*options, "--json", source, f"{self.place.url}/{out}")
        return self.checker.run(arguments, self.place.environment if environment is None else environment)

    def on_disk(self, options, source):
        """Returns the files that the same conversion writes to the disk."""
        run = self.checker.on_disk((*options, "--json", source, "out"))
        return {name.removeprefix("out/"): content for name, content in run.files.items()}

    def same(self, what, options, source, out, slash=""):
        """Checks an export into an empty directory: the same files, the same document, nothing else."""
        found = self.convert(options, source, out + slash)
        self.check(what, self.checker.leaked(found) or self.difference(found, options, source, out))

    def difference(self, found, options, source, out):
        if problem := failure(found):
            return problem
        if found.files:
            return f"left {sorted(found.files)} on the disk"
        expected = self.on_disk(options, source)
        objects = self.place.objects(out)
        if sorted(objects) != sorted(expected):
            return f"objects {sorted(objects)}, on the disk {sorted(expected)}"
        other = [name for name in expected if objects[name] != expected[name]]
        if other:
            return f"{other} have other bytes"
        document = json.loads(found.out)
        paths = [file["path"] for export in document["exports"] for file in export["files"]]
        wanted = sorted(f"{self.place.url}/{out}/{name}" for name in expected)
        return sorted(paths) != wanted and f"the document of --json lists {paths}"

    def replace(self, run):
        """Checks an export where there is one already, beside an object that is not part of it."""
        out = "replaced"
        self.place.put(f"{out}/notes.txt", OTHER)
        before = self.convert(DISCRIMINATOR, run, out)
        earlier = self.place.objects(out)
        self.check("beside other objects", failure(before))

        again = self.convert(("--model", "generator"), run, out)
        problem = failure(again, 2) or self.changed(out, earlier)
        self.check("an export is not replaced without --force", problem)

        options = ("--model", "generator", "--force")
        forced = self.convert(options, run, out)
        expected = self.on_disk(("--model", "generator"), run)
        problem = failure(forced) or self.changed(out, expected | {"notes.txt": OTHER})
        self.check("an export is replaced with --force", problem)

    def changed(self, out, expected):
        objects = self.place.objects(out)
        other = sorted(name for name in objects.keys() | expected.keys() if objects.get(name) != expected.get(name))
        return other and f"{other} are not as expected"

    def dry_run(self, run):
        found = self.convert((*DISCRIMINATOR, "--dry-run"), run, "planned")
        self.check("--dry-run", failure(found) or self.changed("planned", {}))

    def refusals(self, run):
        for what, out, environment, codes in [
            ("wrong credentials", f"{self.place.url}/refused", self.place.wrong, (1,)),
            ("missing bucket", f"{self.place.url}-missing/refused", self.place.environment, (1, 2)),
        ]:
            name = f"{self.place.name}, writing: {what}"
            self.checker.refused(name, [*DISCRIMINATOR, run, out], environment, codes, [out])
        # What is read from the bucket is refused, and the export is not begun.
        damaged = f"{self.place.url}/new/discriminator/model.safetensors"
        found = self.convert(DISCRIMINATOR, damaged, "refused")
        self.check("nothing is written after an error", failure(found, 3) or self.changed("refused", {}))


def between(checker, source, place):
    """Checks a conversion from one server to another, with the credentials of both."""
    arguments = (*DISCRIMINATOR, "--json", f"{source.url}/run/model.ckpt-400", f"{place.url}/from/{source.name}")
    found = checker.run(arguments, source.environment | place.environment)
    writing = Writing(checker, place)
    problem = writing.difference(found, DISCRIMINATOR, str(checker.root / "run"), f"from/{source.name}")
    writing.check(f"from {source.name}", checker.leaked(found) or problem)


def checks(checker, s3, gcs, azure):
    """Yields the checks of each server, one after the other."""
    places = [S3Place(s3), AzurePlace(azure)]
    for place in places:
        yield Writing(checker, place).check_all
    for place in places:
        for source in (s3, gcs, azure):
            yield lambda source=source, place=place: between(checker, source, place)
