//! The process: TLS provider, arguments, environment, exit code. Everything else is in the library.

use huracan::cli::{self, World};
use std::ffi::OsString;
use std::io::IsTerminal;
use std::process::ExitCode;

fn main() -> ExitCode {
    // First of all, because whoever builds a TLS client before takes no provider at all. It fails
    // only where one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let arguments: Vec<OsString> = std::env::args_os().collect();
    ExitCode::from(cli::main(&arguments, &world()).code())
}

fn world() -> World {
    let text = |part: OsString| part.to_string_lossy().into_owned();
    let environment = std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect();
    let mut world = World { environment, width: None, cores: 1 };
    world.cores = std::thread::available_parallelism().map_or(1, usize::from);
    if std::io::stdout().is_terminal() {
        let said = world.variable("COLUMNS").and_then(|columns| columns.parse().ok());
        world.width = said.or_else(|| terminal_size::terminal_size().map(|(width, _)| usize::from(width.0)));
    }
    world
}
