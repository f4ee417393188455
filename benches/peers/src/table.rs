//! Tables in Markdown.

use crate::measure::Figures;

/// Prints a table: its heading, the names of its columns and its rows.
pub fn print(heading: &str, columns: &[&str], rows: &[Vec<String>]) {
    println!("\n### {heading}\n");
    println!("| {} |", columns.join(" | "));
    println!("|---|{}", "---:|".repeat(columns.len().saturating_sub(1)));
    for row in rows {
        println!("| {} |", row.join(" | "));
    }
}

/// A time, in a suitable unit.
pub fn time(seconds: f64) -> String {
    if seconds >= 1e-3 {
        format!("{:.2} ms", seconds * 1e3)
    } else if seconds >= 1e-5 {
        format!("{:.2} µs", seconds * 1e6)
    } else {
        format!("{:.0} ns", seconds * 1e9)
    }
}

pub fn ratio(ratio: f64) -> String {
    if ratio >= 20.0 {
        format!("{ratio:.0}")
    } else {
        format!("{ratio:.2}")
    }
}

/// The median of the ratios of all rounds, and the ratio of the shortest times.
pub fn both_ratios(row: &Figures, base: &Figures) -> String {
    let least = row.least() / base.least();
    format!("{} ({})", ratio(row.times(base)), ratio(least))
}

/// The number of allocations of one request.
pub fn count(count: f64) -> String {
    let whole = count.round();
    if (count - whole).abs() < 0.05 {
        format!("{whole:.0}")
    } else {
        format!("{count:.1}")
    }
}

/// Prints a row for each contender: median, shortest time, ratios to some contenders, allocations.
pub fn race(heading: &str, figures: &[Figures], beside: &[(&str, &str)]) {
    let mut columns = vec!["contender", "median", "least"];
    columns.extend(beside.iter().map(|(_, column)| *column));
    columns.push("allocations");
    let rows: Vec<_> = figures
        .iter()
        .map(|row| {
            let mut cells = vec![row.name.clone(), time(row.median()), time(row.least())];
            for (base, _) in beside {
                let base = figures.iter().find(|other| other.name == *base);
                cells.push(base.map_or_else(String::new, |base| both_ratios(row, base)));
            }
            cells.push(count(row.allocations));
            cells
        })
        .collect();
    print(heading, &columns, &rows);
}
