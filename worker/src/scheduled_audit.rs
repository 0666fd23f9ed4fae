//! Audits by the clock, for the log and the metrics of one worker.

use shared::metrics::{AUDIT_FINDINGS, AUDIT_TIMESTAMP_SECONDS, approximate};
use tokio_util::sync::CancellationToken;

use crate::{Context, audit::audit};

/// Audits at each tick of the schedule until `stop`.
pub(crate) async fn audit_by(schedule: cron::Schedule, context: Context, stop: CancellationToken) {
    stop.run_until_cancelled(async {
        loop {
            let now = context.clock.now();
            let Some(next) = schedule.after(&now).next() else { return };
            tokio::time::sleep((next - now).to_std().unwrap_or_default()).await;
            audit_now(&context).await;
        }
    })
    .await;
}

async fn audit_now(context: &Context) {
    match audit(context).await {
        Ok(report) => {
            for (kind, count) in report.by_kind() {
                AUDIT_FINDINGS.set([kind], approximate(count));
            }
            let seconds = context.clock.now().timestamp().try_into().unwrap_or_default();
            AUDIT_TIMESTAMP_SECONDS.set([], approximate(seconds));
            if report.is_clean() {
                tracing::info!("The audit found nothing.");
            } else {
                tracing::warn!("The audit found something; `pictier repair` repairs it:\n{report}");
            }
        }
        Err(error) => tracing::warn!(%error, "The audit failed; the next one is at its time."),
    }
}
