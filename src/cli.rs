//! The options and roles of the command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use pictier::Config;
use shared::config::StoragePlace;

/// Image upload with account tiers. Without a command everything runs in one process: the database
/// (unless one is configured), the API, a worker and the hourly cleanup.
#[derive(Parser)]
#[command(name = "pictier", version, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) config: Config,

    /// Log level, or levels by module
    #[arg(
        long,
        env = "RUST_LOG",
        global = true,
        default_value = "info,sqlx=warn,apalis=off",
        help_heading = "Log"
    )]
    pub(crate) log: String,

    /// Format of log lines
    #[arg(long, env, global = true, default_value = "text", help_heading = "Log")]
    pub(crate) log_format: LogFormat,

    #[command(subcommand)]
    pub(crate) role: Option<Role>,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// For programs
    Json,
}

#[derive(Subcommand)]
pub(crate) enum Role {
    /// Answer HTTP requests
    Api,
    /// Make thumbnails, delete files and clean up
    Worker,
    /// Migrate the database and create the first superuser
    Migrate,
    /// Run the cleanup now: delete what has expired
    Cleanup {
        /// Instead, list the stored originals that the database does not know, ask, and delete them
        #[arg(long)]
        originals: bool,
        /// Delete them without asking
        #[arg(long, requires = "originals")]
        yes: bool,
    },
    /// Read every stored file and compare it with its row: existence, size and SHA-256; exit with 1
    /// if one differs
    Verify {
        /// Only this many random originals, and as many random thumbnails
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        sample: Option<u32>,
    },
    /// Back up the database and the files to a folder, while everything runs; exit with 1 if a file
    /// is missing or damaged
    Backup {
        /// The folder; backups in it share their files
        dir: PathBuf,
    },
    /// Restore a backup into a new database and an empty storage, and verify it; exit with 1 if a
    /// file is missing or damaged
    Restore {
        /// The folder of the backups
        dir: PathBuf,
        /// The backup, as `backup` named it; without it the newest one
        #[arg(long, value_name = "NAME")]
        backup: Option<String>,
    },
    /// Copy all files to another storage, which then belongs to the installation; stop everything
    /// before
    CopyStorage {
        /// The present storage: `disk:DATA_DIR` or `s3:BUCKET`
        from: StoragePlace,
        /// The new one
        to: StoragePlace,
    },
    /// Repair what an audit finds: make damaged thumbnails again, correct counts, delete temporary
    /// files
    Repair {
        /// Do it without asking
        #[arg(long)]
        yes: bool,
    },
    /// Retry failed thumbnails
    RetryFailed {
        /// Only those that failed for this reason, as the panel shows it
        #[arg(long)]
        reason: Option<String>,
    },
    /// Make the storage belong to this database, whatever its marker says
    AdoptStorage {
        /// Do it without asking
        #[arg(long)]
        yes: bool,
    },
    /// Create an administrator; asks for the password, or reads it from standard input
    CreateAdmin {
        /// Login name
        username: String,
        /// The account's tier
        #[arg(long, default_value = shared::services::setup::ADMIN_TIER)]
        tier: String,
    },
    /// Delete a user with everything that is theirs; shows it first, and asks
    DeleteUser {
        /// Login name
        username: String,
        /// Do it without asking
        #[arg(long)]
        yes: bool,
    },
    /// Create and change tiers from a JSON file; other tiers stay as they are
    LoadTiers {
        /// A JSON list of tiers, such as shared/tiers.json
        file: PathBuf,
        /// Overwrite tiers that differ without asking
        #[arg(long)]
        yes: bool,
    },
    /// Check that rows and files agree and that no job is stuck; exit with 1 if something is wrong
    Audit,
    /// Exit with 0 if the API on this machine is ready
    Healthcheck {
        /// Check a worker on this machine instead
        #[arg(long)]
        worker: bool,
    },
    /// Create sample data for the development of pages: users of each built-in tier, images, links
    Seed {
        /// How many images
        #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        photos: u32,
    },
    /// Print the OpenAPI description
    Openapi,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use shared::config::WORKER_EXTRA_CONNECTIONS;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_operations_manual_lists_every_option_as_the_help_does() {
        let manual = include_str!("../docs/operations.md");
        let command = Cli::command();
        let rows: Vec<String> = command.get_arguments().filter_map(row).collect();
        assert!(rows.len() > 20, "the options have environment variables");
        let missing: Vec<_> =
            rows.iter().filter(|row| !manual.contains(row.as_str())).cloned().collect();
        assert!(
            missing.is_empty(),
            "docs/operations.md lacks these rows in its configuration table:\n{}",
            missing.join("\n")
        );
    }

    #[test]
    fn the_help_says_how_many_connections_a_worker_needs() {
        let command = Cli::command();
        let option =
            command.get_arguments().find(|option| option.get_id() == "database_connections");
        let help = option.and_then(clap::Arg::get_help).expect("a help text").to_string();
        let needs = format!("at least its concurrency plus {WORKER_EXTRA_CONNECTIONS}");
        assert!(help.ends_with(&needs), "{help}");
    }

    #[test]
    fn what_is_no_schedule_is_refused_with_its_option_and_an_example() {
        let refused = Cli::try_parse_from(["pictier", "--cleanup-schedule", "hourly"]);
        let said = refused.err().expect("an error").to_string();
        assert!(said.contains("--cleanup-schedule") && said.contains("0 0 * * * *"), "{said}");
    }

    /// An option as a row of the manual's table.
    fn row(option: &clap::Arg) -> Option<String> {
        let (name, env) = (option.get_long()?, option.get_env()?.to_string_lossy());
        let defaults: Vec<_> =
            option.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        let default = match defaults.join(",").as_str() {
            "" | "false" => String::new(),
            default => format!("`{default}`"),
        };
        Some(format!("| `--{name}` | `{env}` | {default} | {} |", option.get_help()?))
    }
}
