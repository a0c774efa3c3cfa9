//! What to type after an error of the checkpoint library, which knows nothing of this program.
//!
//! [`tf_checkpoint::Error`] states what is wrong and what to do in neutral words. The table in
//! [`of_checkpoint`] adds the command or the option; the result is appended to the printed message and
//! to `error` in JSON.

use std::error::Error as StdError;
use std::path::Path;
use std::{io, iter};

use crate::Error;
use crate::export::{self, STAGED_FOR_UPLOAD};
use tf_checkpoint::FileKind;

use super::text::shell_quoted;

/// The settings that a checkpoint without a readable graph lacks.
const SETTINGS: &str = "--num-attention-heads N and --hidden-act NAME";

/// Returns the hint for an error; `None` if its message says all there is to say.
pub(crate) fn hint(error: &(dyn StdError + 'static)) -> Option<String> {
    let saved_twice = chain(error).find_map(|cause| match cause.downcast_ref() {
        Some(Error::SavedTwice {
            saved_model, hdf5, ..
        }) => Some([saved_model, hdf5]),
        _ => None,
    });
    if let Some(paths) = saved_twice {
        let [saved_model, hdf5] = paths.map(|path| shell_quoted(path.as_os_str()));
        return Some(format!(
            "electra-convert --model MODEL {saved_model} OUT, or electra-convert --model MODEL {hdf5} OUT"
        ));
    }
    if chain(error).any(is_full_staging) {
        return Some(
            "the files for the bucket are staged there: set TMPDIR to a directory with space for the models".into(),
        );
    }
    let mut causes = chain(error);
    let checkpoint = causes.find_map(|cause| {
        let own = || cause.downcast_ref::<Error>()?.checkpoint();
        cause.downcast_ref::<tf_checkpoint::Error>().or_else(own)
    });
    of_checkpoint(checkpoint?)
}

/// Returns an error and its causes.
pub(crate) fn chain<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    iter::successors(Some(error), |error| (*error).source())
}

/// True for a temporary directory without space in which files for a bucket are staged.
fn is_full_staging(cause: &(dyn StdError + 'static)) -> bool {
    let Some(Error::Export(export::Error::Write { path, source })) = cause.downcast_ref() else {
        return false;
    };
    let is_staging = |part: &std::ffi::OsStr| part.to_string_lossy().starts_with(STAGED_FOR_UPLOAD);
    let is_full = matches!(
        source.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    );
    is_full && path.iter().any(is_staging)
}

fn of_checkpoint(error: &tf_checkpoint::Error) -> Option<String> {
    use tf_checkpoint::Error;
    let inspect = |path: &Path| {
        let path = shell_quoted(path.as_os_str());
        format!("try: electra-convert inspect {path}")
    };
    match error {
        Error::Ambiguous { names, .. } => {
            let has_step = |name: &String| {
                let step = name.rsplit_once('-').map(|(_, step)| step);
                step.is_some_and(|step| step.parse::<u64>().is_ok())
            };
            let has_steps = names.iter().any(has_step);
            has_steps.then(|| "or select one with --step N".into())
        }
        Error::MetaGraph { .. } => Some(format!("then give {SETTINGS}")),
        Error::Unsupported { kind, .. } => match (kind, error.checkpoint()) {
            (_, Some(path)) => Some(inspect(path)),
            (FileKind::Safetensors, None) => {
                Some("to check an export: electra-convert verify DIR".into())
            }
            (FileKind::Json, None) => Some("settings are read with --config FILE".into()),
            _ => None,
        },
        #[cfg(feature = "tensorflow")]
        Error::Library { .. } => Some(
            "scripts/libtensorflow.sh installs it; or read without it: leave out --reader tensorflow"
                .into(),
        ),
        #[cfg(feature = "tensorflow")]
        Error::OutOfReach { .. } => Some("leave out --reader tensorflow".into()),
        _ => error.checkpoint().map(inspect),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use anyhow::Context as _;
    use tf_checkpoint::locate;

    use super::{Error, export, hint, io};

    #[test]
    fn a_full_directory_for_temporary_files_can_be_another_one() {
        let full = |path: &str, kind: io::ErrorKind| {
            let error = Error::Export(export::Error::Write {
                path: path.into(),
                source: kind.into(),
            });
            hint(anyhow::Error::from(error).as_ref())
        };
        let staged = "/tmp/electra-convert-upload-x/new/model.safetensors";
        let shown = full(staged, io::ErrorKind::StorageFull).unwrap();
        assert!(shown.contains("TMPDIR"), "{shown}");
        assert_eq!(full(staged, io::ErrorKind::PermissionDenied), None);
        assert_eq!(
            full("out/model.safetensors", io::ErrorKind::StorageFull),
            None
        );
    }

    #[test]
    fn hints_name_the_option_or_the_command() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let write = |path: &str, bytes: &[u8]| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        };
        write("two/model.ckpt-1.index", b"");
        write("two/model.ckpt-2.index", b"");
        for version in ["1", "2"] {
            write(&format!("saved/{version}/saved_model.pb"), b"\x08\x01");
            write(&format!("saved/{version}/variables/variables.index"), b"");
        }
        write("zipped/model.zip", b"PK\x03\x04");
        write("export/model.safetensors", b"\x02\0\0\0\0\0\0\0{\"a\"");
        write("settings/config.json", b"{}");
        write(
            "state/checkpoint",
            b"model_checkpoint_path: \"../two/model.ckpt-2\"",
        );
        write(
            "gone/checkpoint",
            b"model_checkpoint_path: \"model.ckpt-2\"",
        );
        for (path, words) in [
            ("two", Some("--step N")),
            ("saved", None),
            ("zipped", Some("electra-convert inspect")),
            ("export", Some("electra-convert verify DIR")),
            ("settings/config.json", Some("--config FILE")),
            ("state", Some("/state/../two/model.ckpt-2")),
            ("gone", None),
        ] {
            let error = locate(&root.join(path), None).unwrap_err();
            let message = error.to_string();
            for error in [
                anyhow::Error::new(Error::from(error)),
                anyhow::Error::new(locate(&root.join(path), None).unwrap_err()),
            ] {
                let found = hint(error.context("while it is opened").as_ref());
                match (found, words) {
                    (Some(found), Some(words)) => assert!(found.contains(words), "{path}: {found}"),
                    (found, words) => assert_eq!(found.as_deref(), words, "{path}: {message}"),
                }
            }
        }
        let other = Err::<(), _>(std::io::Error::other("x")).context("y");
        assert_eq!(hint(other.unwrap_err().as_ref()), None);
    }
}
