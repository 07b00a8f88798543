//! What an order is given: what stands or boots for it already, or room for an instance of its own.

use super::{
    Node, NodeError, NodeState,
    admission::{self, Room, Verdict},
    orders::not_ready,
    pool::{Found, Kind, Lack},
    substrates::Short,
};
use crate::{
    instance::View,
    journal::SessionRow,
    model::{InstanceId, SessionId, SessionSpec, Substrate},
    runtime::{boot_now, wall_now},
    session::{Given, Grant, Session, SlotChange},
};

impl Node {
    /// Takes an order in, unless there is one of this id already: then that one.
    ///
    /// # Errors
    /// [`NodeError`]: nothing was made.
    pub(super) fn admit(&self, id: SessionId, spec: SessionSpec) -> Result<Session, NodeError> {
        let state = self.state();
        if state != NodeState::Ready {
            return Err(not_ready(&state));
        }
        if let Some(refusal) = self.guard().refusal() {
            return Err(refusal.into());
        }
        let places = self.runs(&spec)?;
        let ids = (id, InstanceId::random());
        let row = SessionRow::ordered(ids, spec, (wall_now(), boot_now()?));
        let order = row.clone();
        let sessions = self.sessions();
        sessions.order(row, |living| self.grant(living, &order, places))
    }

    /// What a new session is given, beside those that live and run on this; its own kind has so many places.
    fn grant(
        &self,
        living: &[Substrate],
        order: &SessionRow,
        places: u32,
    ) -> Result<Grant, NodeError> {
        let (pool, kind) = (self.pool(), Kind::of(&order.spec));
        let found = pool.find(&kind, self.instances());
        let instance = found.instance();
        let lacks = match instance {
            // What is there has its memory and its place.
            Some(_) => Ok(None),
            None => self.bears_one_more(kind.substrate, living, places),
        };
        let route = lacks
            .and_then(|short| self.make_room(living.len(), short, &found))
            .and_then(|()| self.lead(instance.unwrap_or(order.instance), order));
        let route = match route {
            Ok(route) => route,
            Err(error) => {
                pool.put_back(found);
                return Err(error);
            }
        };
        pool.ordered(&kind, &found);
        let given = match found {
            Found::Nothing => Given::Nothing,
            Found::Parked(slot) => {
                self.tell(&slot, SlotChange::Claimed);
                Given::Parked(slot.id, slot.phone)
            }
            Found::Booting(id, _) => {
                tracing::info!(session = %order.id, instance = %id, "takes over a boot that is under way");
                Given::Booting(id)
            }
        };
        Ok(Grant { route, given })
    }

    /// Has one more session live beside so many, if it may; one that claims what is there takes no more of
    /// the host. What the pool keeps gives way where a place is needed, or the memory that is `short`.
    fn make_room(&self, live: usize, short: Option<Short>, found: &Found) -> Result<(), NodeError> {
        let (pool, max) = (self.pool(), self.max_sessions());
        let room = Room {
            max: usize::try_from(max).unwrap_or(usize::MAX),
            live,
            leaving: self.leaving(),
            kept: pool.kept(),
            starting: self.starting(),
            spare_memory: self.guard().spare_memory(),
        };
        let place = match admission::admit(room, found.instance().is_some()) {
            Verdict::Yes => false,
            Verdict::IfOneGivesWay => true,
            Verdict::No => return Err(NodeError::Full { max }),
            Verdict::NoMemory => {
                let starting = room.starting;
                return Err(NodeError::Short { starting });
            }
        };
        let memory = short.map_or(0, Short::bytes);
        let lack = Lack { place, memory };
        if lack == Lack::default() || pool.give_way(lack, self.instances()) {
            return Ok(());
        }
        Err(short.map_or(NodeError::Full { max }, NodeError::from))
    }

    /// Instances that are being removed.
    pub(super) fn destroying(&self) -> usize {
        self.that_leave(|_of| true)
    }

    /// Instances of this kind that are being removed: what they hold of the host is still theirs.
    pub(super) fn destroying_on(&self, substrate: Substrate) -> usize {
        self.that_leave(|of| of == substrate)
    }

    fn that_leave(&self, which: impl Fn(Substrate) -> bool) -> usize {
        let all = self.instances().all().into_iter();
        all.filter(|one| which(one.substrate) && matches!(one.view(), View::Destroying(_)))
            .count()
    }

    /// What is being started: the memory that is available now is theirs.
    fn starting(&self) -> usize {
        let all = self.instances().all().into_iter();
        all.filter(|one| matches!(one.view(), View::Starting(_)))
            .count()
    }

    /// What is being removed and has no session yet that was admitted in its place.
    fn leaving(&self) -> usize {
        let all = self.instances().all().into_iter();
        all.filter(|one| {
            matches!(one.view(), View::Destroying(_)) && !self.pool().gives_way(one.id)
        })
        .count()
    }
}
