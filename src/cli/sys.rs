//! What differs between operating systems on the command line: signals, and restarting the program.

use std::process::Command;

/// Signals that stop a command.
#[cfg(unix)]
pub(super) const SIGNALS: &[i32] = &[
    signal_hook::consts::SIGINT,
    signal_hook::consts::SIGTERM,
    signal_hook::consts::SIGHUP,
];
#[cfg(not(unix))]
pub(super) const SIGNALS: &[i32] = &[signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM];

/// Signals that would end the process where an error of writing explains more: files longer than `ulimit -f` allows.
#[cfg(unix)]
pub(super) const IGNORED: &[i32] = &[signal_hook::consts::SIGXFSZ];
#[cfg(not(unix))]
pub(super) const IGNORED: &[i32] = &[];

/// Replaces this process by a command under the name that it was started with. Returns only on failure.
#[cfg(unix)]
pub(super) fn replace_process(mut command: Command) {
    use std::os::unix::process::CommandExt as _;

    if let Some(name) = std::env::args_os().next() {
        command.arg0(name);
    }
    // The caller goes on without the new environment.
    let _ = command.exec();
}

/// Runs a command and exits with its status. Returns only if it cannot be started. Ctrl-C goes to both
/// processes, and this one must outlive the other.
#[cfg(not(unix))]
pub(super) fn replace_process(mut command: Command) {
    for signal in SIGNALS {
        let ignored = std::sync::Arc::default();
        if signal_hook::flag::register(*signal, ignored).is_err() {
            return;
        }
    }
    if let Ok(status) = command.status() {
        std::process::exit(status.code().unwrap_or(1));
    }
}
