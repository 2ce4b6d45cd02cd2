//! Runs the stand-in for Dropbox until it is killed: `--example dropbox_stand_in -- --port 0`.
//!
//! The first line on standard output is its address. `GET /control` tells its requests and switches,
//! `POST /control` sets the switches.

use std::io::Write as _;

use huracan_remote::testing::dropbox::DropboxStandIn;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let port = match arguments.as_slice() {
        [] => 0,
        [flag, port] if flag == "--port" => port.parse()?,
        _ => return Err("expected nothing or --port NUMBER".into()),
    };
    let stand_in = DropboxStandIn::start_at(port)?;
    println!("{}", stand_in.url());
    std::io::stdout().flush()?;
    loop {
        std::thread::park();
    }
}
