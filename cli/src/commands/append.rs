//! `cairn append`: CloudEvents, one JSON object a line on standard input, appended in batches.

use super::{Outcome, done, print_json};
use crate::{Globals, exit};
use anyhow::Context as _;
use cairn_ledger::{Appended, Error as LedgerError, Ledger, Options};
use cairn_schemas::{BATCH_BYTES_MAX, NewEvent, TenantId};
use std::collections::BTreeSet;
use std::io::{BufRead, Read};

/// Lines to one append: each batch is whole or absent.
const BATCH_LINES: usize = 256;

#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(globals: &Globals, _: &Args) -> Outcome {
    let ledger = Ledger::open(&globals.data, Options::default())?;
    let tenant = TenantId::default();
    let mut input = std::io::stdin().lock();
    let (mut batch, mut lines, mut bytes) = (Vec::new(), 0u64, 0usize);
    let mut total = Totals::default();
    loop {
        let mut line = Vec::new();
        let read = (&mut input)
            .take(BATCH_BYTES_MAX as u64 + 1)
            .read_until(b'\n', &mut line)
            .context("cannot read standard input")?;
        if read > BATCH_BYTES_MAX {
            return Err(total.stopped_at(lines + 1, format!("is longer than {BATCH_BYTES_MAX} bytes")));
        }
        let ended = read == 0;
        if !ended {
            lines += 1;
            if line.trim_ascii().is_empty() {
                continue;
            }
            let event = NewEvent::from_cloudevent(&line).map_err(|e| total.stopped_at(lines, e.to_string()))?;
            batch.push(event);
            bytes += line.len();
        }
        if !batch.is_empty() && (ended || batch.len() == BATCH_LINES || bytes > BATCH_BYTES_MAX / 2) {
            let appended = append_new(&ledger, &tenant, std::mem::take(&mut batch), &mut total);
            let appended = appended.with_context(|| total.so_far(&format!("the batch ending at line {lines}")))?;
            total.add(&appended);
            bytes = 0;
        }
        if ended {
            break;
        }
    }
    if globals.json {
        print_json(&serde_json::json!({ "appended": total.appended, "repeated": total.repeated, "last": total.last }));
    } else {
        say!("{} appended, {} were there already; last position {}", total.appended, total.repeated, total.last);
    }
    done()
}

/// Lines are no batch of the sender's: where some were recorded before, the others are recorded all the same.
fn append_new(
    ledger: &Ledger,
    tenant: &TenantId,
    mut batch: Vec<NewEvent>,
    total: &mut Totals,
) -> Result<Vec<Appended>, LedgerError> {
    match ledger.append(tenant, batch.clone()) {
        Err(LedgerError::PartlyRepeated { repeated, .. }) => {
            let known: BTreeSet<usize> = repeated.iter().map(|(index, _)| *index).collect();
            total.repeated += known.len() as u64;
            let mut index = 0..;
            batch.retain(|_| !index.next().is_some_and(|index| known.contains(&index)));
            ledger.append(tenant, batch)
        }
        other => other,
    }
}

#[derive(Default)]
struct Totals {
    appended: u64,
    repeated: u64,
    last: u64,
}

impl Totals {
    fn add(&mut self, batch: &[Appended]) {
        for one in batch {
            if one.duplicate {
                self.repeated += 1;
            } else {
                self.appended += 1;
            }
            self.last = self.last.max(one.position.get());
        }
    }
    fn so_far(&self, at: &str) -> String {
        format!(
            "{at} was refused; {} events before it are recorded (last position {})",
            self.appended + self.repeated,
            self.last
        )
    }
    /// Batches before the line are recorded, its own is not: sending the whole input again is safe.
    fn stopped_at(&self, line: u64, why: String) -> anyhow::Error {
        exit::wrong_input(format!(
            "line {line} {why}; {} events are recorded, the rest is not; mend it and send everything again, repeats are recognised",
            self.appended + self.repeated
        ))
    }
}
