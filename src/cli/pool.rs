//! The warm pool in `chaser node status`.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    output,
    table::{Align, Table},
};
use crate::wire::node as pb;

/// Seconds, where there are any.
fn seconds(of: Option<&prost_types::Duration>) -> Option<f64> {
    let of = Duration::try_from(*of?).ok()?;
    Some(of.as_secs_f64())
}

pub(super) fn json(pool: &[pb::PoolProfile]) -> Vec<Value> {
    let profile = |of: &pb::PoolProfile| {
        json!({
            "profile": of.profile,
            "target": of.target,
            "parked": of.parked,
            "starting": of.starting,
            "hits": of.hits,
            "misses": of.misses,
            "taken_over": of.taken_over,
            "refills": of.refills,
            "last_refill_seconds": seconds(of.last_refill.as_ref()),
            "oldest_seconds": seconds(of.oldest.as_ref()),
            "retired": of.retired,
        })
    };
    pool.iter().map(profile).collect()
}

pub(super) fn show(pool: Vec<pb::PoolProfile>) {
    let mut table = Table::new([
        ("WARM PROFILE", Align::Left),
        ("PARKED", Align::Right),
        ("STARTING", Align::Right),
        ("TARGET", Align::Right),
        ("HITS", Align::Right),
        ("MISSES", Align::Right),
        ("TAKEN OVER", Align::Right),
        ("LAST REFILL", Align::Right),
        ("OLDEST", Align::Right),
    ]);
    let shown = |of: Option<&prost_types::Duration>| {
        seconds(of).map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.1} s"))
    };
    for of in pool {
        table.row([
            of.profile,
            of.parked.to_string(),
            of.starting.to_string(),
            of.target.to_string(),
            of.hits.to_string(),
            of.misses.to_string(),
            of.taken_over.to_string(),
            shown(of.last_refill.as_ref()),
            shown(of.oldest.as_ref()),
        ]);
    }
    output::line("");
    output::print(table);
}
