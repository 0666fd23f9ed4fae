//! Harms the running program in every way of a table and checks afterwards that nothing was lost,
//! doubled or damaged. `bin/chaos` runs the short form, `bin/chaos --long` everything at full size.

mod album;
#[path = "../harness/client.rs"]
#[expect(dead_code, reason = "the integration tests need the rest")]
mod client;
mod cluster;
mod harms;
mod load;
mod objects;
#[path = "../harness/pictures.rs"]
#[expect(dead_code, reason = "the integration tests need the rest")]
mod pictures;
mod plan;
#[path = "../harness/processes.rs"]
#[expect(dead_code, reason = "the integration tests need the rest")]
mod processes;
mod report;
mod s3_proxy;
#[path = "../harness/s3_server.rs"]
mod s3_server;
mod site;
mod tcp_proxy;
#[path = "../harness/terminal.rs"]
#[expect(dead_code, reason = "the integration tests need it, and the processes know it")]
mod terminal;
mod verify;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use clap::Parser;
use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
};

// where the processes and the S3 server look for them
use crate::{cluster::free_port, terminal::Terminal};
use crate::{
    harms::{HARMS, Harm},
    plan::Plan,
    report::{Outcome, Report},
};

const THREADS: usize = 4;

/// Harms the running program and checks that nothing was lost, doubled or damaged; exit code 1 if
/// anything was.
#[derive(Parser)]
#[command(name = "chaos")]
struct Options {
    /// Run every harm at full size (hours of work in about an hour) instead of the short form
    /// (about two minutes)
    #[arg(long)]
    long: bool,
    /// Run only the harms whose name contains this text
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Print the names of the harms and exit
    #[arg(long)]
    list: bool,
    /// Seed of all random choices
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if options.list {
        for harm in HARMS {
            println!("{:<28} {}", harm.name, harm.about);
        }
        return ExitCode::SUCCESS;
    }
    // reqwest leaves the choice of the TLS provider to the process
    let _ = rustls::crypto::ring::default_provider().install_default();
    thread::spawn(stop_on_signal);
    if run(&options) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(options: &Options) -> bool {
    let is_wanted = |harm: &&Harm| {
        options.only.is_empty() || options.only.iter().any(|text| harm.name.contains(text))
    };
    let wanted: Vec<_> = HARMS.iter().filter(is_wanted).collect();
    assert!(!wanted.is_empty(), "no harm has such a name: see --list");
    let plan = Arc::new(Plan::new(options.long, options.seed));
    println!(
        "chaos: {} form, seed {}, {} harms",
        plan.pick("short", "long"),
        options.seed,
        wanted.len()
    );
    let mut report = Report::default();
    // a harm that mostly waits shares that time with the others of its kind
    let (waiting, busy): (Vec<&Harm>, Vec<&Harm>) =
        wanted.into_iter().partition(|harm| harm.mostly_waits);
    run_all(&waiting, plan.waiting_at_once(), &plan, &mut report);
    run_all(&busy, 1, &plan, &mut report);
    report.print();
    report.is_clean()
}

/// Runs the harms in their order, so many at a time.
fn run_all(harms: &[&Harm], at_a_time: usize, plan: &Arc<Plan>, report: &mut Report) {
    let next = AtomicUsize::new(0);
    let (done, results) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..at_a_time {
            let done = done.clone();
            scope.spawn(|| {
                let done = done;
                while let Some(harm) = harms.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let run = AssertUnwindSafe(|| run_one(harm, plan.clone()));
                    let crashed = |_| {
                        (Outcome::broken("the harm panicked; see above".to_owned()), Duration::ZERO)
                    };
                    let (outcome, took) = catch_unwind(run).unwrap_or_else(crashed);
                    done.send((harm.name, outcome, took)).expect("somebody who reports");
                }
            });
        }
        drop(done);
        for (name, outcome, took) in results {
            report.add(name, outcome, took);
        }
    });
}

/// Ends this process and all that it started when somebody presses Ctrl-C.
fn stop_on_signal() {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).expect("a signal");
        tokio::select! { _ = terminate.recv() => {} _ = tokio::signal::ctrl_c() => {} }
    });
    cluster::kill_children();
    std::process::exit(1);
}

/// Runs a harm to its end or to its limit, with a runtime of its own.
fn run_one(harm: &Harm, plan: Arc<Plan>) -> (Outcome, Duration) {
    let started = Instant::now();
    let limit = plan.pick(harm.short_limit, harm.long_limit);
    // some threads wait for processes while the proxies go on
    let runtime = Builder::new_multi_thread().worker_threads(THREADS).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let outcome = runtime.block_on(async { tokio::time::timeout(limit, (harm.run)(plan)).await });
    let outcome = outcome.unwrap_or_else(|_| {
        Outcome::broken(format!("the harm did not end within {} s", limit.as_secs()))
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    (outcome, started.elapsed())
}
