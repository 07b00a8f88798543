//! What a campaign does next: pure, and the same for the same seed.

use rand::{Rng, rngs::StdRng};

/// Sessions at once, at most: a small machine must not be what decides.
const MOST: usize = 4;

/// One thing that is done. Nothing here cannot be put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Order a session and wait for it.
    Create,
    /// Order a session and kill the agent while it is made.
    CreateUnderKill,
    /// End the n-th.
    Delete(usize),
    /// End the n-th and kill the agent while it goes.
    DeleteUnderKill(usize),
    /// `kill -9` of the agent, and a new one.
    KillAgent,
    /// `kill -9` of the relay.
    KillRelay,
    /// `kill -9` of the n-th's browser.
    KillBrowser(usize),
    /// `docker kill` of the n-th's container.
    KillContainer(usize),
    /// Freezes the n-th's container for a moment.
    Freeze(usize),
    /// Nothing for a moment.
    Rest,
}

impl Action {
    /// Chooses, knowing how many sessions live.
    pub(super) fn choose(random: &mut StdRng, live: usize) -> Self {
        if live == 0 {
            return Self::Create;
        }
        let which = random.random_range(0..live);
        match random.random_range(0..100_u32) {
            0..25 if live < MOST => Self::Create,
            25..35 if live < MOST => Self::CreateUnderKill,
            0..40 => Self::Delete(which),
            40..48 => Self::DeleteUnderKill(which),
            48..60 => Self::KillAgent,
            60..70 => Self::KillRelay,
            70..78 => Self::KillBrowser(which),
            78..86 => Self::KillContainer(which),
            86..93 => Self::Freeze(which),
            _ => Self::Rest,
        }
    }

    /// The word of the report.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::CreateUnderKill => "create, agent killed",
            Self::Delete(_) => "delete",
            Self::DeleteUnderKill(_) => "delete, agent killed",
            Self::KillAgent => "agent killed",
            Self::KillRelay => "relay killed",
            Self::KillBrowser(_) => "browser killed",
            Self::KillContainer(_) => "container killed",
            Self::Freeze(_) => "container frozen",
            Self::Rest => "rest",
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn campaign(seed: u64) -> Vec<Action> {
        let mut random = StdRng::seed_from_u64(seed);
        (0..400)
            .map(|step| Action::choose(&mut random, step % (MOST + 1)))
            .collect()
    }

    #[test]
    fn a_seed_is_a_campaign_and_every_kind_of_action_comes() {
        assert_eq!(campaign(7), campaign(7));
        assert_ne!(campaign(7), campaign(8));
        let words: std::collections::BTreeSet<_> =
            campaign(7).into_iter().map(Action::as_str).collect();
        assert_eq!(words.len(), 10, "{words:?}");
    }

    #[test]
    fn a_full_house_takes_nobody_and_only_the_living_are_hurt() {
        for seed in 0..200 {
            let mut random = StdRng::seed_from_u64(seed);
            let action = Action::choose(&mut random, MOST);
            assert!(!matches!(action, Action::Create | Action::CreateUnderKill));
            if let Action::Delete(n) | Action::KillBrowser(n) | Action::Freeze(n) =
                Action::choose(&mut random, 2)
            {
                assert!(n < 2);
            }
        }
    }
}
