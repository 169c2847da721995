//! The forms that carry a check of their own: card numbers (ISO/IEC 7812, Luhn) and IBANs (ISO 13616, mod 97).

use super::{Span, is_arithmetic};

/// Groups of digits in which cards are written.
const CARD_LAYOUTS: [&[usize]; 10] =
    [&[4, 4, 4, 4, 3], &[4, 4, 4, 4], &[4, 6, 5], &[4, 6, 4], &[19], &[16], &[15], &[14], &[13], &[4, 4, 5]];

/// Card numbers, with single spaces or dashes between their groups or none.
///
/// What counts is a known issuer, a length that it uses, the Luhn check, and no digit, decimal or sign of calculation
/// beside it; of random 16 digits about one in fifty passes issuer and check, of text close to none.
pub(super) fn credit_cards(text: &str) -> Vec<Span> {
    let groups = digit_groups(text);
    let mut spans = Vec::new();
    let mut at = 0;
    while at < groups.len() {
        match CARD_LAYOUTS.iter().find(|layout| is_card(text, &groups, at, layout)) {
            Some(layout) => {
                let (last, length) = groups[at + layout.len() - 1];
                spans.push((groups[at].0, last + length - groups[at].0));
                at += layout.len();
            }
            None => at += 1,
        }
    }
    spans
}

/// Runs of digits, as offset and length.
fn digit_groups(text: &str) -> Vec<Span> {
    let mut groups: Vec<Span> = Vec::new();
    for (at, byte) in text.bytes().enumerate().filter(|(_, byte)| byte.is_ascii_digit()) {
        debug_assert!(byte.is_ascii());
        match groups.last_mut() {
            Some((start, length)) if *start + *length == at => *length += 1,
            _ => groups.push((at, 1)),
        }
    }
    groups
}

fn is_card(text: &str, groups: &[Span], at: usize, layout: &[usize]) -> bool {
    let Some(taken) = groups.get(at..at + layout.len()) else { return false };
    if !taken.iter().zip(layout).all(|((_, length), expected)| length == expected) {
        return false;
    }
    let separator = |pair: &[Span]| &text[pair[0].0 + pair[0].1..pair[1].0];
    let mut separators = taken.windows(2).map(separator);
    let first = separators.next();
    if !first.is_none_or(|s| (s == " " || s == "-") && separators.all(|other| other == s)) {
        return false;
    }
    let (last, length) = taken[taken.len() - 1];
    let span = (taken[0].0, last + length - taken[0].0);
    let digits: Vec<u8> = text[span.0..span.0 + span.1].bytes().filter(u8::is_ascii_digit).map(|b| b - b'0').collect();
    is_issued(&digits) && luhn(&digits) && !is_arithmetic(text, span) && stands_alone(text, span)
}

/// No letter, digit or decimal beside it.
fn stands_alone(text: &str, (offset, length): Span) -> bool {
    let digit = |c: char| c.is_ascii_digit();
    let (before, after) = (&text[..offset], &text[offset + length..]);
    let joined = before.ends_with(char::is_alphanumeric) || after.starts_with(char::is_alphanumeric);
    let behind = before.strip_suffix(['.', ',']).is_some_and(|rest| rest.ends_with(digit));
    let ahead = after.strip_prefix(['.', ',']).is_some_and(|rest| rest.starts_with(digit));
    !(joined || behind || ahead)
}

/// Whether an issuer uses this prefix with this length.
fn is_issued(digits: &[u8]) -> bool {
    let prefix = |count: usize| digits[..count].iter().fold(0_u32, |value, digit| value * 10 + u32::from(*digit));
    match digits.len() {
        13 => prefix(1) == 4,
        14 => matches!(prefix(3), 300..=305 | 309) || matches!(prefix(2), 36 | 38 | 39),
        15 => matches!(prefix(2), 34 | 37),
        16 => {
            prefix(1) == 4
                || matches!(prefix(2), 51..=55 | 62 | 65)
                || matches!(prefix(4), 2221..=2720 | 3528..=3589 | 6011)
                || matches!(prefix(3), 644..=649)
        }
        19 => prefix(1) == 4 || matches!(prefix(2), 62 | 65) || prefix(4) == 6011,
        _ => false,
    }
}

/// The check of ISO/IEC 7812-1, annex B.
fn luhn(digits: &[u8]) -> bool {
    let doubled = |digit: u8| if digit > 4 { digit * 2 - 9 } else { digit * 2 };
    let value = |(at, digit): (usize, &u8)| u32::from(if at % 2 == 1 { doubled(*digit) } else { *digit });
    digits.iter().rev().enumerate().map(value).sum::<u32>().is_multiple_of(10)
}

/// Countries and the length of their IBANs (SWIFT IBAN registry).
const IBAN_LENGTHS: &str = "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 \
    DK18 DO28 EE20 EG29 ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 \
    JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 \
    PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 \
    XK20 YE30";

/// Length in bytes of the IBAN at the start of `text`, with single spaces between its groups or none.
pub(super) fn iban_length(text: &str) -> Option<usize> {
    let country = text.get(..2)?;
    let entry = IBAN_LENGTHS.split_whitespace().find(|entry| entry.starts_with(country))?;
    let expected: usize = entry[2..].parse().expect("the table holds numbers");
    let mut characters = Vec::with_capacity(expected);
    let mut length = 0;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'0'..=b'9' | b'A'..=b'Z' if characters.len() < expected => {
                characters.push(byte);
                length = at + 1;
            }
            b' ' if characters.len() < expected && text.as_bytes()[at - 1] != b' ' => {}
            byte if byte.is_ascii_alphanumeric() => {
                // The number would go on: it is something else, unless a space parts them.
                if length == at {
                    return None;
                }
                break;
            }
            _ => break,
        }
    }
    (characters.len() == expected && mod_97(&characters) == 1).then_some(length)
}

/// ISO 7064 MOD 97-10 over the account first, then country and check digits, letters counting 10 to 35.
fn mod_97(characters: &[u8]) -> u32 {
    let (head, account) = characters.split_at(4);
    account.iter().chain(head).fold(0, |remainder, byte| match byte {
        b'0'..=b'9' => (remainder * 10 + u32::from(byte - b'0')) % 97,
        _ => (remainder * 100 + u32::from(byte - b'A') + 10) % 97,
    })
}

/// The last place at or before `at` where a character begins.
pub(super) fn floor_char_boundary(text: &str, at: usize) -> usize {
    if at >= text.len() {
        return text.len();
    }
    (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}
