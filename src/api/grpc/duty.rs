//! The calls that take a node out of service, and those about who owns what.

use std::{collections::HashSet, time::Duration};

use tonic::Status;

use super::{convert::timestamp, validate};
use crate::{
    model::{Duty, SessionId},
    node::{LeaseStatus, Node, Ownership},
    wire::node as pb,
};

const SHORTEST_LEASE: Duration = Duration::from_secs(1);
const LONGEST_LEASE: Duration = Duration::from_secs(3600);
/// Longer than any session lives.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// Where a node stands, for the wire.
pub(super) fn duty(duty: Duty, sessions: usize) -> pb::Duty {
    let (state, deadline) = match duty {
        Duty::On => (pb::DutyState::On, None),
        Duty::Cordoned => (pb::DutyState::Cordoned, None),
        Duty::Draining { deadline, .. } => (pb::DutyState::Draining, Some(timestamp(deadline))),
        Duty::Drained => (pb::DutyState::Drained, None),
    };
    pb::Duty {
        state: state.into(),
        deadline,
        sessions: u32::try_from(sessions).unwrap_or(u32::MAX),
    }
}

pub(super) fn of(node: &Node, stands: Duty) -> Option<pb::Duty> {
    Some(duty(stands, node.live()))
}

/// A span of time that may be left out.
pub(super) fn span(
    field: &'static str,
    span: Option<prost_types::Duration>,
) -> Result<Option<Duration>, Status> {
    let Some(span) = span else { return Ok(None) };
    match Duration::try_from(span) {
        Ok(span) if span <= LONGEST => Ok(Some(span)),
        Ok(_) | Err(_) => Err(validate::invalid(field, "from 0 s to 7 days")),
    }
}

/// The ids that a caller owns; none only where it says so.
pub(super) fn owned(request: &pb::ReconcileRequest) -> Result<HashSet<SessionId>, Status> {
    let ids = &request.owned_session_ids;
    if ids.is_empty() && !request.owns_nothing {
        return Err(validate::invalid(
            "owned_session_ids",
            "a list of ids, or empty with `owns_nothing` set",
        ));
    }
    if !ids.is_empty() && request.owns_nothing {
        return Err(validate::invalid(
            "owns_nothing",
            "false where ids are named",
        ));
    }
    ids.iter().map(|id| validate::session_id(id)).collect()
}

pub(super) fn lease(of: LeaseStatus) -> pb::Lease {
    pb::Lease {
        epoch: of.epoch,
        expires_at: Some(timestamp(of.expires_at)),
        suspended: of.suspended,
    }
}

/// How long a lease is granted for: long enough to be renewed, short enough to matter.
pub(super) fn ttl(ttl: Option<prost_types::Duration>) -> Result<Duration, Status> {
    match span("ttl", ttl)? {
        Some(ttl) if (SHORTEST_LEASE..=LONGEST_LEASE).contains(&ttl) => Ok(ttl),
        Some(_) | None => Err(validate::invalid("ttl", "from 1 s to 1 hour")),
    }
}

pub(super) fn ownership(of: Ownership) -> pb::ReconcileResponse {
    let words = |ids: Vec<SessionId>| ids.into_iter().map(String::from).collect();
    pb::ReconcileResponse {
        disowned_session_ids: words(of.disowned),
        absent_session_ids: words(of.absent),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_list_needs_the_word_that_it_is_meant() {
        let request = |ids: &[&str], owns_nothing| pb::ReconcileRequest {
            owned_session_ids: ids.iter().map(|id| (*id).to_owned()).collect(),
            owns_nothing,
            grace: None,
        };
        let id = SessionId::random();
        owned(&request(&[], false)).unwrap_err();
        assert_eq!(owned(&request(&[], true)).unwrap(), HashSet::new());
        owned(&request(&[id.as_str()], true)).unwrap_err();
        owned(&request(&["sess_x"], false)).unwrap_err();
        let named = owned(&request(&[id.as_str()], false)).unwrap();
        assert_eq!(named, HashSet::from([id]));
    }

    #[test]
    fn a_deadline_may_be_absent_or_zero_but_not_negative_or_endless() {
        let of = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
        assert_eq!(span("deadline", None).unwrap(), None);
        assert_eq!(span("deadline", of(0)).unwrap(), Some(Duration::ZERO));
        span("deadline", of(-1)).unwrap_err();
        span("deadline", of(i64::MAX)).unwrap_err();
    }
}
