//! What a bench found: rows of figures next to their baseline, goals, notes; as a table or as JSON.

use serde_json::{Value, json};

use super::{machine::Machine, stats::Summary};
use crate::cli::table::{Align, Table};

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Millis,
    Micros,
    Mebibytes,
    Kibibytes,
    MebibytesPerSecond,
    PerSecond,
    /// Thousandths of one core.
    Millicores,
    Sessions,
}

/// One thing that was measured, of one subject.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    /// Whose, such as `warm, 10 at a time`.
    pub(super) subject: String,
    /// What, such as `create`.
    pub(super) stage: &'static str,
    pub(super) unit: Unit,
    pub(super) summary: Summary,
    /// By the median of the baseline from the same run; `None` where there is none.
    pub(super) ratio: Option<f64>,
}

/// A figure that has a limit.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Goal {
    pub(super) name: String,
    pub(super) value: Option<f64>,
    pub(super) limit: f64,
    pub(super) sense: Sense,
    /// `ms`, `× raw`, ….
    pub(super) unit: &'static str,
}

/// On which side of its limit a figure should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sense {
    AtMost,
    AtLeast,
}

/// All of one run.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) bench: &'static str,
    pub(super) machine: Machine,
    pub(super) rows: Vec<Row>,
    pub(super) goals: Vec<Goal>,
    pub(super) notes: Vec<String>,
    /// Whether it ended before all was measured.
    incomplete: bool,
}

impl Unit {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Millis => "ms",
            Self::Micros => "µs",
            Self::Mebibytes => "MiB",
            Self::Kibibytes => "KiB",
            Self::MebibytesPerSecond => "MiB/s",
            Self::PerSecond => "1/s",
            Self::Millicores => "mcores",
            Self::Sessions => "sessions",
        }
    }
}

impl Goal {
    /// `None` where the figure is missing: a goal that was not measured was not met either.
    pub(super) fn met(&self) -> Option<bool> {
        self.value.map(|value| match self.sense {
            Sense::AtMost => value <= self.limit,
            Sense::AtLeast => value >= self.limit,
        })
    }
}

impl Report {
    pub(super) fn new(bench: &'static str, machine: Machine) -> Self {
        Self {
            bench,
            machine,
            rows: Vec::new(),
            goals: Vec::new(),
            notes: Vec::new(),
            incomplete: false,
        }
    }

    /// The rest is not measured, because of this.
    pub(super) fn stopped(&mut self, why: String) {
        self.incomplete = true;
        self.notes.push(why);
    }

    /// Whether everything that was meant to be tried was, and succeeded.
    pub(super) fn all_succeeded(&self) -> bool {
        !self.incomplete && self.rows.iter().all(|row| row.summary.failed == 0)
    }

    /// A figure of its own.
    pub(super) fn row(&mut self, subject: &str, stage: &'static str, unit: Unit, summary: Summary) {
        self.rows.push(Row {
            subject: subject.to_owned(),
            stage,
            unit,
            summary,
            ratio: None,
        });
    }

    /// A figure under its baseline; the ratio of their medians.
    pub(super) fn pair(
        &mut self,
        stage: &'static str,
        unit: Unit,
        (base_subject, base): (&str, Summary),
        own: (&str, Summary),
    ) -> Option<f64> {
        self.row(base_subject, stage, unit, base);
        self.beside(stage, unit, &base, own)
    }

    /// One more figure for a baseline that has its row; the ratio of their medians.
    pub(super) fn beside(
        &mut self,
        stage: &'static str,
        unit: Unit,
        base: &Summary,
        (subject, summary): (&str, Summary),
    ) -> Option<f64> {
        let ratio = summary.ratio_to(base);
        self.row(subject, stage, unit, summary);
        if let Some(row) = self.rows.last_mut() {
            row.ratio = ratio;
        }
        ratio
    }

    pub(super) fn find(&self, subject: &str, stage: &str) -> Option<&Row> {
        let wanted = |row: &&Row| row.subject == subject && row.stage == stage;
        self.rows.iter().find(wanted)
    }

    pub(super) fn text(&self) -> String {
        let mut table = Table::new([
            ("WHAT", Align::Left),
            ("STAGE", Align::Left),
            ("N", Align::Right),
            ("OK", Align::Right),
            ("P50", Align::Right),
            ("P95", Align::Right),
            ("P99", Align::Right),
            ("UNIT", Align::Left),
            ("× BASE", Align::Right),
        ]);
        for row in &self.rows {
            let Summary {
                count,
                failed,
                p50,
                p95,
                p99,
            } = row.summary;
            table.row([
                row.subject.clone(),
                row.stage.to_owned(),
                (count + failed).to_string(),
                row.summary
                    .success()
                    .map_or_else(dash, |success| format!("{success:.0}%")),
                number(p50),
                number(p95),
                number(p99),
                row.unit.as_str().to_owned(),
                row.ratio.map_or_else(dash, |ratio| format!("{ratio:.3}")),
            ]);
        }
        let mut text = format!("{}\n\n{table}", self.machine.line());
        if !self.goals.is_empty() {
            text += &format!("\n{}", self.goal_table());
        }
        for note in &self.notes {
            text += &format!("\n{note}");
        }
        if !self.notes.is_empty() {
            text.push('\n');
        }
        text
    }

