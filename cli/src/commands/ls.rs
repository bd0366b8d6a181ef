//! `sampan ls`.

use clap::ValueEnum;
use sampan_runtime::Info;

use crate::{context::Context, failure::Outcome, output, pattern, words};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sampan ls
  sampan ls --running 'web*'
  sampan ls -1 --stopped
  sampan ls -F name,state,ipv4,groups
  sampan ls -g production")]
pub struct Args {
    /// Only those with such a name; `*` is any text, `?` any one character
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Names only, one a line
    #[arg(short = '1', long = "names", conflicts_with = "columns")]
    names_only: bool,
    /// The columns to show
    #[arg(
        short = 'F',
        long,
        value_name = "COLUMN,…",
        value_enum,
        ignore_case = true,
        value_delimiter = ','
    )]
    columns: Vec<Column>,
    /// Those that run
    #[arg(long)]
    running: bool,
    /// Those that do not
    #[arg(long)]
    stopped: bool,
    /// Those that are frozen
    #[arg(long)]
    frozen: bool,
    /// Those in one of these groups
    #[arg(short, long, value_name = "GROUP,…", value_delimiter = ',')]
    groups: Vec<String>,
}

/// What can be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Column {
    /// Its name
    Name,
    /// What it does
    State,
    /// The host's pid of its init
    Pid,
    /// Memory in use
    Memory,
    /// Most memory it has used
    Peak,
    /// Swap in use
    Swap,
    /// Time on processors
    Cpu,
    /// Processes and threads
    Pids,
    /// Its IPv4 addresses
    Ipv4,
    /// Its IPv6 addresses
    Ipv6,
    /// Whether it starts with the host
    Autostart,
    /// Its groups
    Groups,
    /// Whether its root is another than the host's
    Unprivileged,
    /// How its files are kept
    Storage,
    /// The template it was made by
    Template,
}

const USUAL: [Column; 8] = [
    Column::Name,
    Column::State,
    Column::Pid,
    Column::Memory,
    Column::Ipv4,
    Column::Autostart,
    Column::Groups,
    Column::Template,
];

/// Runs the command.
pub fn run(context: &Context, args: &Args) -> Outcome {
    let mut containers = context.containers().list()?;
    containers.retain(|info| args.wants(info));
    let columns = match (args.names_only, args.columns.is_empty()) {
        (true, _) => &[Column::Name][..],
        (_, true) => &USUAL,
        _ => &args.columns,
    };
    output::print(context.global.format, &containers, |containers| {
        let rows = containers
            .iter()
            .map(|info| columns.iter().map(|column| column.of(info)).collect());
        if args.names_only {
            return containers
                .iter()
                .map(|info| format!("{}\n", info.name))
                .collect();
        }
        let heading = columns.iter().map(|column| column.heading()).collect();
        output::table_of(heading, rows)
    })
}

impl Args {
    fn wants(&self, info: &Info) -> bool {
        let state = super::info::state(info.state);
        let states = [
            (self.running, "running"),
            (self.stopped, "stopped"),
            (self.frozen, "frozen"),
        ];
        let any_state = states.iter().all(|(wanted, _)| !wanted);
        let name = |wanted: &String| pattern::matches(wanted, &info.name);
        (any_state || states.contains(&(true, state.as_str())))
            && (self.names.is_empty() || self.names.iter().any(name))
            && (self.groups.is_empty() || self.groups.iter().any(|g| info.groups.contains(g)))
    }
}

impl Column {
    fn heading(self) -> String {
        self.to_possible_value()
            .map_or(String::new(), |value| value.get_name().to_uppercase())
    }

    fn of(self, info: &Info) -> String {
        let yes = |is: bool| is.then(|| "yes".to_owned());
        let usage = info.usage.unwrap_or_default();
        let addresses = |version_6: bool| {
            let of_version = info.ips.iter().filter(|ip| ip.is_ipv6() == version_6);
            let found: Vec<String> = of_version.map(ToString::to_string).collect();
            (!found.is_empty()).then(|| found.join(", "))
        };
        match self {
            Column::Name => Some(info.name.clone()),
            Column::State => Some(super::info::state(info.state)),
            Column::Pid => info.init_pid.map(|pid| pid.to_string()),
            Column::Memory => info.memory.map(words::bytes),
            Column::Peak => usage.memory_peak.map(words::bytes),
            Column::Swap => usage.swap.map(words::bytes),
            Column::Cpu => usage.cpu_usec.map(crate::limits::cpu_time),
            Column::Pids => usage.processes.map(|n| n.to_string()),
            Column::Ipv4 => addresses(false),
            Column::Ipv6 => addresses(true),
            Column::Autostart => yes(info.autostart),
            Column::Groups => (!info.groups.is_empty()).then(|| info.groups.join(", ")),
            Column::Unprivileged => yes(info.privileged == Some(false)),
            Column::Storage => info.storage.map(|kind| kind.to_string()),
            Column::Template => info.template.clone(),
        }
        .unwrap_or_else(|| "-".to_owned())
    }
}
