//! The memory that decodes share: each reserves what its file needs before it starts.

use std::{fs, path::Path, sync::Arc};

use shared::metrics::{Held, WORKER_MEMORY_BUDGET_BYTES, WORKER_MEMORY_RESERVED_BYTES};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::queue::{JobError, Trouble};

const MIB: u64 = 1 << 20;
/// Where the operating system does not say how much there is.
const UNKNOWN_MACHINE_BYTES: u64 = 2048 * MIB;
/// From here on a number means "unlimited": cgroups write one close to the largest.
const NO_LIMIT_BYTES: u64 = 1 << 60;

/// A budget in whole MiB, first come, first served. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct MemoryBudget {
    permits: Arc<Semaphore>,
    budget_mib: u32,
    machine_mib: u64,
}

/// Memory that a decode reserved, until it is dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    _permit: OwnedSemaphorePermit,
    _measured: Held,
}

impl MemoryBudget {
    /// So many MiB, or half of what the machine or its container has.
    pub(crate) fn new(budget_mib: Option<u64>) -> Self {
        let machine_mib = machine_bytes() / MIB;
        let budget = Self::of_machine(budget_mib.unwrap_or(machine_mib / 2), machine_mib);
        WORKER_MEMORY_BUDGET_BYTES.set([], bytes_of(budget.budget_mib));
        WORKER_MEMORY_RESERVED_BYTES.set([], 0.0);
        budget
    }

    fn of_machine(budget_mib: u64, machine_mib: u64) -> Self {
        let budget_mib = u32::try_from(budget_mib.max(1)).unwrap_or(u32::MAX);
        let permits = Semaphore::new((budget_mib as usize).min(Semaphore::MAX_PERMITS));
        Self { permits: Arc::new(permits), budget_mib, machine_mib }
    }

    /// Waits until so many bytes are free. Who needs more than the budget waits for all of it, and
    /// runs alone; more than the machine has is left to another worker.
    pub(crate) async fn reserve(&self, bytes: u64) -> Result<Reservation, JobError> {
        let needed_mib = bytes.div_ceil(MIB);
        if needed_mib > self.machine_mib {
            return Err(
                Trouble::TooLittleMemory { needed_mib, machine_mib: self.machine_mib }.into()
            );
        }
        let reserved = u32::try_from(needed_mib).unwrap_or(u32::MAX).min(self.budget_mib);
        let permit = self.permits.clone().acquire_many_owned(reserved).await;
        let permit = permit.map_err(|closed| JobError::Failed(closed.to_string()))?;
        let measured = WORKER_MEMORY_RESERVED_BYTES.hold(bytes_of(reserved));
        Ok(Reservation { _permit: permit, _measured: measured })
    }
}

fn bytes_of(mib: u32) -> f64 {
    f64::from(mib) * f64::from(1 << 20)
}

/// The memory of the machine, or what its container may use of it.
fn machine_bytes() -> u64 {
    let root = Path::new("/sys/fs/cgroup");
    let own = fs::read_to_string("/proc/self/cgroup").ok().and_then(|text| cgroup_path(&text));
    let mut limits: Vec<u64> = ["memory.max", "memory/memory.limit_in_bytes"]
        .iter()
        .filter_map(|file| number_in(&root.join(file)))
        .collect();
    // every group above limits as well
    if let Some(own) = own {
        let groups = Path::new(&own).ancestors();
        limits.extend(groups.filter_map(|group| number_in(&root.join(group).join("memory.max"))));
    }
    limits.extend(fs::read_to_string("/proc/meminfo").ok().and_then(|text| total_memory(&text)));
    limits.retain(|&limit| limit < NO_LIMIT_BYTES);
    limits.into_iter().min().unwrap_or(UNKNOWN_MACHINE_BYTES)
}

fn number_in(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// The path of the group below the root, of the second version of cgroups.
fn cgroup_path(text: &str) -> Option<String> {
    let line = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    (!line.split('/').any(|part| part == "..")).then(|| line.to_owned())
}

fn total_memory(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const AT_ONCE: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn a_reservation_waits_until_others_give_back() {
        let budget = MemoryBudget::of_machine(100, 1000);
        let first = budget.reserve(60 * MIB).await.expect("a reservation");
        let second = budget.reserve(60 * MIB);
        tokio::pin!(second);
        assert!(timeout(AT_ONCE, &mut second).await.is_err(), "60 and 60 are more than 100");
        assert!(timeout(AT_ONCE, budget.reserve(MIB)).await.is_err(), "nobody overtakes");
        drop(first);
        drop(second.await.expect("a reservation"));
    }

    #[tokio::test]
    async fn one_above_the_budget_runs_alone() {
        let budget = MemoryBudget::of_machine(100, 1000);
        let large = budget.reserve(500 * MIB).await.expect("a reservation");
        assert!(timeout(AT_ONCE, budget.reserve(1)).await.is_err());
        drop(large);
        drop(budget.reserve(1).await.expect("a reservation"));
    }

    #[tokio::test]
    async fn one_above_the_machine_is_left_to_another_worker() {
        let budget = MemoryBudget::of_machine(100, 1000);
        let error = budget.reserve(1001 * MIB).await.expect_err("too much");
        assert!(matches!(
            error,
            JobError::Transient(Trouble::TooLittleMemory { needed_mib: 1001, machine_mib: 1000 })
        ));
    }

    #[test]
    fn the_operating_system_says_how_much_there_is() {
        assert_eq!(
            total_memory("MemTotal:       24683456 kB\nMemFree: 1 kB\n"),
            Some(24_683_456 * 1024)
        );
        assert_eq!(
            cgroup_path("0::/system.slice/pictier.service\n"),
            Some("system.slice/pictier.service".into())
        );
        assert_eq!(cgroup_path("0::/../outside\n"), None);
        assert_eq!(cgroup_path("4:memory:/docker/1\n"), None);
        assert!(machine_bytes() > 0);
    }
}
