//! `twinfold man` and `twinfold completions`: made from the command line's own description, so that they
//! cannot tell of anything else.

use super::args::Cli;
use super::output;
use crate::error::ExitCode;
use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;

/// Prints the manual page: the program's own, then one for each subcommand, as troff reads it.
pub fn man() -> ExitCode {
    let mut page = Vec::new();
    let mut program = Cli::command();
    program.build();
    // Writing to memory cannot fail.
    let _ = Man::new(program.clone()).render(&mut page);
    for subcommand in program.get_subcommands().filter(|subcommand| subcommand.get_name() != "help") {
        let _ = section(&subcommand.clone(), &mut page);
    }
    output::print_bytes(&page);
    ExitCode::Ok
}

/// What a subcommand adds to the page.
fn section(subcommand: &clap::Command, page: &mut Vec<u8>) -> std::io::Result<()> {
    use std::io::Write;
    let name = subcommand.get_name().to_uppercase();
    writeln!(page, ".SH \"TWINFOLD {name}\"")?;
    let man = Man::new(subcommand.clone());
    let mut part = Vec::new();
    man.render_synopsis_section(&mut part)?;
    man.render_description_section(&mut part)?;
    man.render_options_section(&mut part)?;
    // Its sections are parts of this one.
    let text = String::from_utf8_lossy(&part).replace(".SH ", ".SS ");
    page.write_all(text.as_bytes())
}

/// Prints the completions for a shell.
pub fn completions(shell: Shell) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "twinfold", &mut script);
    output::print_bytes(&script);
    ExitCode::Ok
}
