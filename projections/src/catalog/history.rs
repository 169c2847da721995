//! Questions to the catalog: versions, aliases and deployments, now and before.

use super::query::bounded;
use super::rows::{self, ActiveRow, AliasChangeRow, ChangeRow, DocumentsRow, EntityRow};
use super::{ActiveModel, AliasChange, Catalog, DeploymentChange, DeploymentRecord, NamedDocument, Page, past};
use crate::Error;
use crate::key::Fields;
use crate::projection::{collect, decode};
use crate::store::{Order, Store, page};
use cairn_schemas::{Blake3, Position, ProjectName, Ref};

impl Catalog {
    /// What a name means now: a ref that exists, `ds://project/name` or `…@latest` for its highest committed version,
    /// `model://project/name` or `…@latest` for its highest version, `model://project/name@alias`.
    pub fn resolve(&self, name: &str) -> Result<Option<Ref>, Error> {
        if let Ok(reference) = name.parse::<Ref>() {
            let is_known = self.0.read(|store| Ok(store.get(&rows::entity(name))?.is_some()))?;
            return Ok(is_known.then_some(reference));
        }
        let (family, label) = name.split_once('@').unwrap_or((name, "latest"));
        match (family.starts_with("ds://"), family.starts_with("model://"), label) {
            (true, _, "latest") => self.0.read(|store| latest_dataset(store, family)),
            (_, true, "latest") => self.0.read(|store| {
                let highest = highest(store, family)?;
                if highest == 0 { Ok(None) } else { rows::parse(&format!("{family}@{highest}")).map(Some) }
            }),
            (_, true, alias) => self.0.read(|store| alias_of(store, family, alias)),
            _ => Ok(None),
        }
    }

    /// What a name meant when the log went up to a position; see [`resolve`](Self::resolve).
    pub fn resolve_at(&self, name: &str, as_of: Option<Position>) -> Result<Option<Ref>, Error> {
        let Some(position) = as_of else { return self.resolve(name) };
        self.0.read(|store| {
            if let Ok(reference) = name.parse::<Ref>() {
                return Ok(past::as_of(store, name, position)?.map(|_| reference));
            }
            let (family, label) = name.split_once('@').unwrap_or((name, "latest"));
            match (family.starts_with("ds://"), family.starts_with("model://"), label) {
                (true, _, "latest") => latest_of(store, family, position, "committed"),
                (_, true, "latest") => latest_of(store, family, position, "registered"),
                (_, true, alias) => {
                    let changes = alias_changes(store, family, alias, as_of)?;
                    Ok(changes.into_iter().last().and_then(|change| change.model))
                }
                _ => Ok(None),
            }
        })
    }

    /// The version that carried an alias when the log went up to a position.
    pub fn alias_at(
        &self,
        project: &ProjectName,
        name: &str,
        alias: &str,
        position: Position,
    ) -> Result<Option<Ref>, Error> {
        let changes = self.alias_history(project, name, alias, Some(position))?;
        Ok(changes.into_iter().last().and_then(|change| change.model))
    }

    /// The version that carries an alias now.
    pub fn alias(&self, project: &ProjectName, name: &str, alias: &str) -> Result<Option<Ref>, Error> {
        self.0.read(|store| alias_of(store, &model_family(project, name), alias))
    }

    /// The aliases of a model and the versions that carry them, sorted by alias.
    pub fn aliases(&self, project: &ProjectName, name: &str) -> Result<Vec<(String, Ref)>, Error> {
        self.0.read(|store| {
            collect(store, &rows::aliases(&model_family(project, name)), Order::Ascending, |key, row| {
                let mut fields = Fields::of("catalog.alias", key);
                fields.text()?;
                Ok(Some((fields.text()?, rows::parse(&decode::<String>("catalog.alias", row)?)?)))
            })
        })
    }

    /// What an alias named, oldest first; up to a position where one is given.
    pub fn alias_history(
        &self,
        project: &ProjectName,
        name: &str,
        alias: &str,
        as_of: Option<Position>,
    ) -> Result<Vec<AliasChange>, Error> {
        self.0.read(|store| alias_changes(store, &model_family(project, name), alias, as_of))
    }

