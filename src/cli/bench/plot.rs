//! A report as an SVG picture: one bar per row up to its median, a whisker to its 95th percentile,
//! one panel with a scale of its own per unit. Pure.

use std::fmt::Write;

use super::{
    report::{Report, Row, Unit},
    stats::whole,
};

const WIDTH: f64 = 1000.0;
/// Where bars begin: left of it stand their names.
const LEFT: f64 = 330.0;
/// Kept free at the right for the figures.
const RIGHT: f64 = 150.0;
const LINE: f64 = 22.0;
const HEAD: f64 = 64.0;
const PANEL: f64 = 36.0;

/// The whole picture.
pub(super) fn svg(report: &Report) -> String {
    let mut body = String::new();
    let mut y = HEAD;
    for (unit, rows) in panels(&report.rows) {
        panel(&mut body, unit, &rows, y);
        y += PANEL + LINE * whole(rows.len());
    }
    let height = y + LINE;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"16\" y=\"26\" font-size=\"17\">chaser bench {}</text>\n\
         <text x=\"16\" y=\"46\" fill=\"#666\">{}; bars to the median, whiskers to p95</text>\n\
         {body}</svg>\n",
        escape(report.bench),
        escape(&report.machine.line()),
    )
}

/// Rows by unit, in the order in which units first appear.
fn panels(rows: &[Row]) -> Vec<(Unit, Vec<&Row>)> {
    let mut panels: Vec<(Unit, Vec<&Row>)> = Vec::new();
    for row in rows.iter().filter(|row| row.summary.p50.is_some()) {
        match panels.iter_mut().find(|(unit, _)| *unit == row.unit) {
            Some((_, rows)) => rows.push(row),
            None => panels.push((row.unit, vec![row])),
        }
    }
    panels
}

fn panel(out: &mut String, unit: Unit, rows: &[&Row], top: f64) {
    let largest = rows
        .iter()
        .filter_map(|row| row.summary.p95.or(row.summary.p50));
    let largest = largest.fold(f64::MIN_POSITIVE, f64::max);
    let scale = (WIDTH - LEFT - RIGHT) / largest;
    // Writing into a `String` cannot fail.
    let _infallible = writeln!(
        out,
        "<text x=\"{LEFT}\" y=\"{:.1}\" fill=\"#666\">{}</text>",
        top + 18.0,
        unit.as_str()
    );
    for (index, row) in rows.iter().enumerate() {
        let y = top + PANEL + LINE * whole(index);
        bar(out, row, y, scale);
    }
}

fn bar(out: &mut String, row: &Row, y: f64, scale: f64) {
    let (p50, p95) = (
        row.summary.p50.unwrap_or(0.0),
        row.summary.p95.unwrap_or(0.0),
    );
    let (median, tail) = (LEFT + p50 * scale, LEFT + p95.max(p50) * scale);
    let name = escape(&format!("{}: {}", row.subject, row.stage));
    let ratio = row
        .ratio
        .map_or_else(String::new, |ratio| format!(" (× {ratio:.2})"));
    let middle = y - 4.0;
    let _infallible = write!(
        out,
        "<text x=\"{:.1}\" y=\"{y:.1}\" text-anchor=\"end\">{name}</text>\n\
         <rect x=\"{LEFT}\" y=\"{:.1}\" width=\"{:.1}\" height=\"13\" fill=\"{}\"/>\n\
         <path d=\"M{median:.1} {middle:.1}H{tail:.1}M{tail:.1} {:.1}V{:.1}\" stroke=\"#333\"/>\n\
         <text x=\"{:.1}\" y=\"{y:.1}\">{p50:.2}{ratio}</text>\n",
        LEFT - 8.0,
        y - 11.0,
        median - LEFT,
        if row.ratio.is_some() {
            "#3b7dd8"
        } else {
            "#b0b7c3"
        },
        middle - 4.0,
        middle + 4.0,
        tail + 6.0,
    );
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bench::{machine::Machine, stats::Samples};

    fn row(subject: &str, unit: Unit, values: &[f64]) -> Row {
        Row {
            subject: subject.to_owned(),
            stage: "goto",
            unit,
            summary: values.iter().copied().collect::<Samples>().summary(),
            ratio: None,
        }
    }

    #[test]
    fn every_row_that_was_measured_has_a_bar_within_the_picture() {
        let mut report = Report::new("cdp", Machine::default());
        report.rows = vec![
            row("a<b", Unit::Millis, &[1.0, 2.0, 400.0]),
            row("wide", Unit::Millis, &[1e9]),
            row("nothing", Unit::Millis, &[]),
        ];
        let svg = svg(&report);
        assert_eq!(svg.matches("fill=\"#b0b7c3\"").count(), 2, "{svg}");
        assert!(
            svg.contains("a&lt;b: goto") && !svg.contains("nothing"),
            "{svg}"
        );
        for width in svg.split("width=\"").skip(2) {
            let (number, _) = width.split_once('"').unwrap();
            assert!(number.parse::<f64>().unwrap() <= WIDTH, "{number}");
        }
        assert_eq!(svg.matches("<svg").count(), svg.matches("</svg>").count());
    }
}
