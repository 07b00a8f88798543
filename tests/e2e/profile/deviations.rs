//! Where Chromium on Linux cannot be made to agree with Chrome on Android. README has the same list.

use super::verdict::Cell;

/// One of them.
#[derive(Debug)]
pub struct Deviation {
    /// As README's table names it.
    pub signal: &'static str,
    /// Signals of the matrix that it excuses.
    signals: &'static [&'static str],
    /// Targets where; empty means all.
    targets: &'static [&'static str],
}

/// In README's order and words. Those without a signal are seen by eye or with another machine.
pub const DEVIATIONS: &[Deviation] = &[
    everywhere(
        "WebGL and WebGPU adapter, vendor, renderer, limits",
        &["WebGL vendor", "WebGL renderer"],
    ),
    Deviation {
        signal: "`outerWidth`, `outerHeight` in an out-of-process iframe",
        signals: &["outerWidth", "outerHeight"],
        targets: &["cross-site frame", "nested frame"],
    },
    everywhere("`100svh`, `100lvh`", &["100lvh - 100svh"]),
    everywhere(
        "text autosizing of pages without a viewport tag",
        &["text autosizing"],
    ),
    everywhere("`pageshow.persisted`", &["pageshow.persisted"]),
    everywhere("fonts by name", &["Noto by name"]),
    everywhere("`navigator.connection` on mobile data", &[]),
    everywhere("voices, cameras, microphones, battery", &["voices"]),
    everywhere(
        "the browser's own words (`validationMessage`, file inputs) in another language than English",
        &[],
    ),
    everywhere("interfaces that only one of the two has", &["compiled in"]),
    everywhere(
        "client hints of what a page sends while it is left (`sendBeacon` in `pagehide`)",
        &[],
    ),
    Deviation {
        signal: "speculation rules",
        signals: &["document.prerendering"],
        targets: &["speculated page"],
    },
];

const fn everywhere(signal: &'static str, signals: &'static [&'static str]) -> Deviation {
    Deviation {
        signal,
        signals,
        targets: &[],
    }
}

#[test]
fn readme_says_the_same() {
    let readme = std::fs::read_to_string("README.md").unwrap();
    let table = readme
        .lines()
        .skip_while(|line| !line.starts_with("| signal | phone | ours | why |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let told: Vec<_> = table
        .map(|row| row.split('|').nth(1).unwrap().trim())
        .collect();
    let known: Vec<_> = DEVIATIONS.iter().map(|known| known.signal).collect();
    assert_eq!(told, known);
}

impl Deviation {
    pub const fn is_measured(&self) -> bool {
        !self.signals.is_empty()
    }

    pub fn covers(&self, cell: &Cell) -> bool {
        self.signals.contains(&cell.signal.as_str())
            && (self.targets.is_empty() || self.targets.contains(&cell.target))
    }
}
