//! Every command and option, for whoever offers them elsewhere.

use clap::{Arg, ArgAction, Command, CommandFactory};
use serde_json::{Value, json};

use crate::args::Cli;

/// Every command with its options, as they are defined: a list of objects `name`, `about`, `args` and, where a command
/// has commands of its own, `commands`. Options of the terminal are left out.
#[must_use]
pub fn options() -> Value {
    let mut cli = Cli::command();
    cli.build();
    commands(&cli)
}

fn commands(of: &Command) -> Value {
    let all = of.get_subcommands().filter(|sub| sub.get_name() != "help");
    all.map(|command| {
        let args = command.get_arguments().filter(|arg| wanted(arg));
        let mut entry = json!({
            "name": command.get_name(),
            "about": command.get_about().map(ToString::to_string),
            "args": args.map(argument).collect::<Value>(),
        });
        if command.has_subcommands() {
            entry["commands"] = commands(command);
        }
        entry
    })
    .collect()
}

/// Options of every command that say how a terminal is used.
fn wanted(arg: &Arg) -> bool {
    !arg.is_global_set() && !["help", "version"].contains(&arg.get_id().as_str())
}

fn argument(arg: &Arg) -> Value {
    let action = arg.get_action();
    let takes_value = action.takes_values();
    let range = arg.get_num_args();
    let defaults = arg.get_default_values().iter();
    let values = arg.get_possible_values();
    json!({
        "id": arg.get_id().as_str(),
        "long": arg.get_long(),
        "short": arg.get_short(),
        "positional": arg.is_positional(),
        "required": arg.is_required_set(),
        "value_names": arg.get_value_names().into_iter().flatten().map(|name| name.as_str()).collect::<Vec<_>>(),
        "takes_value": takes_value,
        "multiple": matches!(action, ArgAction::Append) || range.is_some_and(|range| range.max_values() > 1),
        "delimiter": arg.get_value_delimiter(),
        "default": defaults.map(|value| value.to_string_lossy()).collect::<Vec<_>>(),
        // Flags have `true` and `false`, which nobody types.
        "values": values.iter().filter(|_| takes_value).map(|value| value.get_name()).collect::<Vec<_>>(),
        "help": arg.get_help().map(ToString::to_string),
        "heading": arg.get_help_heading(),
        "hidden": arg.is_hide_set(),
    })
}