    /// One more than the highest version that was registered.
    pub fn next_model_version(&self, project: &ProjectName, name: &str) -> Result<u64, Error> {
        self.0.read(|store| Ok(highest(store, &model_family(project, name))? + 1))
    }

    /// The highest version, as semver orders them, that is committed and not withdrawn.
    pub fn latest_dataset(&self, project: &ProjectName, name: &str) -> Result<Option<Ref>, Error> {
        self.0.read(|store| latest_dataset(store, &dataset_family(project, name)))
    }

    /// All versions of a dataset in semver's order, with their states.
    pub fn dataset_versions(&self, project: &ProjectName, name: &str) -> Result<Vec<(Ref, String)>, Error> {
        self.0.read(|store| dataset_versions(store, &dataset_family(project, name)))
    }

    /// The documents of a version, in the order of its pages, at most 1,000 at a time; those that events up to a position
    /// name, where one is given. `after` is an earlier `next`.
    pub fn documents(
        &self,
        dataset: &Ref,
        as_of: Option<Position>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<NamedDocument>, Error> {
        let limit = bounded(limit);
        let wrong = |cursor: &str| Error::Cursor { given: cursor.to_owned() };
        let (mut before, mut skipped) = (None, 0);
        if let Some(cursor) = after {
            let (page, index) = cursor.split_once('+').ok_or_else(|| wrong(cursor))?;
            before = (!page.is_empty()).then(|| page.to_owned());
            skipped = index.parse::<usize>().map_err(|_| wrong(cursor))?;
        }
        let prefix = rows::documents(&dataset.to_string()).done();
        self.0.read(|store| {
            let mut items = Vec::new();
            loop {
                let (rows, more) = page(store, &prefix, before.as_deref(), 1, Order::Ascending)?;
                let Some((_, row)) = rows.first() else { break };
                let DocumentsRow { mut documents, when } = decode("catalog.documents", row)?;
                if as_of.is_some_and(|as_of| when.position > as_of.get()) {
                    documents.clear();
                }
                for document in documents.iter().skip(skipped).take(limit - items.len()) {
                    let (position, recorded_at) = (when.position()?, when.at());
                    items.push(NamedDocument { document: rows::parse(document)?, position, recorded_at });
                    skipped += 1;
                }
                if skipped < documents.len() {
                    let next = format!("{}+{skipped}", before.unwrap_or_default());
                    return Ok(Page { items, next: Some(next) });
                }
                skipped = 0;
                match more {
                    Some(more) => before = Some(more),
                    None => break,
                }
            }
            Ok(Page { items, next: None })
        })
    }

    /// A deployment by its name or its ref.
    pub fn deployment(&self, name: &str) -> Result<Option<DeploymentRecord>, Error> {
        let deployment = deployment_ref(name)?;
        self.0.read(|store| {
            let reference = deployment.to_string();
            let Some(row) = store.get(&rows::entity(&reference))? else { return Ok(None) };
            let mut entity = rows::shown(reference.clone(), decode::<EntityRow>("catalog.entity", &row)?)?;
            let stack = stack(store, &reference)?;
            Ok(Some(DeploymentRecord {
                deployment: deployment.clone(),
                state: entity.state,
                target: entity.attributes["target"].as_str().unwrap_or_default().to_owned(),
                config: entity.attributes["config"].take(),
                active: stack.last().map(ActiveRow::shown).transpose()?,
                previous: stack.iter().nth_back(1).map(ActiveRow::shown).transpose()?,
            }))
        })
    }

    /// What a deployment answers with now.
    pub fn active(&self, deployment: &str) -> Result<Option<ActiveModel>, Error> {
        let reference = deployment_ref(deployment)?.to_string();
        self.0.read(|store| stack(store, &reference)?.last().map(ActiveRow::shown).transpose())
    }

    /// What changed a deployment, oldest first; up to a position where one is given.
    pub fn deployment_history(&self, name: &str, as_of: Option<Position>) -> Result<Vec<DeploymentChange>, Error> {
        let prefix = rows::deployment_changes(&deployment_ref(name)?.to_string()).done();
        self.0.read(|store| {
            collect(store, &prefix, Order::Ascending, |_, row| {
                let row: ChangeRow = decode("catalog.deployment_change", row)?;
                if as_of.is_some_and(|as_of| row.when.position > as_of.get()) {
                    return Ok(None);
                }
                Ok(Some(DeploymentChange {
                    model: rows::parse_some(row.model.as_deref())?,
                    weights_digest: row.weights_digest.map(Blake3::from_bytes),
                    from: rows::parse_some(row.from.as_deref())?,
                    gate: rows::parse_some(row.gate.as_deref())?,
                    position: row.when.position()?,
                    recorded_at: row.when.at(),
                    change: row.change,
                    reason: row.reason,
                }))
            })
        })
    }
}

fn deployment_ref(name: &str) -> Result<Ref, Error> {
    Ok(Ref::deployment(name.strip_prefix("deployment:").unwrap_or(name))?)
}

fn model_family(project: &ProjectName, name: &str) -> String {
    format!("model://{project}/{name}")
}

fn dataset_family(project: &ProjectName, name: &str) -> String {
    format!("ds://{project}/{name}")
}

/// Project and name of `model://project/name`.
pub fn family_of(model: &str) -> Result<(ProjectName, &str), Error> {
    let wrong = || Error::Family { given: model.chars().take(80).collect() };
    let (project, name) = model.strip_prefix("model://").and_then(|path| path.split_once('/')).ok_or_else(wrong)?;
    if name.is_empty() || name.contains(['@', '/']) {
        return Err(wrong());
    }
    Ok((project.parse()?, name))
}

fn alias_changes(
    store: &dyn Store,
    family: &str,
    alias: &str,
    as_of: Option<Position>,
) -> Result<Vec<AliasChange>, Error> {
    let mut changes = collect(store, &rows::alias_changes(family, alias).done(), Order::Ascending, |_, row| {
        let row: AliasChangeRow = decode("catalog.alias_change", row)?;
        Ok(Some(AliasChange {
            model: rows::parse_some(row.model.as_deref())?,
            reason: row.reason,
            position: row.when.position()?,
            recorded_at: row.when.at(),
        }))
    })?;
    changes.retain(|change| as_of.is_none_or(|position| change.position <= position));
    Ok(changes)
}

/// The highest version of a family that was there at a position, in the state that is wanted.
fn latest_of(store: &dyn Store, family: &str, position: Position, state: &str) -> Result<Option<Ref>, Error> {
    let mut latest = None;
    let found = collect(store, &rows::entities(&format!("{family}@")), Order::Ascending, |key, _| {
        Fields::of("catalog.entity", key).text().map(Some)
    })?;
    for reference in found {
        let Some(then) = past::as_of(store, &reference, position)? else { continue };
        if then.state == state {
            latest = latest.max(Some(rows::parse(&reference)?));
        }
    }
    Ok(latest)
}

fn stack(store: &dyn Store, deployment: &str) -> Result<Vec<ActiveRow>, Error> {
    store.get(&rows::deployment(deployment))?.map_or(Ok(Vec::new()), |row| decode("catalog.deployment", &row))
}

fn alias_of(store: &dyn Store, family: &str, alias: &str) -> Result<Option<Ref>, Error> {
    let Some(row) = store.get(&rows::alias(family, alias))? else { return Ok(None) };
    rows::parse(&decode::<String>("catalog.alias", &row)?).map(Some)
}

fn highest(store: &dyn Store, family: &str) -> Result<u64, Error> {
    store.get(&rows::model_version(family))?.map_or(Ok(0), |row| decode("catalog.model_version", &row))
}

fn dataset_versions(store: &dyn Store, family: &str) -> Result<Vec<(Ref, String)>, Error> {
    let mut versions = collect(store, &rows::dataset_versions(family).done(), Order::Ascending, |key, row| {
        let mut fields = Fields::of("catalog.dataset_version", key);
        fields.text()?;
        Ok(Some((rows::parse(&fields.text()?)?, decode::<String>("catalog.dataset_version", row)?)))
    })?;
    // A dataset's refs sort by version.
    versions.sort();
    Ok(versions)
}

fn latest_dataset(store: &dyn Store, family: &str) -> Result<Option<Ref>, Error> {
    let versions = dataset_versions(store, family)?;
    Ok(versions.into_iter().rfind(|(_, state)| state == "committed").map(|(reference, _)| reference))
}
