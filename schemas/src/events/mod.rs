//! The payloads of all events, a module a family. A payload is a past-tense fact; its version never changes.

pub mod annotation;
pub mod cost;
pub mod custom;
pub mod data;
pub mod dataset;
pub mod deployment;
pub mod evaluation;
pub mod governance;
pub mod job;
pub mod judgment;
pub mod model;
pub mod training;

use crate::Links;

/// What every payload can say of itself.
pub trait Fact {
    /// What the event is about, where its producer does not say.
    fn stream(&self) -> String;
    /// The refs it used and produced, from its typed fields.
    fn links(&self) -> Links;
}

/// Attempts count from 1; a producer that never resumes need not say so.
pub(crate) fn first_attempt() -> u32 {
    1
}

/// Declares payload structs with the derives that all of them share: serde for JSON (unknown keys refused, absent
/// options left out), bincode for storage (untouched by serde's attributes), a JSON Schema.
macro_rules! facts {
    ($($(#[$meta:meta])* pub struct $name:ident { $($body:tt)* })*) => {$(
        #[serde_with::skip_serializing_none]
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize, bincode::Encode, bincode::Decode, schemars::JsonSchema)]
        #[serde(deny_unknown_fields)]
        $(#[$meta])*
        pub struct $name { $($body)* }
    )*};
}
/// Declares closed sets of words, written in `snake_case`.
macro_rules! words {
    ($($(#[$meta:meta])* pub enum $name:ident { $($body:tt)* })*) => {$(
        #[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, bincode::Encode, bincode::Decode, schemars::JsonSchema)]
        #[serde(rename_all = "snake_case")]
        $(#[$meta])*
        pub enum $name { $($body)* }
    )*};
}
/// What a family's payloads say of themselves: their stream by one expression, their links by one each.
macro_rules! streams {
    (|$stream_event:ident| $stream:expr; $($type:ident => |$event:ident| $links:expr;)*) => {$(
        impl $crate::events::Fact for $type {
            fn stream(&self) -> String {
                let $stream_event = self;
                $stream
            }
            fn links(&self) -> $crate::Links {
                let $event = self;
                $links
            }
        }
    )*};
}
pub(crate) use {facts, streams, words};
