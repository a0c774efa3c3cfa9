//! A checkpoint that changes while it is converted is reported, and nothing is published.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Once;

use electra_convert::{Conversion, ElectraCheckpoint, Error, Model, Progress};

use testkit::{copy_of, listing, temp};

/// Does something when the first tensor has been written.
struct Meanwhile<F: Fn() + Sync> {
    once: Once,
    act: F,
}

impl<F: Fn() + Sync> Progress for Meanwhile<F> {
    fn advance(&self, _bytes: u64) -> ControlFlow<()> {
        self.once.call_once(&self.act);
        ControlFlow::Continue(())
    }
}

/// Converts while `act` is done; the file that is said to have changed, if one is.
fn convert_while(checkpoint: &Path, act: impl Fn() + Sync) -> Option<PathBuf> {
    let out = temp();
    let checkpoint = ElectraCheckpoint::open(checkpoint).unwrap();
    let conversion = Conversion::new(&checkpoint, Model::Discriminator);
    let planned = conversion.plan().unwrap();
    let progress = Meanwhile {
        once: Once::new(),
        act,
    };
    match planned.run(out.path(), &progress) {
        Ok(_) => None,
        Err(Error::Checkpoint(tf_checkpoint::Error::Changed { path })) => {
            assert!(listing(out.path()).is_empty());
            Some(path)
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_checkpoint_that_changes_is_reported() {
    for (name, data) in [
        ("tiny_default", "model.ckpt-400.data-00000-of-00001"),
        ("fmt_v1", "model.ckpt-400"),
    ] {
        let folder = copy_of(name);
        let data = folder.path().join(data);
        let bytes = fs::read(&data).unwrap();

        // Written in place: the same bytes first, then half of them others.
        let changed = convert_while(folder.path(), || fs::write(&data, &bytes).unwrap());
        assert_eq!(changed.as_deref(), Some(data.as_path()));
        let changed = convert_while(folder.path(), || {
            let mut bytes = bytes.clone();
            bytes[100_000..].fill(7);
            fs::write(&data, bytes).unwrap();
        });
        assert_eq!(changed.as_deref(), Some(data.as_path()));

        // Replaced by another file, as a Saver does.
        fs::write(&data, &bytes).unwrap();
        let changed = convert_while(folder.path(), || {
            let other = data.with_extension("tempstate");
            fs::write(&other, [7; 1000]).unwrap();
            fs::rename(&other, &data).unwrap();
        });
        assert_eq!(changed.as_deref(), Some(data.as_path()));

        // Truncated.
        fs::write(&data, &bytes).unwrap();
        let changed = convert_while(folder.path(), || fs::write(&data, b"").unwrap());
        assert_eq!(changed.as_deref(), Some(data.as_path()));
    }
}

#[test]
fn a_checkpoint_that_is_rotated_away_is_still_read() {
    let folder = copy_of("tiny_default");
    let files = listing(folder.path());
    let changed = convert_while(folder.path(), || {
        for file in files.iter().filter(|file| file.starts_with("model.")) {
            fs::remove_file(folder.path().join(file)).unwrap();
        }
    });
    assert_eq!(changed, None);
}

#[test]
fn training_may_go_on_with_other_checkpoints() {
    let folder = copy_of("tiny_default");
    let changed = convert_while(folder.path(), || {
        let line = "model_checkpoint_path: \"model.ckpt-4000\"\n";
        fs::write(folder.path().join("checkpoint"), line).unwrap();
        fs::write(folder.path().join("model.ckpt-4000.index"), "begun").unwrap();
    });
    assert_eq!(changed, None);
}
