//! Running the program.

use std::env;
use std::ffi::OsStr;
use std::process::{Child, Command, Output};
use std::sync::LazyLock;

use serde_json::Value;

/// Returns the path of the program.
///
/// Cargo builds `electra-convert` for the integration tests of its package, and puts it one folder
/// above their own executables.
pub fn program() -> &'static str {
    static PROGRAM: LazyLock<String> = LazyLock::new(|| {
        let test = env::current_exe().unwrap();
        let folder = test.ancestors().nth(2).expect("a test is in deps/");
        let program = folder.join(format!("electra-convert{}", env::consts::EXE_SUFFIX));
        assert!(program.is_file(), "{} is not built", program.display());
        program.into_os_string().into_string().unwrap()
    });
    &PROGRAM
}

/// Sends a signal, such as `INT`, to a process.
#[track_caller]
pub fn send_signal(child: &Child, signal: &str) {
    let kill = Command::new("kill")
        .args([format!("-{signal}"), child.id().to_string()])
        .status();
    assert!(kill.unwrap().success());
}

/// The result of a run of the program.
pub struct Run {
    /// The exit code; `None` if a signal ended the process.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

#[expect(
    clippy::return_self_not_must_use,
    reason = "most tests need nothing but the check"
)]
impl Run {
    /// Fails unless the exit code is 0.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{}{}", self.stdout, self.stderr);
        self
    }

    /// Fails unless the exit code is `code` and standard error has all of `words`.
    #[track_caller]
    pub fn fails(self, code: i32, words: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{}{}", self.stdout, self.stderr);
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        for word in words {
            assert!(
                self.stderr.contains(word),
                "no {word:?} in:\n{}",
                self.stderr
            );
        }
        self
    }

    /// Fails unless standard output has `words`.
    #[track_caller]
    pub fn prints(self, words: &str) -> Self {
        assert!(
            self.stdout.contains(words),
            "no {words:?} in:\n{}",
            self.stdout
        );
        self
    }

    /// Fails unless standard output has all of `words`.
    #[track_caller]
    pub fn stdout_has(&self, words: &[&str]) {
        for word in words {
            assert!(
                self.stdout.contains(word),
                "no {word:?} in:\n{}",
                self.stdout
            );
        }
    }

    /// Parses standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {}", self.stdout))
    }
}

/// Returns a command that runs the program with `args`.
pub fn command(args: &[&dyn AsRef<OsStr>]) -> Command {
    let mut command = Command::new(program());
    command.args(args);
    command
}

/// Runs the program with arguments of any kind of string or path.
#[macro_export]
macro_rules! run {
    ($($arg:expr),* $(,)?) => {
        $crate::Run::from($crate::command(&[$(&$arg),*]).output().unwrap())
    };
}
