//! [`Chart`]: curves as an SVG file for the documents.

mod axis;
mod svg;

use logtracer_tables::spread::Spread;

/// Curves over one quantity.
#[derive(Debug, Clone)]
pub struct Chart {
    /// What is drawn.
    pub title: String,
    /// The quantity on the horizontal axis.
    pub x: &'static str,
    /// Its values, ascending.
    pub xs: Vec<u64>,
    /// The distances of its values.
    pub distances: Distances,
    /// The quantity on the vertical axis, which starts at zero.
    pub y: &'static str,
    /// The curves.
    pub curves: Vec<Curve>,
}

/// The distances of the values on the horizontal axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distances {
    /// As their differences.
    Linear,
    /// All equal, for powers of two.
    Equal,
}

/// One curve.
#[derive(Debug, Clone)]
pub struct Curve {
    /// The name at its end.
    pub name: String,
    /// The colour in SVG.
    pub colour: &'static str,
    /// A value for each value on the horizontal axis. The quartiles are drawn as an area.
    pub points: Vec<Spread>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart() -> Chart {
        let curve = |name: &str, colour, points: &[f64]| Curve {
            name: name.into(),
            colour,
            points: points.iter().map(|value| Spread::exact(*value)).collect(),
        };
        Chart {
            title: "Cost <of> all & more".into(),
            x: "headers",
            xs: vec![10, 60, 110],
            distances: Distances::Linear,
            y: "thousand instructions",
            curves: vec![
                curve("native", "#0072b2", &[40., 50., 60.]),
                curve("wasm", "#d55e00", &[60., 80., 120.]),
            ],
        }
    }

    #[test]
    fn a_chart_has_every_curve_tick_and_text() {
        let svg = chart().to_svg();
        assert!(svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\"") && svg.ends_with("</svg>\n"));
        assert_eq!(svg.matches("<polyline").count(), 2);
        assert_eq!(svg.matches("<circle").count(), 6);
        for text in ["Cost &lt;of&gt; all &amp; more", "headers", "thousand instructions", "native", "wasm"] {
            assert!(svg.contains(&format!(">{text}</text>")), "{text}");
        }
        for tick in ["10", "60", "110", "0", "20", "120"] {
            assert!(svg.contains(&format!(">{tick}</text>")), "{tick}");
        }
        assert!(!svg.contains("<polygon"), "exact values have no area");
        assert!(!svg.contains("NaN"));
    }

    #[test]
    fn values_have_their_places() {
        let svg = chart().to_svg();
        // Zero is at the bottom (280), the highest tick at the top (50), and the values on both sides at its ends.
        assert!(svg.contains("points=\"70.0,203.3 315.0,184.2 560.0,165.0\""), "{svg}");
        assert!(svg.contains("points=\"70.0,165.0 315.0,126.7 560.0,50.0\""), "{svg}");
    }

    #[test]
    fn distances_are_linear_or_equal() {
        let svg = |distances| Chart { xs: vec![1, 2, 11], distances, ..chart() }.to_svg();
        assert!(svg(Distances::Linear).contains("points=\"70.0,203.3 119.0,184.2 560.0,165.0\""));
        assert!(svg(Distances::Equal).contains("points=\"70.0,203.3 315.0,184.2 560.0,165.0\""));
    }

    #[test]
    fn quartiles_are_an_area_and_missing_values_a_gap() {
        let mut chart = chart();
        chart.curves[0].points[1] = Spread { low: 45., median: 50., high: 55. };
        chart.curves[1].points[1] = Spread::exact(f64::NAN);
        let svg = chart.to_svg();
        assert_eq!(svg.matches("<polygon").count(), 1);
        assert_eq!(svg.matches("<circle").count(), 5);
        assert!(!svg.contains("NaN"));
    }

    #[test]
    fn names_at_the_ends_do_not_overlap() {
        let mut chart = chart();
        chart.curves[1].points[2] = Spread::exact(60.5);
        let svg = chart.to_svg();
        let heights: Vec<f64> = ["native", "wasm"].map(|name| height_of(&svg, name)).to_vec();
        assert!((heights[0] - heights[1]).abs() >= 15.9, "{heights:?}");
    }

    fn height_of(svg: &str, text: &str) -> f64 {
        let line = svg.lines().find(|line| line.ends_with(&format!(">{text}</text>"))).unwrap();
        line.split("y=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap()
    }
}
