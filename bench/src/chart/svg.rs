//! Writes a [`Chart`] as SVG.

use std::fmt::Write;

use super::{Chart, Curve, Distances, axis};
use logtracer_tables::spread::Spread;

const WIDTH: f64 = 720.;
const HEIGHT: f64 = 340.;
/// The area of the curves.
const LEFT: f64 = 70.;
const RIGHT: f64 = 560.;
const TOP: f64 = 50.;
const BOTTOM: f64 = 280.;
/// The least distance between the names of two curves.
const LINE: f64 = 16.;

/// How values become places.
struct Scale {
    /// The place of each value on the horizontal axis.
    xs: Vec<f64>,
    highest: f64,
}

impl Scale {
    fn new(chart: &Chart, highest: f64) -> Self {
        let xs: Vec<f64> = match chart.distances {
            Distances::Linear => chart.xs.iter().map(|x| *x as f64).collect(),
            Distances::Equal => (0..chart.xs.len()).map(|index| index as f64).collect(),
        };
        let first = xs.first().copied().unwrap_or(0.);
        let width = xs.last().map_or(1., |last| last - first);
        let place = |x: &f64| LEFT + (RIGHT - LEFT) * (x - first) / width;
        Self { xs: xs.iter().map(place).collect(), highest }
    }

    fn x(&self, index: usize) -> f64 {
        self.xs.get(index).copied().unwrap_or(RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        BOTTOM - (BOTTOM - TOP) * value.max(0.) / self.highest
    }

    fn place(&self, index: usize, value: f64) -> String {
        format!("{:.1},{:.1}", self.x(index), self.y(value))
    }
}

impl Chart {
    /// Returns the SVG file.
    pub fn to_svg(&self) -> String {
        let values = self.curves.iter().flat_map(|curve| &curve.points);
        let highest = values.map(|point| point.high).filter(|value| value.is_finite()).fold(0., f64::max);
        let ticks = axis::ticks(highest);
        let last = ticks.last().copied().unwrap_or(1.);
        let scale = Scale::new(self, last);

        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" \
             height=\"{HEIGHT}\" font-family=\"sans-serif\" font-size=\"13\" fill=\"#222\">\n\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n"
        );
        text(&mut svg, LEFT, 24., "start\" font-weight=\"bold", &self.title);
        text(&mut svg, LEFT, 42., "start", self.y);
        text(&mut svg, LEFT.midpoint(RIGHT), BOTTOM + 44., "middle", self.x);
        for tick in &ticks {
            let y = scale.y(*tick);
            line(&mut svg, (LEFT, y), (RIGHT, y), if *tick == 0. { "#222" } else { "#ddd" });
            let distance = ticks.get(1).copied().unwrap_or(1.);
            text(&mut svg, LEFT - 8., y + 4., "end", &axis::label(*tick, distance));
        }
        for (index, x) in self.xs.iter().enumerate() {
            line(&mut svg, (scale.x(index), BOTTOM), (scale.x(index), BOTTOM + 5.), "#222");
            text(&mut svg, scale.x(index), BOTTOM + 21., "middle", &x.to_string());
        }
        for curve in &self.curves {
            draw(&mut svg, curve, &scale);
        }
        self.names(&mut svg, &scale);
        svg.push_str("</svg>\n");
        svg
    }

    /// Writes the names of the curves beside their ends, or below the name before if there is no room.
    fn names(&self, svg: &mut String, scale: &Scale) {
        let end = |curve: &Curve| {
            curve.points.iter().rev().map(|point| point.median).find(|value| value.is_finite()).unwrap_or(0.)
        };
        let mut curves: Vec<_> = self.curves.iter().map(|curve| (scale.y(end(curve)) + 4., curve)).collect();
        curves.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        let mut free = TOP;
        for (y, curve) in curves {
            let y = y.max(free);
            free = y + LINE;
            text(svg, RIGHT + 10., y, &format!("start\" fill=\"{}", curve.colour), &curve.name);
        }
    }
}

fn draw(svg: &mut String, curve: &Curve, scale: &Scale) {
    let known: Vec<(usize, &Spread)> =
        curve.points.iter().enumerate().filter(|(_, point)| point.median.is_finite()).collect();
    let colour = curve.colour;
    if known.iter().any(|(_, point)| point.low < point.high) {
        let upper = known.iter().map(|(index, point)| scale.place(*index, point.high));
        let lower = known.iter().rev().map(|(index, point)| scale.place(*index, point.low));
        let places = upper.chain(lower).collect::<Vec<_>>().join(" ");
        push(svg, format_args!("<polygon points=\"{places}\" fill=\"{colour}\" opacity=\"0.15\"/>"));
    }
    let places = known.iter().map(|(index, point)| scale.place(*index, point.median));
    let places = places.collect::<Vec<_>>().join(" ");
    push(
        svg,
        format_args!("<polyline points=\"{places}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>"),
    );
    for (index, point) in known {
        let (x, y) = (scale.x(index), scale.y(point.median));
        push(svg, format_args!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>"));
    }
}

fn line(svg: &mut String, (x1, y1): (f64, f64), (x2, y2): (f64, f64), colour: &str) {
    let places = format!("x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"");
    push(svg, format_args!("<line {places} stroke=\"{colour}\"/>"));
}

/// Writes a text. `anchor` can continue with other attributes.
fn text(svg: &mut String, x: f64, y: f64, anchor: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    push(svg, format_args!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"));
}

fn push(svg: &mut String, element: std::fmt::Arguments<'_>) {
    let _ = writeln!(svg, "{element}"); // a String takes everything
}
