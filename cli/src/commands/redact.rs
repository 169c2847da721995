//! `cairn redact`: replace payloads by what may stay of them, everywhere; and the retention rules that call for it.

use super::{Outcome, done, print_json};
use crate::render::progress;
use crate::{Globals, exit};
use cairn_ledger::{Ledger, Redacted, Redaction, Retention, Selection};
use cairn_schemas::events::governance::PolicyChanged;
use cairn_schemas::{Clock, NewEvent, Position, RawJson, RunId, SystemClock, TenantId};
use std::ops::RangeInclusive;

#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub(crate) struct Args {
    /// Events by position, such as 5-9,12.
    #[arg(long, group = "what", value_name = "LIST")]
    positions: Option<String>,
    /// All events about one thing.
    #[arg(long, group = "what", value_name = "STREAM")]
    stream: Option<String>,
    /// All events that are older than the retention rules allow.
    #[arg(long, group = "what")]
    retention: bool,
    /// Why it may be done. Kept for ever; name nobody.
    #[arg(long, value_name = "TEXT")]
    basis: String,
    /// The request's own id, drawn where none is given. Kept for ever; name nobody.
    #[arg(long, value_name = "ID")]
    request: Option<String>,
    /// Destroy this artifact too; may be repeated.
    #[arg(long = "artifact", value_name = "BLAKE3")]
    artifacts: Vec<cairn_schemas::Blake3>,
}

#[derive(clap::Subcommand)]
pub(crate) enum RetentionArgs {
    /// Keep the payloads of a family of events for so many days.
    Set { family: String, days: u32 },
    /// Show the rules.
    Show,
}

pub(crate) fn run(globals: &Globals, args: &Args) -> Outcome {
    let context = super::writer(globals)?;
    let (ledger, tenant) = (context.ledger(), TenantId::default());
    let selection = match (&args.positions, &args.stream) {
        (Some(list), _) => Selection::Positions(ranges(list)?),
        (_, Some(stream)) => Selection::Stream(stream.clone()),
        _ => Selection::OlderThan(ledger.retention(&tenant)?.older_than(SystemClock.now())),
    };
    let (request, basis, artifacts) = (
        args.request.clone().unwrap_or_else(|| RunId::generate().to_string()),
        args.basis.clone(),
        args.artifacts.clone(),
    );
    let redacted = ledger.redact(&tenant, &Redaction { selection, request, basis, artifacts })?;
    if !redacted.positions.is_empty() || redacted.already > 0 {
        // What they took from the payloads is still in them; and perhaps was when an earlier call was cut short.
        let bar = progress::bar(globals.json);
        context.projections().rebuild(&[], &mut |name, done, total| {
            bar.set_length(total);
            bar.set_position(done);
            bar.set_message(name.to_owned());
        })?;
        bar.finish_and_clear();
    }
    match globals.json {
        true => print_json(&json(&redacted)),
        false => print(&redacted),
    }
    done()
}

/// `5-9,12` as ranges.
fn ranges(list: &str) -> anyhow::Result<Vec<RangeInclusive<u64>>> {
    let one = |item: &str| {
        let (from, to) = item.trim().split_once('-').unwrap_or((item.trim(), item.trim()));
        let (from, to) = (from.parse().ok()?, to.parse().ok()?);
        (from <= to).then_some(from..=to)
    };
    let wrong = |item: &str| exit::wrong_input(format!("`{item}` is no position or range; write such as 5-9,12"));
    list.split(',').map(|item| one(item).ok_or_else(|| wrong(item))).collect()
}

fn print(redacted: &Redacted) {
    say!("{} payloads replaced, {} artifacts destroyed", redacted.positions.len(), redacted.artifacts.len());
    if let (Some(first), Some(last)) = (redacted.positions.first(), redacted.positions.last()) {
        say!("  from position {first} to {last}");
    }
    for event in &redacted.events {
        say!("  recorded at position {event}");
    }
    if redacted.already > 0 {
        say!("  {} had been replaced before", redacted.already);
    }
    if redacted.kept > 0 {
        say!("  {} stay: holds, policies and erasures", redacted.kept);
    }
}

fn json(redacted: &Redacted) -> serde_json::Value {
    let numbers = |positions: &[Position]| positions.iter().map(|position| position.get()).collect::<Vec<_>>();
    serde_json::json!({
        "positions": numbers(&redacted.positions), "events": numbers(&redacted.events),
        "already": redacted.already, "kept": redacted.kept, "artifacts": redacted.artifacts,
    })
}

pub(crate) fn retention(globals: &Globals, args: &RetentionArgs) -> Outcome {
    let tenant = TenantId::default();
    let rules = match args {
        RetentionArgs::Show => super::reader(globals)?.ledger().retention(&tenant)?,
        RetentionArgs::Set { family, days } => {
            let families = cairn_schemas::TYPE_NAMES.iter().filter_map(|name| name.split('.').nth(1));
            if !families.clone().any(|known| known == family) {
                let mut known: Vec<_> = families.collect();
                known.dedup();
                return Err(exit::wrong_input(format!(
                    "`{family}` is no family of events; they are {}",
                    known.join(", ")
                )));
            }
            let context = super::writer(globals)?;
            let mut rules = context.ledger().retention(&tenant)?;
            rules.days.insert(family.clone(), *days);
            record(context.ledger(), &tenant, "retention", policy(&rules))?;
            rules
        }
    };
    if globals.json {
        print_json(&serde_json::json!(rules.days));
        return done();
    }
    for (family, days) in &rules.days {
        say!("{family}: payloads are kept for {days} days");
    }
    if rules.days.is_empty() {
        say!("no rules: payloads are kept for ever");
    }
    done()
}

fn policy(rules: &Retention) -> PolicyChanged {
    let rule = |(family, days): (&String, &u32)| (family.clone(), serde_json::json!({ "days": days }));
    let config: serde_json::Map<_, _> = rules.days.iter().map(rule).collect();
    PolicyChanged { policy: "retention".into(), config: RawJson::of(&config), reason: "cairn retention set".into() }
}

/// Records an event of this command's own; each call is one.
pub(super) fn record(
    ledger: &Ledger,
    tenant: &TenantId,
    what: &str,
    event: impl Into<cairn_schemas::Event>,
) -> anyhow::Result<Position> {
    let id = format!("{what}:{}", SystemClock.now());
    Ok(ledger.append(tenant, vec![NewEvent::new("cairn://cli", &id, event)])?[0].position)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_read_as_they_are_written() {
        assert_eq!(ranges("5-9,12").unwrap(), [5..=9, 12..=12]);
        for wrong in ["", "5-", "9-5", "a", "1,,2"] {
            assert!(ranges(wrong).is_err(), "{wrong}");
        }
    }
}
