//! What lifecycles are compared with, and what they should reach. Pure.

use crate::cli::bench::report::{Goal, Report, Sense};

/// The steps in their order, and two sums.
pub(super) const STAGES: [&str; 6] = [CREATE, CONNECT, GOTO, FIRST_PAGE, RELEASE, TOTAL];
pub(super) const CREATE: &str = "create";
pub(super) const CONNECT: &str = "connect";
pub(super) const GOTO: &str = "goto";
pub(super) const FIRST_PAGE: &str = "connect + goto";
pub(super) const RELEASE: &str = "release";
pub(super) const TOTAL: &str = "total";

pub(super) const RAW: &str = "raw";
pub(super) const BARE: &str = "bare docker run";
pub(super) const COLD: &str = "cold";
pub(super) const WARM: &str = "warm";

pub(super) fn named(kind: &str, at_a_time: usize) -> String {
    format!("{kind}, {at_a_time} at a time")
}

/// Puts the ratios in: what there is of it to a ready browser, the rest to one that Docker started.
pub(super) fn ratios(report: &mut Report, at_a_time: usize) {
    let baseline = |kind: &str, stage: &str| match (kind, stage) {
        (COLD, CREATE | RELEASE | TOTAL) => Some((BARE, stage.to_owned())),
        (COLD | WARM, CONNECT | GOTO | FIRST_PAGE) => Some((RAW, stage.to_owned())),
        (WARM, TOTAL) => Some((RAW, FIRST_PAGE.to_owned())),
        _ => None,
    };
    for kind in [COLD, WARM] {
        for stage in STAGES {
            let Some((of, base_stage)) = baseline(kind, stage) else {
                continue;
            };
            let base = report.find(&named(of, at_a_time), &base_stage);
            let base = base.map(|row| row.summary);
            let subject = named(kind, at_a_time);
            let row = report.rows.iter_mut();
            for row in row.filter(|row| row.subject == subject && row.stage == stage) {
                row.ratio = base.and_then(|base| row.summary.ratio_to(&base));
            }
        }
    }
}

pub(super) fn goals(report: &mut Report, at_a_time: usize) {
    let ratio = |kind: &str, stage: &str| report.find(&named(kind, at_a_time), stage)?.ratio;
    let summary = |stage: &str| {
        report
            .find(&named(WARM, at_a_time), stage)
            .map(|row| row.summary)
    };
    // Alone, what is usual counts; among many, what the unlucky get.
    let (which, create, limit) = if at_a_time == 1 {
        (
            "create, p50",
            summary(CREATE).and_then(|summary| summary.p50),
            10.0,
        )
    } else {
        (
            "create, p95",
            summary(CREATE).and_then(|summary| summary.p95),
            40.0,
        )
    };
    let release = summary(RELEASE).and_then(|summary| summary.p50);
    let has = |kind: &str| report.find(&named(kind, at_a_time), CREATE).is_some();
    let mut goals = Vec::new();
    let mut goal = |kind: &str, what: &str, value, limit, unit| {
        goals.push(Goal {
            name: format!("{}: {what}", named(kind, at_a_time)),
            value,
            limit,
            sense: Sense::AtMost,
            unit,
        });
    };
    if has(WARM) {
        goal(WARM, which, create, limit, "ms");
        goal(WARM, FIRST_PAGE, ratio(WARM, FIRST_PAGE), 1.10, "× raw");
        goal(WARM, "release, p50", release, 10.0, "ms");
        let total = ratio(WARM, TOTAL);
        goal(WARM, TOTAL, total, 1.25, "× raw connect + goto");
    }
    if has(COLD) {
        goal(COLD, CREATE, ratio(COLD, CREATE), 1.15, "× bare");
        goal(COLD, FIRST_PAGE, ratio(COLD, FIRST_PAGE), 1.10, "× raw");
    }
    report.goals.extend(goals);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bench::{
        machine::Machine,
        report::{Row, Unit},
        stats::Samples,
    };

    fn row(kind: &str, stage: &'static str, value: f64) -> Row {
        Row {
            subject: named(kind, 1),
            stage,
            unit: Unit::Millis,
            summary: [value].into_iter().collect::<Samples>().summary(),
            ratio: None,
        }
    }

    #[test]
    fn each_stage_is_compared_with_what_does_the_same_without_us() {
        let mut report = Report::new("lifecycle", Machine::default());
        report.rows = vec![
            row(RAW, FIRST_PAGE, 100.0),
            row(BARE, CREATE, 500.0),
            row(COLD, CREATE, 600.0),
            row(COLD, FIRST_PAGE, 105.0),
            row(WARM, CREATE, 8.0),
            row(WARM, TOTAL, 120.0),
        ];
        ratios(&mut report, 1);
        let ratio = |kind, stage| report.find(&named(kind, 1), stage).unwrap().ratio;
        assert_eq!(ratio(COLD, CREATE), Some(1.2));
        assert_eq!(ratio(COLD, FIRST_PAGE), Some(1.05));
        assert_eq!(ratio(WARM, TOTAL), Some(1.2));
        assert_eq!(ratio(WARM, CREATE), None);
        assert_eq!(ratio(RAW, FIRST_PAGE), None);

        goals(&mut report, 1);
        let met = |name: &str| {
            let goal = report.goals.iter().find(|goal| goal.name == name);
            goal.unwrap_or_else(|| panic!("{name}: {:?}", report.goals))
                .met()
        };
        assert_eq!(met("warm, 1 at a time: create, p50"), Some(true));
        assert_eq!(met("warm, 1 at a time: total"), Some(true));
        assert_eq!(met("warm, 1 at a time: release, p50"), None);
        assert_eq!(met("cold, 1 at a time: create"), Some(false));
    }
}
