//! Which slot holds what. Running answers are in the first slots, one after another, because a step reads consecutive
//! ones; the rest keep beginnings of earlier prompts, the least recently used of which goes first.
//! A kept beginning is whole chunks of a prompt, read as any prompt that begins so would read them: what is computed
//! after it does not show that it was kept.

use super::session::DecoderSession;

/// What one slot holds beyond its running answer.
#[derive(Clone, Debug, Default)]
struct Kept {
    /// Tokens of whole chunks.
    tokens: Vec<u32>,
    used: u64,
    /// Positions whose memory may be resident.
    touched: usize,
}

pub(super) struct Slots {
    kept: Vec<Kept>,
    chunk: usize,
    keeps: bool,
    clock: u64,
}

impl Slots {
    pub(super) fn new(count: usize, chunk: usize, keeps: bool) -> Self {
        Self { kept: vec![Kept::default(); count], chunk, keeps, clock: 0 }
    }

    pub(super) fn count(&self) -> usize {
        self.kept.len()
    }

    /// Makes slot `running`, the first free one, begin like `prompt` as far as any slot does. Gives the number of
    /// positions that are there already; at least one token of the prompt is left.
    pub(super) fn prepare(&mut self, session: &mut DecoderSession, running: usize, prompt: &[u32]) -> usize {
        self.clock += 1;
        let found = self.longest_beginning(prompt);
        let shared = match found {
            Some((slot, shared)) if slot >= running => {
                self.exchange(session, slot, running, shared);
                shared
            }
            Some((slot, shared)) => {
                self.make_way(session, running);
                session.copy(slot, running, shared);
                self.kept[slot].used = self.clock;
                shared
            }
            None => {
                self.make_way(session, running);
                0
            }
        };
        let clock = self.clock;
        let kept = &mut self.kept[running];
        kept.tokens.clear();
        kept.tokens.extend_from_slice(&prompt[..shared]);
        kept.used = clock;
        kept.touched = kept.touched.max(shared);
        shared
    }

    /// That `slot` holds the first `positions` tokens of `prompt`.
    pub(super) fn note(&mut self, slot: usize, prompt: &[u32], positions: usize) {
        let whole = if self.keeps { positions / self.chunk * self.chunk } else { 0 };
        let kept = &mut self.kept[slot];
        if whole > kept.tokens.len() {
            kept.tokens.extend_from_slice(&prompt[kept.tokens.len()..whole]);
        }
        kept.touched = kept.touched.max(positions);
    }

    /// That an answer in `slot` has come to `positions`.
    pub(super) fn grown(&mut self, slot: usize, positions: usize) {
        self.kept[slot].touched = self.kept[slot].touched.max(positions);
    }

    /// Copies a prompt just read in `from` to the free slot `to`.
    pub(super) fn fork(&mut self, session: &mut DecoderSession, from: usize, to: usize, positions: usize) {
        self.make_way(session, to);
        session.copy(from, to, positions);
        self.kept[to].tokens = self.kept[from].tokens.clone();
        self.kept[to].used = self.clock;
        self.grown(to, positions);
    }

    /// Brings what is running in `from`, `positions` long, to `to`, whose answer is over or which is free.
    pub(super) fn bring(&mut self, session: &mut DecoderSession, from: usize, to: usize, positions: usize) {
        self.exchange(session, from, to, positions);
    }

    /// Forgets what `slot` keeps.
    pub(super) fn forget(&mut self, slot: usize) {
        self.kept[slot].tokens.clear();
    }

    /// Gives memory of free slots back until no more than `limit` positions may be resident, running ones included.
    /// `promised`: positions that each running answer may come to.
    pub(super) fn trim(&mut self, session: &mut DecoderSession, promised: &[usize], limit: usize) {
        let held = |kept: &[Kept]| -> usize {
            let of = |(slot, kept): (usize, &Kept)| kept.touched.max(promised.get(slot).copied().unwrap_or(0));
            kept.iter().enumerate().map(of).sum()
        };
        while held(&self.kept) > limit {
            let free = promised.len()..self.kept.len();
            let oldest = free.filter(|&slot| self.kept[slot].touched > 0).min_by_key(|&slot| self.kept[slot].used);
            if let Some(slot) = oldest {
                session.release(slot, 0);
                self.kept[slot] = Kept::default();
                continue;
            }
            // Only running answers are left, in slots that longer ones were in before.
            for (slot, &promised) in promised.iter().enumerate() {
                if self.kept[slot].touched > promised {
                    session.release(slot, promised);
                    self.kept[slot].touched = promised;
                }
            }
            return;
        }
    }

    fn longest_beginning(&self, prompt: &[u32]) -> Option<(usize, usize)> {
        let most = (prompt.len() - 1) / self.chunk * self.chunk;
        let shared = |kept: &Kept| {
            let alike = kept.tokens.iter().zip(prompt).take_while(|(kept, token)| kept == token).count();
            (alike / self.chunk * self.chunk).min(most)
        };
        let found = self.kept.iter().enumerate().map(|(slot, kept)| (slot, shared(kept)));
        // Among equals the last: a free slot rather than a running one, which would have to be copied.
        found.filter(|&(_, shared)| shared > 0).max_by_key(|&(slot, shared)| (shared, slot))
    }

    /// Lets `slot` be overwritten: what it keeps goes where the least recently used beginning was.
    fn make_way(&mut self, session: &mut DecoderSession, slot: usize) {
        let oldest =
            (slot..self.kept.len()).min_by_key(|&free| (!self.kept[free].tokens.is_empty(), self.kept[free].used));
        let positions = self.kept[slot].tokens.len();
        if let Some(oldest) = oldest
            && oldest != slot
            && positions > 0
        {
            session.copy(slot, oldest, positions);
            self.kept[oldest].tokens = std::mem::take(&mut self.kept[slot].tokens);
            self.kept[oldest].used = self.kept[slot].used;
            self.grown(oldest, positions);
        }
        self.kept[slot].tokens.clear();
    }

    /// Brings the first `positions` positions of `source` to `target`, and what `target` keeps to `source`.
    fn exchange(&mut self, session: &mut DecoderSession, source: usize, target: usize, positions: usize) {
        if source == target {
            return;
        }
        let back = self.kept[target].tokens.len();
        match back {
            0 => session.copy(source, target, positions),
            _ => session.swap(source, target, positions.max(back)),
        }
        self.kept.swap(source, target);
        // Memory stays with its slot.
        let touched = [self.kept[target].touched, self.kept[source].touched];
        self.kept[source].touched = touched[0].max(back);
        self.kept[target].touched = touched[1].max(positions);
    }
}
