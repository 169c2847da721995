//! Statements: texts that a log's key signs beside its checkpoints, as C2SP signed notes. Receipts of erasures are this.
//!
//! A statement's first line begins with `cairn `. An origin holds no space, so a statement never passes for a checkpoint.

use crate::checkpoint::{LogSigner, LogVerifier, signature_line, split_note};
use crate::error::Error;
use crate::ledger::Ledger;
use cairn_schemas::TenantId;

const FIRST_WORD: &str = "cairn ";

impl Ledger {
    /// Signs a text with the key of the tenant's log. It begins with a line `cairn <what it is>`, ends with a newline and
    /// holds no empty line.
    pub fn sign_statement(&self, tenant: &TenantId, text: &str) -> Result<String, Error> {
        let log = self.writable_log(tenant)?;
        let signer = &log.writing.as_ref().expect("open for writing").signer;
        sign(text, signer).map_err(|expected| Error::Statement { expected })
    }
}

fn sign(text: &str, signer: &LogSigner) -> Result<String, String> {
    check(text)?;
    let verifier = signer.verifier();
    Ok(format!("{text}\n{}", signature_line(verifier.origin(), verifier.id(), &signer.sign(text.as_bytes()))))
}

fn check(text: &str) -> Result<(), String> {
    if !text.starts_with(FIRST_WORD) {
        return Err(format!("a first line that begins with `{FIRST_WORD}`"));
    }
    match text.ends_with('\n') && !text.contains("\n\n") {
        true => Ok(()),
        false => Err("a newline at the end, and no empty line".into()),
    }
}

/// Whether a text looks like a statement, signed or not.
pub fn looks_like_statement(text: &str) -> bool {
    text.starts_with(FIRST_WORD)
}

/// Checks a signed statement, and gives its text. Says what was expected where it does not hold.
pub fn verify_statement<'a>(note: &'a str, key: &LogVerifier) -> Result<&'a str, String> {
    let (text, lines) = split_note(note)?;
    check(text)?;
    let mut signed = false;
    for line in lines {
        signed |= key.check_line(line, text.as_bytes())?;
    }
    match signed {
        true => Ok(text),
        false => Err(format!("a signature by {}", key.encode())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_signed_verifies_and_no_checkpoint_can_be_signed_as_a_statement() {
        let signer = LogSigner::new("log.example.com/default/main/0", &[7; 32]);
        let note = sign("cairn test v1\n{}\n", &signer).unwrap();
        assert_eq!(verify_statement(&note, signer.verifier()).unwrap(), "cairn test v1\n{}\n");
        let changed = note.replace("{}", "[]");
        assert!(verify_statement(&changed, signer.verifier()).unwrap_err().contains("signature"));
        let other = LogSigner::new("log.example.com/default/main/0", &[8; 32]);
        assert!(verify_statement(&note, other.verifier()).unwrap_err().contains("a signature by"));
        for refused in ["log.example.com/default/main/0\n1\nAA==\n", "cairn test", "cairn a\n\nb\n"] {
            sign(refused, &signer).unwrap_err();
        }
    }
}
