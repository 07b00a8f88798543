//! Every cell compared, and the table that a failure prints.

use std::{collections::BTreeSet, fmt::Write};

use serde_json::Value;

use super::{
    brands::normal,
    deviations::{DEVIATIONS, Deviation},
    site,
    tour::{Kind, Sighting},
    want::{Phone, Signals},
};
use crate::harness::Seen;

/// One signal of one target at one moment.
#[derive(Debug, Clone)]
pub struct Cell {
    pub target: &'static str,
    pub moment: &'static str,
    pub signal: String,
    pub want: Value,
    pub got: Value,
    /// How far off a number may be.
    slack: f64,
}

impl Cell {
    pub fn holds(&self) -> bool {
        // A whole number is the same with and without its point.
        match (self.want.as_f64(), self.got.as_f64()) {
            (Some(want), Some(got)) => (want - got).abs() <= self.slack,
            _ => self.want == self.got,
        }
    }

    fn excused(&self) -> Option<&'static Deviation> {
        DEVIATIONS.iter().find(|known| known.covers(self))
    }
}

/// All cells of these targets.
pub fn cells(phone: &Phone, seen: &[Sighting]) -> Vec<Cell> {
    let mut cells = Vec::new();
    for one in seen {
        let mut compare = |moment, want: Signals, got: &Value| {
            for (signal, want) in want {
                let got = normal(&got[signal.as_str()]);
                let target = one.target;
                // Zoomed out, a height is cut from physical pixels that are no whole CSS ones.
                let height = signal == "innerHeight" || signal == "visualViewport.height";
                let slack = f64::from(u8::from(one.kind == Kind::Wide && height));
                cells.push(Cell {
                    target,
                    moment,
                    signal,
                    want,
                    got,
                    slack,
                });
            }
        };
        if let Some(request) = &one.request {
            let got = serde_json::to_value(&request.headers).unwrap();
            compare("request", phone.headers(one), &got);
        }
        compare("first", phone.scripts(one, false), &one.report.first);
        compare("later", phone.scripts(one, true), &one.report.later);
        match (phone.high(one), &one.report.high) {
            (Value::Object(want), got) => {
                compare("high", want.into_iter().collect(), got);
            }
            (want, got) => compare(
                "high",
                [("all".to_owned(), want)].into(),
                &serde_json::json!({ "all": got }),
            ),
        }
    }
    cells
}

/// Fails with a table unless every cell holds, but for the known deviations.
pub fn assert_all_hold(who: &str, cells: &[Cell]) {
    let wrong: Vec<_> = cells
        .iter()
        .filter(|cell| !cell.holds() && cell.excused().is_none())
        .collect();
    assert!(
        wrong.is_empty(),
        "{who}: {} of {} cells do not hold\n{}",
        wrong.len(),
        cells.len(),
        table(&wrong)
    );
}

/// Fails when a deviation is listed that is none (any more).
pub fn assert_none_is_stale(cells: &[Cell]) {
    let real: BTreeSet<_> = cells
        .iter()
        .filter(|cell| !cell.holds())
        .filter_map(|cell| cell.excused().map(|known| known.signal))
        .collect();
    let stale: Vec<_> = DEVIATIONS
        .iter()
        .filter(|known| known.is_measured() && !real.contains(known.signal))
        .map(|known| known.signal)
        .collect();
    assert!(
        stale.is_empty(),
        "these hold and are no deviations any more; strike them from the list and README: {stale:?}"
    );
}

/// Fails for any request at all, of pages, frames, workers, pictures and reports, that is not the
/// phone's: hints may be absent, but never a desktop's.
pub fn assert_no_desktop(phone: &Phone, requests: &[Seen]) {
    let wrong: Vec<_> = requests
        .iter()
        .filter(|request| request.path != site::BYE)
        .filter(|request| !phone.sent(&request.headers))
        .collect();
    assert!(wrong.is_empty(), "requests of another device: {wrong:#?}");
}

/// Fails when the deviation of what a page sends while it is left is none any more.
pub fn assert_byes_are_not_ours(phone: &Phone, requests: &[Seen]) {
    let mut byes = requests.iter().filter(|request| request.path == site::BYE);
    assert!(
        byes.any(|bye| !phone.sent(&bye.headers)),
        "what a page sends when it is left is the phone's: strike it from the deviations"
    );
}

/// Signals down, with what was wanted and got; targets that agree share a line.
fn table(wrong: &[&Cell]) -> String {
    let mut rows: Vec<(String, String, String, Vec<String>)> = Vec::new();
    for cell in wrong {
        let (want, got) = (cell.want.to_string(), cell.got.to_string());
        let target = format!("{} ({})", cell.target, cell.moment);
        match rows
            .iter_mut()
            .find(|row| (&row.0, &row.1, &row.2) == (&cell.signal, &want, &got))
        {
            Some(row) => row.3.push(target),
            None => rows.push((cell.signal.clone(), want, got, vec![target])),
        }
    }
    rows.sort();
    let mut text = String::new();
    for (signal, want, got, targets) in rows {
        writeln!(
            text,
            "{signal}\n  want {want}\n  got  {got}\n  on   {}",
            targets.join(", ")
        )
        .unwrap();
    }
    text
}
