//! A bucket, a checkpoint and a directory for temporary files.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Once};

use tempfile::TempDir;
use testkit::bucket_server::{BucketServer, Operation};
use testkit::bundle_writer::{SMALL, Sizes, discriminator};
use testkit::{Run, listing, program, temp};

/// Where exports go.
pub(crate) const OUT: &str = "s3://models/run/out";

pub(crate) struct World {
    pub(crate) server: BucketServer,
    pub(crate) folder: TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        let world = Self {
            server: BucketServer::start(&["models"]),
            folder: temp(),
        };
        fs::create_dir(world.temporary()).unwrap();
        world
    }

    fn temporary(&self) -> PathBuf {
        self.folder.path().join("tmp")
    }

    /// Returns a checkpoint whose weights are sent in parts, with its vocabulary beside it.
    pub(crate) fn large() -> PathBuf {
        static WRITTEN: Once = Once::new();
        let sizes = Sizes {
            vocab: 40_000,
            embedding: 160,
            ..SMALL
        };
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("large");
        let prefix = folder.join("model.ckpt-7");
        WRITTEN.call_once(|| {
            fs::create_dir_all(&folder).unwrap();
            discriminator(sizes).write(&prefix);
            let words = (4..sizes.vocab).map(|number| format!("w{number}"));
            let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"].map(str::to_owned);
            let mut words: Vec<String> = special.into_iter().chain(words).collect();
            "[MASK]".clone_into(&mut words[4]);
            fs::write(folder.join("vocab.txt"), words.join("\n") + "\n").unwrap();
        });
        prefix
    }

    /// Returns a command of the program that knows this server and no other.
    pub(crate) fn command(&self, args: &[&dyn AsRef<OsStr>]) -> Command {
        let mut command = Command::new(program());
        for (variable, _) in env::vars_os() {
            let name = variable.to_string_lossy();
            if ["AWS_", "GOOGLE_", "AZURE_"]
                .iter()
                .any(|start| name.starts_with(start))
            {
                command.env_remove(&variable);
            }
        }
        command
            .args(args)
            .env("TMPDIR", self.temporary())
            .envs(self.server.environment())
            .stdin(Stdio::null());
        command
    }

    /// Runs the program. It must leave no temporary file and print no secret.
    #[track_caller]
    pub(crate) fn run(&self, args: &[&dyn AsRef<OsStr>]) -> Run {
        self.check(Run::from(self.command(args).output().unwrap()))
    }

    /// Checks what must be true of every run.
    #[track_caller]
    pub(crate) fn check(&self, run: Run) -> Run {
        let left = fs::read_dir(self.temporary()).unwrap().count();
        assert_eq!(left, 0, "temporary files");
        for text in [&run.stdout, &run.stderr] {
            assert!(!text.contains("secret-of-the-test"), "{text}");
        }
        run
    }

    /// Converts a checkpoint into [`OUT`] without verification.
    #[track_caller]
    pub(crate) fn convert(&self, checkpoint: &Path, options: &[&str]) -> Run {
        let mut args: Vec<&dyn AsRef<OsStr>> = vec![&"--model", &"discriminator", &"--no-verify"];
        args.extend(options.iter().map(|option| option as &dyn AsRef<OsStr>));
        args.extend([&checkpoint as &dyn AsRef<OsStr>, &OUT]);
        self.run(&args)
    }

    /// As [`convert`](Self::convert), in a way that lets the store verify no checksum.
    #[track_caller]
    pub(crate) fn convert_unsigned_payload(&self, checkpoint: &Path) -> Run {
        let mut command = self.command(&[&"--model", &"discriminator", &"--no-verify"]);
        command.args([checkpoint.as_os_str(), OUT.as_ref()]);
        command.env("AWS_UNSIGNED_PAYLOAD", "true");
        self.check(command.output().unwrap().into())
    }

    /// Returns the objects below [`OUT`] by name.
    pub(crate) fn objects(&self) -> BTreeMap<String, Arc<Vec<u8>>> {
        let objects = self.server.objects().into_iter();
        objects
            .filter_map(|(key, bytes)| {
                let name = key.strip_prefix("models/run/out/")?;
                Some((name.to_owned(), bytes))
            })
            .collect()
    }

    /// Fails unless the objects below [`OUT`] are the files of a directory, and no upload is open.
    #[track_caller]
    pub(crate) fn is_like(&self, folder: &Path) {
        let objects = self.objects();
        let names: Vec<&String> = objects.keys().collect();
        assert_eq!(names, listing(folder).iter().collect::<Vec<_>>());
        for (name, bytes) in objects {
            assert!(*bytes == fs::read(folder.join(&name)).unwrap(), "{name}");
        }
        assert_eq!(self.server.open_uploads(), 0);
    }

    /// Returns the keys of objects that appeared, in this order.
    pub(crate) fn written(&self) -> Vec<String> {
        let seen = self.server.seen().into_iter();
        let written =
            seen.filter(|seen| matches!(seen.operation, Operation::Put | Operation::Complete));
        written.map(|seen| seen.key).collect()
    }
}