    fn goal_table(&self) -> Table {
        let mut table = Table::new([
            ("GOAL", Align::Left),
            ("FOUND", Align::Right),
            ("LIMIT", Align::Right),
            ("UNIT", Align::Left),
            ("", Align::Left),
        ]);
        for goal in &self.goals {
            let sign = match goal.sense {
                Sense::AtMost => "≤",
                Sense::AtLeast => "≥",
            };
            let verdict = match goal.met() {
                Some(true) => "met",
                Some(false) => "missed",
                None => "not measured",
            };
            table.row([
                goal.name.clone(),
                number(goal.value),
                format!("{sign} {}", number(Some(goal.limit))),
                goal.unit.to_owned(),
                verdict.to_owned(),
            ]);
        }
        table
    }

    pub(super) fn json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            json!({
                "subject": row.subject,
                "stage": row.stage,
                "unit": row.unit.as_str(),
                "count": row.summary.count,
                "failed": row.summary.failed,
                "success_percent": row.summary.success(),
                "p50": row.summary.p50,
                "p95": row.summary.p95,
                "p99": row.summary.p99,
                "ratio_to_baseline": row.ratio,
            })
        });
        let goals = self.goals.iter().map(|goal| {
            let sense = match goal.sense {
                Sense::AtMost => "at_most",
                Sense::AtLeast => "at_least",
            };
            json!({
                "name": goal.name,
                "value": goal.value,
                sense: goal.limit,
                "unit": goal.unit,
                "met": goal.met(),
            })
        });
        json!({
            "bench": self.bench,
            "machine": self.machine.json(),
            "rows": rows.collect::<Vec<_>>(),
            "goals": goals.collect::<Vec<_>>(),
            "notes": self.notes,
        })
    }
}

fn dash() -> String {
    "-".to_owned()
}

/// With as many decimals as are worth reading.
fn number(value: Option<f64>) -> String {
    value.map_or_else(dash, |value| {
        if value.abs() < 10.0 {
            format!("{value:.2}")
        } else if value.abs() < 1000.0 {
            format!("{value:.1}")
        } else {
            format!("{value:.0}")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bench::stats::Samples;

    fn report() -> Report {
        let mut report = Report::new("lifecycle", Machine::default());
        let mut samples: Samples = [1.0, 2.0, 300.0].into_iter().collect();
        samples.fail();
        report.rows.push(Row {
            subject: "cold, 1 at a time".to_owned(),
            stage: "create",
            unit: Unit::Millis,
            summary: samples.summary(),
            ratio: Some(1.25),
        });
        report.goals.push(Goal {
            name: "cold create".to_owned(),
            value: Some(1.25),
            limit: 1.15,
            sense: Sense::AtMost,
            unit: "× bare",
        });
        report.notes.push("warm: there is no pool".to_owned());
        report
    }

    #[test]
    fn a_person_reads_figures_ratios_goals_and_notes() {
        let text = report().text();
        let row = text
            .lines()
            .find(|line| line.starts_with("cold, 1"))
            .unwrap();
        let cells: Vec<&str> = row.split_whitespace().skip(6).collect();
        assert_eq!(cells, ["4", "75%", "2.00", "300.0", "300.0", "ms", "1.250"]);
        assert!(text.contains("≤ 1.15"), "{text}");
        assert!(text.contains("missed"), "{text}");
        assert!(text.ends_with("warm: there is no pool\n"), "{text}");
    }

    #[test]
    fn a_program_reads_the_same() {
        let json = report().json();
        assert_eq!(json["rows"][0]["success_percent"], 75.0);
        assert_eq!(json["rows"][0]["ratio_to_baseline"], 1.25);
        assert_eq!(json["goals"][0]["at_most"], 1.15);
        assert_eq!(json["goals"][0]["met"], false);
        assert!(!report().all_succeeded());
    }

    #[test]
    fn what_was_not_measured_is_not_met() {
        let mut goal = report().goals.remove(0);
        goal.value = None;
        assert_eq!(goal.met(), None);
        goal.value = Some(1.15);
        assert_eq!(goal.met(), Some(true));
        goal.sense = Sense::AtLeast;
        goal.value = Some(1.1);
        assert_eq!(goal.met(), Some(false));
    }
}
