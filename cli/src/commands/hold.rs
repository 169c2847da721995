//! `cairn hold`: legal holds, under which nothing is erased.

use super::{Outcome, done, print_json};
use crate::{Globals, exit};
use cairn_schemas::TenantId;
use cairn_schemas::events::governance::{LegalHoldLifted, LegalHoldPlaced};

#[derive(clap::Subcommand)]
pub(crate) enum Args {
    /// Block erasure.
    Place {
        /// The hold's own id, by which it is lifted.
        hold: String,
        /// What it covers: `tenant`, `project:<name>`, `stream:<name>` or `data-subject:<digest>`.
        #[arg(long, default_value = "tenant")]
        scope: String,
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Allow it again.
    Lift {
        hold: String,
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Show the holds that are in force.
    Show,
}

pub(crate) fn run(globals: &Globals, args: &Args) -> Outcome {
    let tenant = TenantId::default();
    match args {
        Args::Show => {}
        Args::Place { hold, scope, reason } => {
            if !cairn_ledger::Hold::is_scope(scope) {
                return Err(exit::wrong_input(format!(
                    "`{scope}` is no scope; write tenant, project:<name>, stream:<name> or data-subject:<digest>, the digest \
                     as `cairn erase --plan` shows it"
                )));
            }
            let placed = LegalHoldPlaced { hold: hold.clone(), scope: scope.clone(), reason: reason.clone() };
            super::redact::record(super::writer(globals)?.ledger(), &tenant, "hold", placed)?;
        }
        Args::Lift { hold, reason } => {
            let context = super::writer(globals)?;
            if !context.ledger().holds(&tenant)?.iter().any(|held| held.hold == *hold) {
                return Err(exit::not_found(format!("no hold `{hold}` is in force; `cairn hold show` lists them")));
            }
            let lifted = LegalHoldLifted { hold: hold.clone(), reason: reason.clone() };
            super::redact::record(context.ledger(), &tenant, "hold", lifted)?;
        }
    }
    let holds = super::reader(globals)?.ledger().holds(&tenant)?;
    if globals.json {
        let one = |hold: &cairn_ledger::Hold| serde_json::json!({ "hold": hold.hold, "scope": hold.scope, "position": hold.position.get() });
        print_json(&holds.iter().map(one).collect());
        return done();
    }
    for hold in &holds {
        say!("{}: nothing of {} is erased (position {})", hold.hold, hold.scope, hold.position);
    }
    if holds.is_empty() {
        say!("no hold is in force");
    }
    done()
}
