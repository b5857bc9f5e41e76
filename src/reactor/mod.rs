//! Connections and readiness: from received bytes to items, from frames to gathered writes.

mod inbound;

pub use inbound::{Failure, Inbound, Item, Place};
