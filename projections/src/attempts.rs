//! Attempts of a run: a later one goes on from a checkpoint, and what an earlier one did after it no longer counts.

use bincode::{Decode, Encode};

/// An attempt and the step after which it took over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, serde::Serialize)]
pub struct Takeover {
    pub attempt: u32,
    pub from_step: u64,
}

/// Notes that `attempt` goes on after `from_step`. Without one it began anew, unless it is known to have resumed.
pub(crate) fn take_over(takeovers: &mut Vec<Takeover>, attempt: u32, from_step: Option<u64>) {
    match takeovers.iter_mut().find(|t| t.attempt == attempt) {
        Some(known) => known.from_step = from_step.unwrap_or(known.from_step),
        None => takeovers.push(Takeover { attempt, from_step: from_step.unwrap_or(0) }),
    }
    takeovers.sort_by_key(|t| t.attempt);
}

/// Whether a later attempt took over before this step.
pub(crate) fn is_hidden(takeovers: &[Takeover], attempt: u32, step: u64) -> bool {
    takeovers.iter().any(|t| t.attempt > attempt && t.from_step < step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resume_hides_what_came_after_its_checkpoint() {
        let mut takeovers = Vec::new();
        take_over(&mut takeovers, 3, Some(10));
        take_over(&mut takeovers, 2, None);
        take_over(&mut takeovers, 2, Some(20));
        take_over(&mut takeovers, 2, None);
        assert_eq!(takeovers.iter().map(|t| (t.attempt, t.from_step)).collect::<Vec<_>>(), [(2, 20), (3, 10)]);
        for (attempt, step, hidden) in [(1, 10, false), (1, 11, true), (2, 10, false), (2, 11, true), (3, 99, false)] {
            assert_eq!(is_hidden(&takeovers, attempt, step), hidden, "attempt {attempt}, step {step}");
        }
    }
}
