//! What waits for the writers: each log's batches in order, and bounded room for all of them together.

use crate::error::Error;
use crate::event::PreparedBatch;
use crate::placement::Appended;
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::time::Instant;

/// Batches that may wait, however small they are.
const BATCHES_MAX: usize = 65_536;

/// A batch's outcome.
pub(crate) type Outcome = Result<Vec<Appended>, Error>;

/// A batch that waits for its log's writer.
pub(crate) struct Waiting {
    pub(crate) batch: PreparedBatch,
    /// Room that it takes.
    pub(crate) bytes: usize,
    pub(crate) reply: oneshot::Sender<Outcome>,
}

/// Bounds what waits or is being written, over all logs.
pub(crate) struct Room {
    taken: Mutex<Taken>,
    freed: Condvar,
    bytes_max: usize,
}

#[derive(Default)]
struct Taken {
    bytes: usize,
    batches: usize,
}

impl Room {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { taken: Mutex::default(), freed: Condvar::new(), bytes_max }
    }

    pub(crate) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Takes room if there is some. A batch larger than the bound is let in alone.
    pub(crate) fn try_take(&self, bytes: usize) -> bool {
        self.take_from(&mut self.taken.lock(), bytes)
    }

    /// Takes room, waiting for it until `deadline`; `false` if there was none till then.
    pub(crate) fn take_by(&self, bytes: usize, deadline: Instant) -> bool {
        let mut taken = self.taken.lock();
        while !self.take_from(&mut taken, bytes) {
            if self.freed.wait_until(&mut taken, deadline).timed_out() {
                return self.take_from(&mut taken, bytes);
            }
        }
        true
    }

    fn take_from(&self, taken: &mut Taken, bytes: usize) -> bool {
        let fits = taken.bytes + bytes <= self.bytes_max && taken.batches < BATCHES_MAX;
        if taken.batches > 0 && !fits {
            return false;
        }
        taken.bytes += bytes;
        taken.batches += 1;
        true
    }

    pub(crate) fn give_back(&self, bytes: usize, batches: usize) {
        {
            let mut taken = self.taken.lock();
            taken.bytes -= bytes;
            taken.batches -= batches;
        }
        self.freed.notify_all();
    }
}

/// Batches of one log, in order. At most one writer runs a log: whoever finds it unscheduled schedules it.
#[derive(Default)]
pub(crate) struct Inbox(Mutex<State>);

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    /// Whether the log stands in the queue of ready logs, or a writer runs it.
    scheduled: bool,
}

impl Inbox {
    /// Puts a batch in, unless `refuse` says that no more are taken; answers whether the log must be scheduled now.
    pub(crate) fn push(&self, waiting: Waiting, refuse: impl FnOnce() -> Option<Error>) -> Result<bool, Error> {
        let mut state = self.0.lock();
        if let Some(error) = refuse() {
            return Err(error);
        }
        state.waiting.push_back(waiting);
        Ok(!std::mem::replace(&mut state.scheduled, true))
    }

    /// Takes what waits, in order, up to `bytes_max` and at least one.
    pub(crate) fn take(&self, bytes_max: usize) -> Vec<Waiting> {
        let mut state = self.0.lock();
        let (mut count, mut bytes) = (0, 0);
        for waiting in &state.waiting {
            if count > 0 && bytes + waiting.bytes > bytes_max {
                break;
            }
            bytes += waiting.bytes;
            count += 1;
        }
        state.waiting.drain(..count).collect()
    }

    /// The writer is done for now: `true` if more waits, and the log stays scheduled.
    pub(crate) fn has_more(&self) -> bool {
        let mut state = self.0.lock();
        state.scheduled = !state.waiting.is_empty();
        state.scheduled
    }

    /// Takes all that waits, and lets the log be scheduled again.
    pub(crate) fn clear(&self) -> VecDeque<Waiting> {
        let mut state = self.0.lock();
        state.scheduled = false;
        std::mem::take(&mut state.waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn waiting(bytes: usize) -> Waiting {
        Waiting { batch: PreparedBatch::default(), bytes, reply: oneshot::channel().0 }
    }

    #[test]
    fn an_inbox_keeps_order_and_bounds_and_is_scheduled_once() {
        let inbox = Inbox::default();
        let push = |bytes| inbox.push(waiting(bytes), || None).unwrap();
        assert_eq!([4, 4, 9, 1].map(push), [true, false, false, false]);
        let take = |bytes_max| inbox.take(bytes_max).iter().map(|waiting| waiting.bytes).collect::<Vec<_>>();
        assert_eq!((take(8), take(8)), (vec![4, 4], vec![9]));
        assert!(inbox.has_more(), "one waits");
        assert_eq!(take(8), [1]);
        assert!(!inbox.has_more());
        assert!(push(3), "a writer had left it");
        assert!(inbox.push(waiting(1), || Some(Error::ReadOnly)).is_err());
        assert_eq!(inbox.clear().len(), 1);
        assert!(push(3), "whoever cleared it had left it");
    }

    #[test]
    fn room_is_bounded_waited_for_and_given_to_one_that_is_too_large_alone() {
        let room = Room::new(10);
        assert!(room.try_take(1000), "alone");
        assert!(!room.try_take(1) && !room.take_by(1, Instant::now()));
        room.give_back(1000, 1);
        assert!(room.try_take(6) && room.try_take(4) && !room.try_take(1));
        std::thread::scope(|scope| {
            let taker = scope.spawn(|| room.take_by(5, Instant::now() + Duration::from_secs(600)));
            room.give_back(6, 1);
            assert!(taker.join().unwrap());
        });
        assert!(!room.try_take(2) && room.try_take(1));
    }
}
