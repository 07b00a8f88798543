//! How much fits on this host: a pure decision.

/// What an idle session takes, with room for a page.
const SESSION_MEMORY: u64 = 320 << 20;
/// The host, Docker and this program.
const RESERVED_MEMORY: u64 = 1 << 30;

/// How many sessions fit: the configured number, or as many as the host's memory holds.
#[must_use]
pub(super) fn capacity(configured: u32, memory_total: u64) -> u32 {
    if configured > 0 {
        return configured;
    }
    let fit = memory_total.saturating_sub(RESERVED_MEMORY) / SESSION_MEMORY;
    u32::try_from(fit).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capacity_follows_memory_unless_it_is_given() {
        assert_eq!(capacity(7, 1 << 30), 7);
        assert_eq!(capacity(0, 512 << 20), 1, "a small host still tries");
        assert_eq!(capacity(0, (1 << 30) + 10 * (320 << 20)), 10);
    }
}
