//! What a harm did, and the table of all of them.

use std::{collections::BTreeMap, fmt::Display, time::Duration};

/// Examples that are printed of each harm.
const EXAMPLES: usize = 12;

/// What a check found. All numbers must be 0.
#[derive(Default)]
pub(crate) struct Findings {
    /// Acknowledged uploads whose original is not served byte for byte, or whose row is gone.
    pub(crate) lost: usize,
    /// Thumbnails with two valid results.
    pub(crate) doubled: usize,
    /// Files whose bytes are not what they must be.
    pub(crate) wrong: usize,
    /// Thumbnails that never became ready.
    pub(crate) stuck: usize,
    /// What `pictier audit` found.
    pub(crate) audit: usize,
    /// Rules of this one harm that were broken.
    pub(crate) broken: usize,
    /// The cases, to find the cause.
    pub(crate) evidence: Vec<String>,
}

impl Findings {
    pub(crate) fn lose(&mut self, what: impl Display) {
        self.lost += 1;
        self.evidence.push(format!("lost: {what}"));
    }

    pub(crate) fn double(&mut self, what: impl Display) {
        self.doubled += 1;
        self.evidence.push(format!("doubled: {what}"));
    }

    pub(crate) fn find_wrong(&mut self, what: impl Display) {
        self.wrong += 1;
        self.evidence.push(format!("wrong bytes: {what}"));
    }

    pub(crate) fn find_stuck(&mut self, what: impl Display) {
        self.stuck += 1;
        self.evidence.push(format!("stuck: {what}"));
    }

    pub(crate) fn find_broken(&mut self, rule: impl Display) {
        self.broken += 1;
        self.evidence.push(format!("broken: {rule}"));
    }

    fn total(&self) -> usize {
        self.lost + self.doubled + self.wrong + self.stuck + self.audit + self.broken
    }
}

/// What a harm did.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) operations: usize,
    pub(crate) findings: Findings,
    /// From the end of the harm to the bytes of a first request.
    pub(crate) recovery: Vec<Duration>,
    /// Figures that need not be 0.
    pub(crate) notes: Vec<String>,
    left_out: Option<String>,
}

impl Outcome {
    pub(crate) fn broken(why: String) -> Self {
        let mut outcome = Self::default();
        outcome.findings.find_broken(why);
        outcome
    }

    pub(crate) fn left_out(why: &str) -> Self {
        Self { left_out: Some(why.to_owned()), ..Self::default() }
    }
}

/// All harms of a run.
#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<(&'static str, Outcome, Duration)>,
}

impl Report {
    pub(crate) fn add(&mut self, harm: &'static str, outcome: Outcome, took: Duration) {
        let end = match &outcome.left_out {
            Some(why) => format!("left out: {why}"),
            None if outcome.findings.total() == 0 => "ok".to_owned(),
            None => "FAILED".to_owned(),
        };
        println!("{harm:<28} {:>6.1} s  {end}", took.as_secs_f64());
        self.rows.push((harm, outcome, took));
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.rows.iter().all(|(_, outcome, _)| outcome.findings.total() == 0)
    }

    pub(crate) fn print(&self) {
        println!();
        println!(
            "{:<28} {:>10} {:>5} {:>7} {:>6} {:>6} {:>6} {:>6} {:>14} {:>14}",
            "harm",
            "operations",
            "lost",
            "doubled",
            "wrong",
            "stuck",
            "audit",
            "broken",
            "recovery p50",
            "p99"
        );
        for (harm, outcome, _) in &self.rows {
            if let Some(why) = &outcome.left_out {
                println!("{harm:<28} left out: {why}");
                continue;
            }
            let Findings { lost, doubled, wrong, stuck, audit, broken, .. } = &outcome.findings;
            println!(
                "{harm:<28} {:>10} {lost:>5} {doubled:>7} {wrong:>6} {stuck:>6} {audit:>6} {broken:>6} {:>14} {:>14}",
                outcome.operations,
                percentile(&outcome.recovery, 50),
                percentile(&outcome.recovery, 99),
            );
        }
        self.print_details();
        let took: Duration = self.rows.iter().map(|(_, _, took)| *took).sum();
        println!("\n{} harms, {:.0} s of them together", self.rows.len(), took.as_secs_f64());
    }

    fn print_details(&self) {
        for (harm, outcome, _) in &self.rows {
            let (notes, evidence) = (&outcome.notes, &outcome.findings.evidence);
            if notes.is_empty() && evidence.is_empty() {
                continue;
            }
            println!("\n{harm}");
            for note in notes {
                println!("  {note}");
            }
            for example in evidence.iter().take(EXAMPLES) {
                println!("  ! {example}");
            }
            if evidence.len() > EXAMPLES {
                println!("  ! and {} more", evidence.len() - EXAMPLES);
            }
        }
    }
}

fn percentile(times: &[Duration], percent: usize) -> String {
    let mut times = times.to_vec();
    times.sort_unstable();
    // rounded up, so that the 99th of few is the longest
    let index = (times.len() * percent).div_ceil(100).max(1) - 1;
    times
        .get(index)
        .map_or_else(|| "-".to_owned(), |time| format!("{:.0} ms", time.as_secs_f64() * 1e3))
}

/// Equal texts with how often they occur, for a note.
pub(crate) fn tally<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for text in texts {
        *counts.entry(text).or_default() += 1;
    }
    let parts: Vec<_> = counts.iter().map(|(text, count)| format!("{count} × {text}")).collect();
    parts.join(", ")
}
