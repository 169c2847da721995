//! Which language a text is in, as a BCP 47 tag: given, or detected from its letters.

use whatlang::Lang;

/// The tag for a language that could not be told (BCP 47, from ISO 639-2).
pub const UNDETERMINED: &str = "und";
/// Fewer letters than this say nothing reliable about the language.
const LETTERS_MIN: usize = 24;
/// Detection reads no more than this; trigram statistics are settled long before.
const CHARS_READ: usize = 2_000;
/// Below this confidence a detection is taken as undetermined. At 0.7 no GSM8K training question, full of numbers and
/// names, is taken for another language than English.
const CONFIDENCE_MIN: f64 = 0.7;

/// A language and how sure that is.
#[derive(Clone, Debug, PartialEq)]
pub struct Language {
    /// BCP 47 tag, `und` where it could not be told.
    pub tag: String,
    /// 0 to 1 where it was detected; none where it was given.
    pub confidence: Option<f64>,
}

/// Detects the language of `text` from its first 2,000 characters.
///
/// `und` where fewer than 24 letters were seen or the confidence, which is reported either way, is below 0.7.
pub fn detect(text: &str) -> Language {
    let end = text.char_indices().nth(CHARS_READ).map_or(text.len(), |(at, _)| at);
    let sample = &text[..end];
    let undetermined = |confidence| Language { tag: UNDETERMINED.to_owned(), confidence: Some(confidence) };
    if sample.chars().filter(|c| c.is_alphabetic()).count() < LETTERS_MIN {
        return undetermined(0.0);
    }
    match whatlang::detect(sample) {
        Some(info) if info.confidence() >= CONFIDENCE_MIN => {
            Language { tag: tag_of(info.lang()).to_owned(), confidence: Some(info.confidence()) }
        }
        Some(info) => undetermined(info.confidence()),
        None => undetermined(0.0),
    }
}

/// Checks a tag to have the form of BCP 47 and writes its primary part in lower case; `None` where it has not.
pub fn parse_tag(tag: &str) -> Option<String> {
    let (primary, rest) = tag.split_once(['-', '_']).map_or((tag, None), |(p, r)| (p, Some(r)));
    let primary_fits = (2..=8).contains(&primary.len()) && primary.bytes().all(|b| b.is_ascii_alphabetic());
    let part_fits = |part: &str| (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric());
    if !primary_fits || !rest.is_none_or(|rest| rest.split(['-', '_']).all(part_fits)) {
        return None;
    }
    let primary = primary.to_ascii_lowercase();
    Some(rest.map_or(primary.clone(), |rest| format!("{primary}-{}", rest.replace('_', "-"))))
}

/// The shortest tag, as BCP 47 asks for: two letters where ISO 639-1 has them.
fn tag_of(language: Lang) -> &'static str {
    match language {
        Lang::Epo => "eo",
        Lang::Eng => "en",
        Lang::Rus => "ru",
        Lang::Cmn => "zh",
        Lang::Spa => "es",
        Lang::Por => "pt",
        Lang::Ita => "it",
        Lang::Ben => "bn",
        Lang::Fra => "fr",
        Lang::Deu => "de",
        Lang::Ukr => "uk",
        Lang::Kat => "ka",
        Lang::Ara => "ar",
        Lang::Hin => "hi",
        Lang::Jpn => "ja",
        Lang::Heb => "he",
        Lang::Yid => "yi",
        Lang::Pol => "pl",
        Lang::Amh => "am",
        Lang::Jav => "jv",
        Lang::Kor => "ko",
        Lang::Nob => "nb",
        Lang::Dan => "da",
        Lang::Swe => "sv",
        Lang::Fin => "fi",
        Lang::Tur => "tr",
        Lang::Nld => "nl",
        Lang::Hun => "hu",
        Lang::Ces => "cs",
        Lang::Ell => "el",
        Lang::Bul => "bg",
        Lang::Bel => "be",
        Lang::Mar => "mr",
        Lang::Kan => "kn",
        Lang::Ron => "ro",
        Lang::Slv => "sl",
        Lang::Hrv => "hr",
        Lang::Srp => "sr",
        Lang::Mkd => "mk",
        Lang::Lit => "lt",
        Lang::Lav => "lv",
        Lang::Est => "et",
        Lang::Tam => "ta",
        Lang::Vie => "vi",
        Lang::Urd => "ur",
        Lang::Tha => "th",
        Lang::Guj => "gu",
        Lang::Uzb => "uz",
        Lang::Pan => "pa",
        Lang::Aze => "az",
        Lang::Ind => "id",
        Lang::Tel => "te",
        Lang::Pes => "fa",
        Lang::Mal => "ml",
        Lang::Ori => "or",
        Lang::Mya => "my",
        Lang::Nep => "ne",
        Lang::Sin => "si",
        Lang::Khm => "km",
        Lang::Tuk => "tk",
        Lang::Aka => "ak",
        Lang::Zul => "zu",
        Lang::Sna => "sn",
        Lang::Afr => "af",
        Lang::Lat => "la",
        Lang::Slk => "sk",
        Lang::Cat => "ca",
        Lang::Tgl => "tl",
        Lang::Hye => "hy",
        Lang::Cym => "cy",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn languages_are_told_apart() {
        for (text, tag) in [
            ("The quick brown fox jumps over the lazy dog, and then it rests in the shade of an old tree.", "en"),
            ("Der schnelle braune Fuchs springt über den faulen Hund und ruht sich dann im Schatten aus.", "de"),
            ("Съешь же ещё этих мягких французских булок, да выпей чаю перед долгой дорогой домой.", "ru"),
            ("Le vif renard brun saute par-dessus le chien paresseux, puis il se repose à l'ombre d'un arbre.", "fr"),
        ] {
            assert_eq!(detect(text).tag, tag);
        }
    }

    #[test]
    fn what_is_short_or_no_prose_is_undetermined() {
        for text in ["", "ok", "12 + 30 = 42", "1 2 3 4 5 6 7 8 9 10 11 12 13 14"] {
            assert_eq!(detect(text).tag, UNDETERMINED, "{text}");
        }
    }

    #[test]
    fn tags_are_checked() {
        assert_eq!(parse_tag("EN").as_deref(), Some("en"));
        assert_eq!(parse_tag("pt_BR").as_deref(), Some("pt-BR"));
        assert_eq!(parse_tag("zh-Hant-TW").as_deref(), Some("zh-Hant-TW"));
        for wrong in ["", "e", "english language", "en-", "12"] {
            assert_eq!(parse_tag(wrong), None, "{wrong}");
        }
    }
}
