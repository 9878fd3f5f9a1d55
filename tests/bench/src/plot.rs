//! Curves as SVG.

use anyhow::{Context, anyhow};
use plotters::prelude::*;
use std::path::Path;

/// One curve; `x` grows.
#[derive(Clone, Debug)]
pub struct Curve {
    /// For the legend.
    pub name: String,
    /// Its points.
    pub points: Vec<(f64, f64)>,
}

/// What a plot shows.
#[derive(Clone, Debug)]
pub struct Plot {
    /// Above it.
    pub title: String,
    /// What `x` is, with its unit; the axis is logarithmic.
    pub x: String,
    /// What `y` is, with its unit.
    pub y: String,
    /// The end of that axis; it begins at 0.
    pub y_max: f64,
    /// The curves.
    pub curves: Vec<Curve>,
}

const COLOURS: [RGBColor; 6] = [
    RGBColor(0xd6, 0x27, 0x28),
    RGBColor(0x1f, 0x77, 0xb4),
    RGBColor(0x2c, 0xa0, 0x2c),
    RGBColor(0xff, 0x7f, 0x0e),
    RGBColor(0x94, 0x67, 0xbd),
    RGBColor(0x7f, 0x7f, 0x7f),
];

/// Draws it into a file.
///
/// # Errors
/// There is nothing to draw, or the file cannot be written.
pub fn draw(plot: &Plot, path: &Path) -> anyhow::Result<()> {
    let xs = || plot.curves.iter().flat_map(|curve| curve.points.iter().map(|(x, _)| *x));
    let (low, high) = (xs().fold(f64::MAX, f64::min), xs().fold(0.0, f64::max));
    anyhow::ensure!(low > 0.0 && low < high, "{}: no range to draw", plot.title);
    let mut text = String::new();
    fill(plot, (low, high), &mut text)
        .map_err(|error| anyhow!("draw {}: {error}", path.display()))?;
    std::fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

fn fill(
    plot: &Plot,
    (low, high): (f64, f64),
    text: &mut String,
) -> Result<(), Box<dyn std::error::Error>> {
    // Where the curves begin, the legend is not.
    let begins = plot.curves.iter().filter_map(|curve| curve.points.first());
    let corner = if begins.clone().any(|(_, y)| *y > plot.y_max / 2.0) {
        SeriesLabelPosition::LowerLeft
    } else {
        SeriesLabelPosition::UpperLeft
    };
    let root = SVGBackend::with_string(text, (640, 360)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(&plot.title, ("sans-serif", 16))
        .margin(10)
        .x_label_area_size(38)
        .y_label_area_size(48)
        .build_cartesian_2d((low..high).log_scale(), 0.0..plot.y_max)?;
    chart
        .configure_mesh()
        .x_desc(&plot.x)
        .y_desc(&plot.y)
        .max_light_lines(1)
        .light_line_style(WHITE)
        .label_style(("sans-serif", 12))
        .draw()?;
    for (curve, colour) in plot.curves.iter().zip(COLOURS.iter().cycle()) {
        let colour = *colour;
        let line = LineSeries::new(curve.points.iter().copied(), colour.stroke_width(2));
        chart
            .draw_series(line.point_size(3))?
            .label(&curve.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(corner)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .label_font(("sans-serif", 12))
        .draw()?;
    root.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_shows_its_curves_and_nothing_is_drawn_of_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.svg");
        let curve =
            |points: &[(f64, f64)]| Curve { name: "slow".to_owned(), points: points.into() };
        let mut plot = Plot {
            title: "Both".to_owned(),
            x: "think time, s".to_owned(),
            y: "busy".to_owned(),
            y_max: 1.0,
            curves: vec![curve(&[(0.01, 0.2), (1.0, 0.4), (100.0, 0.9)])],
        };
        draw(&plot, &path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        for shown in ["<svg", "slow", "think time, s", "polyline"] {
            assert!(text.contains(shown), "{shown} is not in {text}");
        }
        plot.curves = vec![curve(&[(1.0, 0.2)])];
        assert!(draw(&plot, &path).unwrap_err().to_string().contains("no range"));
    }
}
