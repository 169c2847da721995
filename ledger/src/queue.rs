//! The bounded queue between callers and the sequencer: pushing waits for room, draining takes what there is.

use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Requests that may wait, however small they are.
const REQUESTS_MAX: usize = 16_384;

pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    not_full: Condvar,
    not_empty: Condvar,
    bytes_max: usize,
}

struct State<T> {
    waiting: VecDeque<(T, usize)>,
    bytes: usize,
    closed: bool,
}

/// What draining found.
pub(crate) enum Drained<T> {
    Some(Vec<T>),
    /// Nothing came in time.
    Late,
    /// Nothing is left and nothing will come.
    Closed,
}

impl<T> Queue<T> {
    pub(crate) fn new(bytes_max: usize) -> Self {
        let state = Mutex::new(State { waiting: VecDeque::new(), bytes: 0, closed: false });
        Self { state, not_full: Condvar::new(), not_empty: Condvar::new(), bytes_max }
    }

    /// Waits for room; gives the request back if the queue is closed. A request larger than the bound goes alone.
    pub(crate) fn push(&self, request: T, bytes: usize) -> Result<(), T> {
        let mut state = self.state.lock();
        while !state.closed && !self.has_room(&state, bytes) {
            self.not_full.wait(&mut state);
        }
        if state.closed {
            return Err(request);
        }
        state.waiting.push_back((request, bytes));
        state.bytes += bytes;
        self.not_empty.notify_one();
        Ok(())
    }

    fn has_room(&self, state: &State<T>, bytes: usize) -> bool {
        state.waiting.is_empty() || (state.bytes + bytes <= self.bytes_max && state.waiting.len() < REQUESTS_MAX)
    }

    /// Takes what waits, in order, up to `bytes_max` and at least one. Waits until `deadline` for the first.
    pub(crate) fn drain(&self, bytes_max: usize, deadline: Option<Instant>) -> Drained<T> {
        let mut state = self.state.lock();
        while state.waiting.is_empty() {
            if state.closed {
                return Drained::Closed;
            }
            let wait = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            match wait {
                Some(Duration::ZERO) => return Drained::Late,
                Some(wait) => {
                    self.not_empty.wait_for(&mut state, wait);
                }
                None => self.not_empty.wait(&mut state),
            }
        }
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while let Some((_, next)) = state.waiting.front()
            && (taken.is_empty() || bytes + next <= bytes_max)
        {
            bytes += next;
            taken.extend(state.waiting.pop_front().map(|(request, _)| request));
        }
        state.bytes -= bytes;
        self.not_full.notify_all();
        Drained::Some(taken)
    }

    /// Lets nothing more in; what waits can still be drained.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.not_full.notify_all();
        self.not_empty.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn keeps_order_and_bounds_and_ends_after_what_waits() {
        let queue = Arc::new(Queue::new(10));
        let pusher = {
            let queue = queue.clone();
            std::thread::spawn(move || (0..100).for_each(|n| queue.push(n, 4).unwrap()))
        };
        let mut taken = Vec::new();
        while taken.len() < 100 {
            let Drained::Some(more) = queue.drain(8, None) else { panic!("the queue is open") };
            assert!(more.len() <= 2, "8 bytes hold two requests of 4");
            taken.extend(more);
        }
        pusher.join().unwrap();
        assert_eq!(taken, (0..100).collect::<Vec<_>>());
        assert!(matches!(queue.drain(8, Some(Instant::now())), Drained::Late));
        queue.push(7, 1000).unwrap();
        queue.close();
        assert_eq!(queue.push(8, 1), Err(8));
        assert!(matches!(queue.drain(8, None), Drained::Some(left) if left == [7]));
        assert!(matches!(queue.drain(8, None), Drained::Closed));
    }
}
