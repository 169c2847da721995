//! What work took of the CPU, from the operating system's account of this process.

use cairn_schemas::events::cost::CostRecorded;
use cairn_schemas::{Real, Ref};

/// CPU time of all threads of this process so far, in seconds.
pub(crate) fn seconds() -> f64 {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    spent.tv_sec as f64 + spent.tv_nsec as f64 * 1e-9
}

/// The record of CPU time, without a price: a machine's owner knows that, not this program.
pub(crate) fn cost(subject: Ref, category: &str, cpu_seconds: f64) -> CostRecorded {
    CostRecorded {
        subject,
        category: category.to_owned(),
        quantity: Real(cpu_seconds),
        unit: "cpu_second".to_owned(),
        amount: None,
        currency: None,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn work_takes_time() {
        let before = super::seconds();
        let mut digest = *blake3::hash(b"").as_bytes();
        (0..20_000).for_each(|_| digest = *blake3::hash(&digest).as_bytes());
        assert!(super::seconds() > before, "{digest:?}");
    }
}
