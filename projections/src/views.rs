//! The face of the projections: the four stores of one tenant, and what moves them.

use crate::catalog::Catalog;
use crate::curves::Curves;
use crate::evals::Evals;
use crate::events::{Events, Log};
use crate::follower::{FollowHandle, Follower};
use crate::home::{self, Home, StoresOnDisk};
use crate::lineage::Lineage;
use crate::projection::{Filled, Live, Projection};
use crate::store::{Choice, Engine};
use crate::{Error, ProjectionStatus, catalog, curves, evals, lineage};
use cairn_ledger::Ledger;
use cairn_schemas::{Position, TenantId};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const PROJECTIONS: &[&Projection] =
    &[&curves::PROJECTION, &evals::PROJECTION, &catalog::PROJECTION, &lineage::PROJECTION];

/// Curves, evaluations, catalog and lineage of one tenant. Clones share the stores; the last one closes them.
#[derive(Clone)]
pub struct Projections(pub(crate) Arc<Views>);

pub(crate) struct Views {
    pub(crate) follower: Arc<Follower>,
    curves: Curves,
    evals: Evals,
    catalog: Catalog,
    lineage: Lineage,
}

impl Projections {
    /// Opens the stores in `dir`, or makes them, on the engine that `CAIRN_STORE` names. Those that cannot be used (of
    /// another version, damaged, of another ledger) are made anew by [`catch_up`](Self::catch_up), or in the background
    /// by [`follow`](Self::follow); until then their answer is [`Error::Rebuilding`]. [`Error::Held`] where another
    /// process has them open.
    pub fn open(dir: &Path, ledger: Ledger, tenant: TenantId) -> Result<Self, Error> {
        Self::open_on(dir, ledger, tenant, Choice::from_env()?)
    }

    /// As [`open`](Self::open), with new stores on the engine that is chosen here.
    pub fn open_on(dir: &Path, ledger: Ledger, tenant: TenantId, choice: Choice) -> Result<Self, Error> {
        let home = Home::open(dir, &tenant, choice)?;
        Self::over(Box::new(Log { ledger, tenant }), Some(home))
    }

    /// Stores in memory, which grow with the log: for readers beside a process that holds those on disk.
    pub fn in_memory(ledger: Ledger, tenant: TenantId) -> Result<Self, Error> {
        Self::over(Box::new(Log { ledger, tenant }), None)
    }

    pub(crate) fn over(events: Box<dyn Events>, home: Option<Home>) -> Result<Self, Error> {
        let follower = Arc::new(Follower::open(events, home, PROJECTIONS)?);
        let live = |projection: &Projection| -> Arc<Live> {
            let found = follower.lives().iter().find(|live| live.projection.name == projection.name);
            found.expect("a projection of the list").clone()
        };
        let curves = Curves::over(live(&curves::PROJECTION));
        let views = Views {
            evals: Evals::over(live(&evals::PROJECTION)),
            catalog: Catalog::over(live(&catalog::PROJECTION), curves.clone()),
            lineage: Lineage::over(live(&lineage::PROJECTION)),
            curves,
            follower,
        };
        Ok(Self(Arc::new(views)))
    }

    pub fn curves(&self) -> &Curves {
        &self.0.curves
    }
    pub fn evals(&self) -> &Evals {
        &self.0.evals
    }
    pub fn catalog(&self) -> &Catalog {
        &self.0.catalog
    }
    pub fn lineage(&self) -> &Lineage {
        &self.0.lineage
    }

    /// Applies everything up to the head as it is now. A projection that meets an event it cannot apply stops there
    /// and gives its error; the others go on.
    pub fn catch_up(&self) -> Result<(), Error> {
        self.0.follower.catch_up()
    }

    /// Keeps the projections at the head from a thread of its own, until the handle is dropped.
    pub fn follow(&self) -> FollowHandle {
        FollowHandle::start(&self.0.follower)
    }

    /// Returns once all four hold `position`, whether or not anything follows.
    pub fn wait_for(&self, position: Position, timeout: Duration) -> Result<(), Error> {
        self.0.follower.wait_for(position, timeout)
    }

    /// Rebuilds the named projections (none named: all) from the first event, together. The old stores answer until the
    /// swap. `progress` gets the name, the events applied and the events there are.
    pub fn rebuild(&self, names: &[&str], progress: &mut dyn FnMut(&str, u64, u64)) -> Result<(), Error> {
        self.rebuild_on(None, names, progress)
    }

    /// As [`rebuild`](Self::rebuild), with the new stores on the engine given.
    pub fn rebuild_on(
        &self,
        engine: Option<Engine>,
        names: &[&str],
        progress: &mut dyn FnMut(&str, u64, u64),
    ) -> Result<(), Error> {
        let mut watch = |name: &str, done, total| {
            progress(name, done, total);
            true
        };
        self.rebuild_while(engine, names, &mut watch).map(drop)
    }

    /// As [`rebuild_on`](Self::rebuild_on), as long as `progress` answers that it goes on. Says whether it is done; where
    /// it is not, all is as before.
    pub fn rebuild_while(
        &self,
        engine: Option<Engine>,
        names: &[&str],
        progress: &mut dyn FnMut(&str, u64, u64) -> bool,
    ) -> Result<bool, Error> {
        let known: Vec<&'static str> = PROJECTIONS.iter().map(|projection| projection.name).collect();
        if let Some(given) = names.iter().find(|name| !known.contains(name)) {
            return Err(Error::UnknownProjection { given: (*given).to_owned(), known });
        }
        let named = |live: &&Arc<Live>| names.is_empty() || names.contains(&live.projection.name);
        let lives: Vec<Arc<Live>> = self.0.follower.lives().iter().filter(named).cloned().collect();
        self.0.follower.rebuild(&lives, engine, progress)
    }

    /// What lies on disk, for whoever looks beside the process that holds it: nothing is opened.
    pub fn on_disk(dir: &Path, tenant: &TenantId) -> Result<Vec<StoresOnDisk>, Error> {
        PROJECTIONS.iter().map(|projection| home::on_disk(dir, tenant, projection)).collect()
    }

    /// How far each projection is and what it does.
    pub fn status(&self) -> Vec<ProjectionStatus> {
        let head = self.0.follower.head();
        self.0.follower.lives().iter().map(|live| live.status(head)).collect()
    }

    /// Name, watermark (0: nothing applied) and BLAKE3 of the sorted rows: equal for equal histories.
    pub fn digests(&self) -> Result<Vec<(String, u64, String)>, Error> {
        let one = |live: &Arc<Live>| {
            live.with(|filled| {
                let watermark = filled.watermark.map_or(0, |w| w.position.get());
                Ok((live.projection.name.to_owned(), watermark, filled.digest(live.projection)?))
            })
        };
        self.0.follower.lives().iter().map(one).collect()
    }

    /// How far each projection has come.
    pub fn watermarks(&self) -> Vec<(String, Option<Position>)> {
        let one = |live: &Arc<Live>| {
            (live.projection.name.to_owned(), live.with(|filled: &Filled| filled.watermark.map(|w| w.position)))
        };
        self.0.follower.lives().iter().map(one).collect()
    }

    /// Questions that were asked of each projection, and rows that were read for them.
    pub fn reads(&self) -> Vec<(String, u64, u64)> {
        let one = |live: &Arc<Live>| {
            let (questions, rows) = live.reads();
            (live.projection.name.to_owned(), questions, rows)
        };
        self.0.follower.lives().iter().map(one).collect()
    }

    /// The position that all of them have reached: what an answer drawn from several covers.
    pub fn reached(&self) -> Option<Position> {
        self.0.follower.reached()
    }
}
