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
    /// Stops the n-th's browser for a moment.
    Freeze(usize),
    /// `docker pause` of the n-th's container for a moment.
    Pause(usize),
    /// Takes more memory than the n-th's container has.
    Exhaust(usize),
    /// Fills the disk that the state is on, and makes room again.
    FillDisk,
    /// Stops Docker as an operator does, and starts it again.
    StopDocker,
    /// `kill -9` of Docker, and another.
    KillDocker,
    /// Nothing for a moment.
    Rest,
}

type Chance = (u32, fn(usize) -> Action);

/// Chance of each of a hundred, while there is room for more sessions.
const CHANCES: [Chance; 15] = [
    (24, |_| Action::Create),
    (9, |_| Action::CreateUnderKill),
    (6, Action::Delete),
    (7, Action::DeleteUnderKill),
    (9, |_| Action::KillAgent),
    (8, |_| Action::KillRelay),
    (6, Action::KillBrowser),
    (6, Action::KillContainer),
    (4, Action::Freeze),
    (4, Action::Pause),
    (5, Action::Exhaust),
    (3, |_| Action::FillDisk),
    (2, |_| Action::StopDocker),
    (2, |_| Action::KillDocker),
    (5, |_| Action::Rest),
];

impl Action {
    /// Chooses, knowing how many sessions live.
    pub(super) fn choose(random: &mut StdRng, live: usize) -> Self {
        if live == 0 {
            return Self::Create;
        }
        let which = random.random_range(0..live);
        let mut left = random.random_range(0..100_u32);
        for (chance, action) in CHANCES {
            if left < chance {
                let action = action(which);
                // A full house takes nobody.
                let full = live >= MOST;
                let creates = matches!(action, Self::Create | Self::CreateUnderKill);
                return if full && creates {
                    Self::Delete(which)
                } else {
                    action
                };
            }
            left -= chance;
        }
        Self::Rest
    }

    /// Whether it takes a Docker that may be stopped.
    pub(super) const fn needs_docker(self) -> bool {
        matches!(self, Self::StopDocker | Self::KillDocker)
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
            Self::Freeze(_) => "browser stopped",
            Self::Pause(_) => "container paused",
            Self::Exhaust(_) => "memory exhausted",
            Self::FillDisk => "disk filled",
            Self::StopDocker => "Docker stopped",
            Self::KillDocker => "Docker killed",
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
        (0..800)
            .map(|step| Action::choose(&mut random, step % (MOST + 1)))
            .collect()
    }

    #[test]
    fn a_seed_is_a_campaign_and_every_kind_of_action_comes() {
        assert_eq!(campaign(7), campaign(7));
        assert_ne!(campaign(7), campaign(8));
        let words: std::collections::BTreeSet<_> =
            campaign(7).into_iter().map(Action::as_str).collect();
        assert_eq!(words.len(), CHANCES.len(), "{words:?}");
        assert_eq!(CHANCES.iter().map(|(chance, _)| chance).sum::<u32>(), 100);
    }

    #[test]
    fn a_full_house_takes_nobody_and_only_the_living_are_hurt() {
        for seed in 0..200 {
            let mut random = StdRng::seed_from_u64(seed);
            let action = Action::choose(&mut random, MOST);
            assert!(!matches!(action, Action::Create | Action::CreateUnderKill));
            if let Action::Delete(n)
            | Action::KillBrowser(n)
            | Action::Freeze(n)
            | Action::Pause(n)
            | Action::Exhaust(n) = Action::choose(&mut random, 2)
            {
                assert!(n < 2);
            }
        }
    }
}
