//! Standard output that may go away: a reader that closed its end is no failure, a full disk is, and neither stops the work.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};
use std::sync::atomic::{AtomicBool, Ordering};

static FAILED: AtomicBool = AtomicBool::new(false);

/// Prints; a first failure other than a closed pipe is told on standard error and ends in a failing exit code.
pub(crate) fn write(text: Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    match out.write_fmt(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe && !FAILED.swap(true, Ordering::Relaxed) => {
            eprintln!("error: cannot write to standard output: {error}");
        }
        _ => {}
    }
}

/// Whether something that was to be printed is lost.
pub(crate) fn failed() -> bool {
    FAILED.load(Ordering::Relaxed)
}

/// Prints a line.
macro_rules! say {
    () => { $crate::out::write(format_args!("\n")) };
    ($format:literal $($rest:tt)*) => { $crate::out::write(format_args!("{}\n", format_args!($format $($rest)*))) };
}
/// Prints without ending the line.
macro_rules! say_raw {
    ($($rest:tt)*) => { $crate::out::write(format_args!($($rest)*)) };
}
