//! How far a long command is: a bar on a terminal, a line now and then elsewhere.

use std::{
    io::{IsTerminal, stderr},
    sync::Mutex,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use shared::db;
use sqlx::PgPool;

/// Between two lines where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

pub(crate) struct Progress {
    bar: ProgressBar,
    unit: &'static str,
    last_line: Option<Mutex<Instant>>,
}

impl Progress {
    pub(crate) fn start(total: u64, unit: &'static str) -> Self {
        let is_terminal = stderr().is_terminal();
        let bar = if is_terminal { ProgressBar::new(total) } else { ProgressBar::hidden() };
        bar.set_length(total);
        let style = format!("{{wide_bar}} {{pos}} of {{len}} {unit}, {{eta}} left");
        bar.set_style(ProgressStyle::with_template(&style).expect("a template"));
        Self { bar, unit, last_line: (!is_terminal).then(|| Mutex::new(Instant::now())) }
    }

    /// Over the files that the database names, or over a sample of each kind.
    pub(crate) async fn of_files(pool: &PgPool, sample: Option<u32>) -> sqlx::Result<Self> {
        let mut connection = pool.acquire().await?;
        let most = sample.map_or(u64::MAX, u64::from);
        let total = db::integrity::count_originals(&mut connection).await?.min(most)
            + db::integrity::count_ready_thumbnails(&mut connection).await?.min(most);
        Ok(Self::start(total, "files"))
    }

    pub(crate) fn advance(&self, count: u64) {
        self.bar.inc(count);
        if let Some(Ok(mut last)) = self.last_line.as_ref().map(Mutex::lock)
            && last.elapsed() >= LINE_INTERVAL
        {
            *last = Instant::now();
            let total = self.bar.length().unwrap_or_default();
            eprintln!("{} of {total} {}", self.bar.position(), self.unit);
        }
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
