//! New stores beside those in use: asked for, or because the one that was there is of another version, damaged, or of
//! another log. All that are rebuilt together share one reading of the log.

use crate::Error;
use crate::events::Events;
use crate::follower::Follower;
use crate::home::Home;
use crate::live::Live;
use crate::projection::{Filled, Projection, Watermark};
use crate::pump::{Watch, pump};
use crate::store::{Engine, Memory};
use cairn_schemas::Position;
use std::sync::Arc;

/// Gets a projection's name, the events applied and the events there are; answers whether to go on.
pub(crate) type Progress<'a> = &'a mut dyn FnMut(&str, u64, u64) -> bool;

/// The store in use, where it can be used. Else one that is still to be filled: the one that was begun, or a new one.
pub(crate) fn open(projection: &'static Projection, home: &Home, events: &dyn Events) -> Result<Live, Error> {
    let belongs = |filled: &Filled| follows(filled, events);
    let head = events.head();
    if let Some(room) = home.live(projection)? {
        // One that lost all that it had is filled like a new one.
        let is_filled = room.filled.watermark.is_some() || head.is_none();
        if is_filled && belongs(&room.filled)? {
            home.sweep(projection, &room.name)?;
            return Ok(Live::named(projection, room.filled, room.name));
        }
        if is_filled {
            tracing::warn!(
                projection = projection.name,
                "the store does not belong to this ledger and will be rebuilt"
            );
        }
    }
    let begun = home.begun(projection)?;
    let room = match begun {
        Some(begun) if belongs(&begun.filled)? => begun,
        // It is closed before another is opened.
        begun => {
            drop(begun);
            home.next(projection, home.engine(head))?
        }
    };
    if let Some(head) = head {
        return Ok(Live::unfinished(projection, room.filled, room.name, head.get()));
    }
    home.adopt(projection, &room.name)?;
    home.sweep(projection, &room.name)?;
    Ok(Live::named(projection, room.filled, room.name))
}

/// Whether the event at the watermark is the one that was applied there.
fn follows(filled: &Filled, events: &dyn Events) -> Result<bool, Error> {
    let Some(watermark) = filled.watermark else { return Ok(true) };
    if events.head() < Some(watermark.position) {
        return Ok(false);
    }
    let found = events.read(watermark.position, 1)?;
    Ok(found.first().is_some_and(|event| Watermark::of(event) == watermark))
}

/// A store that is being filled beside the one in use.
struct Beside {
    of: Arc<Live>,
    new: Live,
}

impl Follower {
    /// Fills the stores that opening found missing or unusable, and has them answer. `watch` may break it off; it is
    /// gone on with at the next call, or after the next opening.
    pub(crate) fn fill(&self, watch: Watch<'_>) -> Result<(), Error> {
        if !self.lives.iter().any(|live| live.is_unfinished()) {
            return Ok(());
        }
        let _building = self.building.lock();
        self.fill_alone(watch)
    }

    /// As [`fill`](Self::fill), by whoever holds `building`.
    pub(crate) fn fill_alone(&self, watch: Watch<'_>) -> Result<(), Error> {
        let lives: Vec<&Live> = self.lives.iter().map(|live| &**live).filter(|live| live.is_unfinished()).collect();
        let mut is_told_to_stop = false;
        let mut failed = self.to_the_head(&lives, &mut || {
            let total = self.events.head().map_or(0, Position::get);
            lives.iter().for_each(|live| live.note_rebuilding(Some((reached(live), total))));
            is_told_to_stop = !watch();
            !is_told_to_stop
        });
        if is_told_to_stop {
            return Ok(());
        }
        let _turn = self.turn.lock();
        for live in lives {
            failed = failed.and(self.to_the_head(&[live], &mut || true));
            if failed.as_ref().is_err_and(Error::is_transient) {
                break;
            }
            // One that met an event that it cannot apply answers for what is before.
            live.with(|filled| filled.store.sync())?;
            self.name_as_used(live)?;
            self.sweep(live)?;
            live.finish();
        }
        failed
    }

    /// Rebuilds projections: fills new stores while the old ones answer and go on, then swaps them. Says whether it did,
    /// or `progress` broke off.
    pub(crate) fn rebuild(
        &self,
        lives: &[Arc<Live>],
        engine: Option<Engine>,
        progress: Progress<'_>,
    ) -> Result<bool, Error> {
        let _building = self.building.lock();
        let rebuilt = self.beside(lives, engine).and_then(|rooms| match self.fill_beside(&rooms, progress)? {
            true => rooms.into_iter().try_for_each(|room| self.swap(room)).map(|()| true),
            false => Ok(false),
        });
        for live in lives {
            live.note_rebuilding(None);
            // What was filled in vain goes; the one in use is kept.
            self.sweep(live)?;
        }
        rebuilt
    }

    fn beside(&self, lives: &[Arc<Live>], engine: Option<Engine>) -> Result<Vec<Beside>, Error> {
        let one = |live: &Arc<Live>| {
            let new = match &self.home {
                None => Live::new(live.projection, Filled::over(Box::new(Memory::default()))?),
                Some(home) => {
                    let engine = engine.unwrap_or_else(|| home.engine(self.events.head()));
                    let room = home.next(live.projection, engine)?;
                    Live::named(live.projection, room.filled, room.name)
                }
            };
            Ok(Beside { of: live.clone(), new })
        };
        lives.iter().map(one).collect()
    }

    /// Says whether they are filled, or `progress` broke off.
    fn fill_beside(&self, rooms: &[Beside], progress: Progress<'_>) -> Result<bool, Error> {
        let mut is_going = true;
        let mut tell = || {
            let total = self.events.head().map_or(0, Position::get);
            for room in rooms {
                let done = reached(&room.new);
                room.of.note_rebuilding(Some((done, total.max(done))));
                is_going &= progress(room.of.projection.name, done, total.max(done));
            }
            is_going
        };
        tell();
        let new: Vec<&Live> = rooms.iter().map(|room| &room.new).collect();
        self.to_the_head(&new, &mut tell)?;
        Ok(is_going)
    }

    /// Applies what came meanwhile, and puts the new store in the old one's place.
    fn swap(&self, room: Beside) -> Result<(), Error> {
        let _turn = self.turn.lock();
        self.to_the_head(&[&room.new], &mut || true)?;
        room.new.with(|filled| filled.store.sync())?;
        self.name_as_used(&room.new)?;
        drop(room.of.swap(room.new)?);
        self.sweep(&room.of)
    }

    /// From here on, opening finds this store.
    fn name_as_used(&self, live: &Live) -> Result<(), Error> {
        match (&self.home, live.store_name()) {
            (Some(home), Some(name)) => home.adopt(live.projection, &name),
            _ => Ok(()),
        }
    }

    /// Removes all of a projection's stores but the one in use.
    fn sweep(&self, live: &Live) -> Result<(), Error> {
        match (&self.home, live.store_name()) {
            (Some(home), Some(name)) => home.sweep(live.projection, &name),
            _ => Ok(()),
        }
    }

    /// Applies until the log has no more, or `watch` breaks off.
    fn to_the_head(&self, lives: &[&Live], watch: Watch<'_>) -> Result<(), Error> {
        let mut is_going = true;
        while let Some(head) = self.events.head().filter(|head| lives.iter().any(|live| reached(live) < head.get())) {
            let mut watch = || {
                is_going = watch();
                is_going
            };
            pump(&*self.events, lives, head, &mut watch)?;
            if !is_going {
                break;
            }
        }
        Ok(())
    }
}

fn reached(live: &Live) -> u64 {
    live.watermark().map_or(0, |w| w.position.get())
}
