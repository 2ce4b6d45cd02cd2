//! The project's own papers: what they promise is what is run.

use std::path::Path;

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn ci_runs_the_test_command_that_the_readme_promises() {
    let command = "cargo test --workspace";
    assert!(read("README.md").lines().any(|line| line.starts_with(command)));
    assert!(read(".ci/run").lines().any(|line| line == format!("step test {command}")));
}

#[test]
fn the_readmes_configuration_is_one() {
    let readme = read("README.md");
    let (_, after) = readme.split_once("```yaml\n").expect("README.md shows a configuration");
    let (text, _) = after.split_once("```").expect("the block ends");
    let sources = huracan::config::Sources { file: Some(("README.md", text)), ..Default::default() };
    assert_eq!(huracan::config::load(&sources, 1).unwrap().config.workers, 2);
}

#[test]
fn every_command_line_of_the_readme_is_understood() {
    use clap::Parser;
    let readme = read("README.md");
    let blocks = readme.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let mut understood = 0;
    for line in blocks.flat_map(str::lines) {
        let Some(at) = line.find("huracan ").filter(|_| !line.starts_with("cargo")) else { continue };
        let command = line[at..].split(['#', '>']).next().unwrap_or_default();
        let parsed = huracan::cli::Cli::try_parse_from(command.split_whitespace());
        assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
        understood += 1;
    }
    assert!(understood >= 12, "only {understood} command lines were found");
}
