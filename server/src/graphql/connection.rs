//! Pages in the shape that Relay and its relatives expect, with opaque cursors.

use super::limits::COST_MAX;
use super::scalars::Long;
use crate::problem::Problem;
use async_graphql::{OutputType, SimpleObject, TypeName};
use std::borrow::Cow;

/// Items of one page when the query names no number.
pub(crate) const PAGE_DEFAULT: usize = 20;
/// Most items of one page.
pub(crate) const PAGE_MAX: usize = 500;

/// Where a page lies in the whole.
#[derive(Clone, Debug, Default, SimpleObject)]
pub(crate) struct PageInfo {
    /// Whether there may be items before this page.
    pub(crate) has_previous_page: bool,
    /// Whether there may be items after this page.
    pub(crate) has_next_page: bool,
    /// Pass it as `before` to get what precedes this page.
    pub(crate) start_cursor: Option<String>,
    /// Pass it as `after` to get what follows this page. It may lie behind the last edge where a filter dropped what came
    /// after that.
    pub(crate) end_cursor: Option<String>,
}

/// An item and where it stands.
#[derive(SimpleObject)]
#[graphql(name_type)]
pub(crate) struct Edge<T: OutputType> {
    /// Where this item stands.
    pub(crate) cursor: String,
    /// The item.
    pub(crate) node: T,
}

/// A page of items.
#[derive(SimpleObject)]
#[graphql(name_type)]
pub(crate) struct Connection<T: OutputType> {
    /// The items in order, each with its cursor.
    pub(crate) edges: Vec<Edge<T>>,
    /// The items in order.
    pub(crate) nodes: Vec<T>,
    /// Where the page lies.
    pub(crate) page_info: PageInfo,
    /// How many there are in all, the same on every page; null where that is not counted.
    pub(crate) total_count: Option<Long>,
}

impl<T: OutputType + Clone> Connection<T> {
    /// A page whose ends are its items' cursors.
    pub(crate) fn of(items: Vec<(String, T)>, has_previous_page: bool, has_next_page: bool) -> Self {
        let page_info = PageInfo {
            has_previous_page,
            has_next_page,
            start_cursor: items.first().map(|(cursor, _)| cursor.clone()),
            end_cursor: items.last().map(|(cursor, _)| cursor.clone()),
        };
        let nodes = items.iter().map(|(_, node)| node.clone()).collect();
        let edges = items.into_iter().map(|(cursor, node)| Edge { cursor, node }).collect();
        Self { edges, nodes, page_info, total_count: None }
    }
}

impl<T: OutputType> TypeName for Edge<T> {
    fn type_name() -> Cow<'static, str> {
        format!("{}Edge", T::type_name()).into()
    }
}

impl<T: OutputType> TypeName for Connection<T> {
    fn type_name() -> Cow<'static, str> {
        format!("{}Connection", T::type_name()).into()
    }
}

/// How many items a page is to have.
pub(crate) fn page_length(name: &str, given: Option<i32>) -> Result<usize, Problem> {
    match given {
        None => Ok(PAGE_DEFAULT),
        Some(n) => usize::try_from(n)
            .ok()
            .filter(|n| (1..=PAGE_MAX).contains(n))
            .ok_or_else(|| Problem::malformed(format!("{name}: {n} is not a whole number from 1 to {PAGE_MAX}"))),
    }
}

/// What a page costs: each item what its fields cost, up to a bound. Mirrors [`page_length`] for the complexity limit.
pub(crate) fn page_cost(given: Option<i32>, child: usize) -> usize {
    let items = given.map_or(PAGE_DEFAULT, |n| usize::try_from(n).unwrap_or(1).clamp(1, PAGE_MAX));
    1 + items.saturating_mul(child.max(1)).min(COST_MAX)
}
