//! How a boot goes, as a device's properties tell it. Pure.

use super::ladder::Seen;

/// One question for all that tells how a boot goes.
pub(super) const ASK_BOOT: &str = "echo boot=$(getprop sys.boot_completed); \
                        echo animation=$(getprop init.svc.bootanim); \
                        echo zygote=$(getprop init.svc.zygote); \
                        echo server=$(pidof system_server)";

/// What was seen of a boot last.
#[derive(Debug, Default)]
pub(super) struct Boot {
    restarting: bool,
    server: String,
}

impl Boot {
    /// Judges an answer to [`ASK_BOOT`].
    pub(super) fn look(&mut self, said: &str) -> Seen {
        let value = |key: &str| {
            let mut pairs = said.lines().filter_map(|line| line.split_once('='));
            pairs
                .find(|(name, _)| *name == key)
                .map_or("", |(_, value)| value.trim())
        };
        let (restarting, server) = (value("zygote") == "restarting", value("server"));
        let began_again = restarting && !self.restarting;
        let another = !server.is_empty() && !self.server.is_empty() && server != self.server;
        self.restarting = restarting;
        if !server.is_empty() {
            server.clone_into(&mut self.server);
        }
        if began_again || another {
            return Seen::ZygoteDied;
        }
        // A device may have no boot animation at all.
        if value("boot") == "1" && matches!(value("animation"), "stopped" | "") {
            return Seen::There;
        }
        Seen::NotYet(said.lines().collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(boot: &str, animation: &str, zygote: &str, server: &str) -> String {
        format!("boot={boot}\nanimation={animation}\nzygote={zygote}\nserver={server}")
    }

    #[test]
    fn a_boot_is_over_when_its_animation_is() {
        let mut boot = Boot::default();
        let not_yet = boot.look(&said("", "running", "running", ""));
        assert!(matches!(not_yet, Seen::NotYet(_)));
        let not_yet = boot.look(&said("1", "running", "running", "900"));
        assert!(matches!(not_yet, Seen::NotYet(_)));
        assert_eq!(
            boot.look(&said("1", "stopped", "running", "900")),
            Seen::There
        );
        assert_eq!(boot.look(&said("1", "", "running", "900")), Seen::There);
    }

    #[test]
    fn a_death_of_zygote_is_seen_once() {
        let mut boot = Boot::default();
        let mut look = |zygote, server| boot.look(&said("", "running", zygote, server));
        assert!(matches!(look("running", "900"), Seen::NotYet(_)));
        assert_eq!(look("restarting", ""), Seen::ZygoteDied);
        assert!(matches!(look("restarting", ""), Seen::NotYet(_)));
        assert!(matches!(look("running", ""), Seen::NotYet(_)));
        assert_eq!(look("running", "1200"), Seen::ZygoteDied);
        assert!(matches!(look("running", "1200"), Seen::NotYet(_)));
    }
}
