//! What operators' tools are told, in the wire's words.

use crate::{
    node::{Capacity, HookStatus, Operations},
    routes::Health,
    runtime::{BOUNDS, StepTimes},
    session::{Carried, Usage},
    wire::node as pb,
};

use super::{convert, route::faults};

pub(super) fn operations(of: Operations) -> pb::Operations {
    let traffic = of.tally.traffic.plus(of.live);
    let ended = of.tally.endings.into_iter();
    let ended = ended.map(|((reason, blame, substrate), count)| pb::EndedSessions {
        reason: reason.to_owned(),
        blame: blame.to_owned(),
        substrate: substrate.to_owned(),
        count,
    });
    let pressure = of.pressure.into_iter().map(|one| pb::Pressure {
        resource: one.resource.to_owned(),
        share: one.share.to_owned(),
        last_ten_seconds: one.last_ten_seconds,
        stalled: convert::duration(one.stalled),
    });
    pb::Operations {
        steps: of.steps.into_iter().map(step).collect(),
        ended: ended.collect(),
        pressure: pressure.collect(),
        traffic: Some(convert::traffic(traffic)),
        capacity: Some(capacity(of.capacity)),
        hooks: of.hooks.into_iter().map(hook).collect(),
        last_event: of.last_event,
        routes: of.routes.into_iter().map(route).collect(),
    }
}

fn route((route, (carried, health)): (String, (Carried, Health))) -> pb::RouteUse {
    pb::RouteUse {
        route,
        sessions: carried.sessions,
        traffic: Some(convert::traffic(carried.traffic)),
        served: health.counts().0,
        faults: faults(&health),
        target_failed: health.targets(),
    }
}

fn step(of: StepTimes) -> pb::StepTimes {
    let (way, step) = of.step.words();
    pb::StepTimes {
        way: way.to_owned(),
        step: step.to_owned(),
        seconds: of.seconds,
        bounds: BOUNDS.to_vec(),
        buckets: of.buckets,
    }
}

fn hook(of: HookStatus) -> pb::HookQueue {
    pb::HookQueue {
        target: of.target.to_owned(),
        pending: of.pending,
        delivered: of.delivered,
        failed: of.failed,
        dropped: of.dropped,
    }
}

const fn capacity(of: Capacity) -> pb::Capacity {
    pb::Capacity {
        safe_to_terminate: of.safe_to_terminate,
        slots: of.slots,
        free: of.free,
        free_warm: of.free_warm,
        pending_claims: of.pending_claims,
        draining: of.draining,
    }
}

pub(super) fn usage(of: Usage) -> pb::Usage {
    pb::Usage {
        memory_bytes: of.memory,
        cpu: convert::duration(of.cpu),
        cdp_clients: of.clients,
        connections: of.connections,
    }
}
