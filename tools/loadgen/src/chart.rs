//! Charts as SVG text, drawn by `plotters`. They carry their own style sheet: readable on light and dark, wherever they stand,
//! inside a report or as a file beside a Markdown page.
//!
//! Colours leave plotters as the fixed values below and are given their meaning by the style sheet, which knows both themes.

use plotters::coord::ranged1d::{KeyPointHint, Ranged, ValueFormatter};
use plotters::prelude::*;
use std::ops::Range;

/// One line of a chart.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// What the legend says.
    pub name: String,
    /// From left to right.
    pub points: Vec<(f64, f64)>,
    /// Index of its colour; lines that belong together share one.
    pub colour: usize,
    /// Drawn thinner and dashed: a limit, or the other of two runs.
    pub is_second: bool,
}

/// How an axis is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Evenly, from 0.
    Even,
    /// Percentiles: 50, 90, 99, 99.9 at even distances. Values are 0 to 100.
    Percentile,
    /// By powers of ten.
    Log,
}

/// A chart of lines.
#[derive(Clone, Debug, PartialEq)]
pub struct Lines {
    /// Above it.
    pub title: String,
    /// Below the horizontal axis.
    pub x: String,
    /// Beside the vertical axis, with the unit.
    pub y: String,
    /// How the horizontal axis is divided.
    pub x_scale: Scale,
    /// How the vertical axis is divided.
    pub y_scale: Scale,
    /// What is shown.
    pub lines: Vec<Line>,
}

/// A chart of horizontal bars, each made of pieces in a row.
#[derive(Clone, Debug, PartialEq)]
pub struct Bars {
    /// Above it.
    pub title: String,
    /// Below the horizontal axis, with the unit.
    pub x: String,
    /// Names of the pieces, for the legend; one name: no legend.
    pub pieces: Vec<String>,
    /// Name of a bar, and as many lengths as there are pieces.
    pub bars: Vec<(String, Vec<f64>)>,
}

const WIDTH: u32 = 640;
const HEIGHT: u32 = 300;
/// Height of a bar with the space around it, pixels.
const BAR: u32 = 34;
/// Most points of a line that are drawn; more are thinned out by keeping the highest of each stretch.
const POINTS_MAX: usize = 400;

const INK: RGBColor = RGBColor(1, 1, 1);
const GRID: RGBColor = RGBColor(2, 2, 2);
/// Colours, by light and by dark theme: Okabe and Ito's, told apart by nearly everybody.
const COLOURS: [(RGBColor, &str, &str); 8] = [
    (RGBColor(3, 0, 0), "#0072b2", "#56b4e9"),
    (RGBColor(3, 0, 1), "#d55e00", "#ff9d57"),
    (RGBColor(3, 0, 2), "#009e73", "#3fd6a8"),
    (RGBColor(3, 0, 3), "#aa4499", "#e79fd0"),
    (RGBColor(3, 0, 4), "#b8860b", "#f0e442"),
    (RGBColor(3, 0, 5), "#444444", "#cccccc"),
    (RGBColor(3, 0, 6), "#882255", "#ff88aa"),
    (RGBColor(3, 0, 7), "#117733", "#99dd77"),
];

impl Lines {
    /// The chart as SVG.
    pub fn svg(&self) -> Result<String, String> {
        let place = |scale: Scale, v: f64| match scale {
            Scale::Even => Some(v),
            Scale::Percentile => Some(nines(v)),
            Scale::Log => (v > 0.0).then(|| v.log10()),
        };
        let lines: Vec<(&Line, Vec<(f64, f64)>)> = self
            .lines
            .iter()
            .map(|line| {
                let placed =
                    line.points.iter().filter_map(|&(x, y)| Some((place(self.x_scale, x)?, place(self.y_scale, y)?)));
                (line, thinned(placed.filter(|(x, y)| x.is_finite() && y.is_finite()).collect()))
            })
            .collect();
        let all = || lines.iter().flat_map(|(_, points)| points.iter().copied());
        let x = Axis::around(self.x_scale, all().map(|p| p.0));
        let mut y = Axis::around(self.y_scale, all().map(|p| p.1));
        if self.lines.len() > 1 {
            // Room for the legend above the lines.
            let room = 0.08 + 0.06 * self.lines.len().min(6) as f64;
            y.range.end += (y.range.end - y.range.start) * room;
        }
        let text = drawn(HEIGHT, |root| {
            let mut chart = ChartBuilder::on(root)
                .margin(10)
                .margin_right(20)
                .caption(&self.title, ("sans-serif", 19, &INK))
                .x_label_area_size(38)
                .y_label_area_size(58)
                .build_cartesian_2d(x, y)?;
            mesh(&mut chart, &self.x, &self.y, 8)?;
            for (line, points) in &lines {
                let colour = colour(line.colour);
                let style = colour.stroke_width(if line.is_second { 1 } else { 2 });
                let drawn = if line.is_second {
                    chart.draw_series(DashedLineSeries::new(points.iter().copied(), 5, 4, style))?
                } else {
                    chart.draw_series(LineSeries::new(points.iter().copied(), style))?
                };
                drawn.label(&line.name).legend(move |(x, y)| PathElement::new([(x, y), (x + 14, y)], style));
            }
            if lines.len() > 1 {
                legend(&mut chart, SeriesLabelPosition::UpperLeft)?;
            }
            Ok(())
        })?;
        Ok(dressed(&text, &self.title))
    }
}

impl Bars {
    /// The chart as SVG.
    pub fn svg(&self) -> Result<String, String> {
        let sum = |bar: &(String, Vec<f64>)| bar.1.iter().sum::<f64>();
        let longest = self.bars.iter().map(sum).fold(0.0, f64::max);
        let rows = Rows(self.bars.iter().map(|b| b.0.clone()).collect());
        let has_legend = self.pieces.len() > 1;
        // Room for the legend beside the longest bar.
        let x = Axis::around(Scale::Even, [longest * if has_legend { 1.35 } else { 1.0 }].into_iter());
        let names = self.bars.iter().map(|b| b.0.chars().count()).max().unwrap_or(0) as u32;
        let height = 90 + BAR * self.bars.len().max(if has_legend { self.pieces.len() } else { 1 }) as u32;
        let text = drawn(height, |root| {
            let mut chart = ChartBuilder::on(root)
                .margin(10)
                .margin_right(20)
                .caption(&self.title, ("sans-serif", 19, &INK))
                .x_label_area_size(38)
                .y_label_area_size((14 + 7 * names).clamp(40, 200))
                .build_cartesian_2d(x, rows)?;
            mesh(&mut chart, &self.x, "", self.bars.len().max(1))?;
            for (i, name) in self.pieces.iter().enumerate() {
                let filled = colour(i).filled();
                let piece = |(row, bar): (usize, &(String, Vec<f64>))| {
                    let from: f64 = bar.1.iter().take(i).sum();
                    let to = from + bar.1.get(i).copied().unwrap_or(0.0);
                    let middle = row as f64;
                    Rectangle::new([(from, middle - 0.32), (to, middle + 0.32)], filled)
                };
                chart
                    .draw_series(self.bars.iter().enumerate().map(piece))?
                    .label(name)
                    .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 12, y + 5)], filled));
            }
            if has_legend {
                legend(&mut chart, SeriesLabelPosition::UpperRight)?;
            }
            Ok(())
        })?;
        Ok(dressed(&text, &self.title))
    }
}

type Drawn = Result<(), Box<dyn std::error::Error>>;
type Root<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn drawn(height: u32, draw: impl FnOnce(&Root<'_>) -> Drawn) -> Result<String, String> {
    let mut text = String::new();
    let root = SVGBackend::with_string(&mut text, (WIDTH, height)).into_drawing_area();
    let done = draw(&root).and_then(|()| root.present().map_err(Into::into));
    drop(root);
    done.map_err(|e| format!("a chart cannot be drawn: {e}"))?;
    Ok(text)
}

type Chart<'a, 'b, Y> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Axis, Y>>;

fn mesh<Y: Ranged<ValueType = f64> + ValueFormatter<f64>>(
    chart: &mut Chart<'_, '_, Y>,
    x: &str,
    y: &str,
    rows: usize,
) -> Drawn {
    chart
        .configure_mesh()
        .x_desc(x)
        .y_desc(y)
        .x_labels(8)
        .y_labels(rows)
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(GRID)
        .label_style(("sans-serif", 15, &INK))
        .axis_desc_style(("sans-serif", 15, &INK))
        .draw()?;
    Ok(())
}

fn legend<'a, 'b: 'a, Y: Ranged<ValueType = f64>>(chart: &mut Chart<'a, 'b, Y>, at: SeriesLabelPosition) -> Drawn {
    chart.configure_series_labels().position(at).label_font(("sans-serif", 15, &INK)).legend_area_size(18).draw()?;
    Ok(())
}

fn colour(i: usize) -> RGBColor {
    COLOURS[i % COLOURS.len()].0
}

/// The drawing with a name for those who cannot see it, a size that follows its frame, and our colours.
fn dressed(svg: &str, title: &str) -> String {
    let hex = |c: RGBColor| format!("#{:02X}{:02X}{:02X}", c.0, c.1, c.2);
    let names = [INK, GRID].into_iter().chain(COLOURS.iter().map(|c| c.0));
    let mut body = svg[svg.find('>').map_or(0, |i| i + 1)..].to_owned();
    for (i, name) in names.enumerate() {
        for attribute in ["fill", "stroke"] {
            let class = format!("class=\"vl-{}{i}\"", &attribute[..1]);
            body = body.replace(&format!("{attribute}=\"{}\"", hex(name)), &class);
        }
    }
    let height = svg.split("height=\"").nth(1).and_then(|s| s.split('"').next()).unwrap_or("300");
    format!(
        "<svg class=\"vl\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" \
         aria-label=\"{}\">{}{}",
        escaped(title),
        style(),
        // Strokes without a fill of their own would be filled with black.
        body.trim_start()
    )
}

fn style() -> String {
    let rule = |i: usize, value: &str| format!(".vl-f{i}{{fill:{value}}}.vl-s{i}{{stroke:{value}}}");
    let theme = |ink: &str, grid: &str, pick: fn(&(RGBColor, &'static str, &'static str)) -> &'static str| {
        let colours: String = COLOURS.iter().enumerate().map(|(i, c)| rule(i + 2, pick(c))).collect();
        format!("{}{}{colours}", rule(0, ink), rule(1, grid))
    };
    format!(
        "<style>.vl{{max-width:100%;height:auto}}{}@media(prefers-color-scheme:dark){{{}}}</style>",
        theme("#222", "#ddd", |c| c.1),
        theme("#ddd", "#444", |c| c.2)
    )
}

/// Text as it may stand in HTML and SVG, also within quotes.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

/// Where a percentile stands: one step for each nine.
fn nines(percentile: f64) -> f64 {
    -(1.0 - percentile.clamp(0.0, 99.999) / 100.0).log10()
}

/// At most [`POINTS_MAX`] points; what is highest in a stretch is kept, since that is what people look for.
fn thinned(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    if points.len() <= POINTS_MAX {
        return points;
    }
    let stretch = points.len().div_ceil(POINTS_MAX);
    let highest = |chunk: &[(f64, f64)]| chunk.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1));
    points.chunks(stretch).filter_map(highest).collect()
}

/// An axis in the space where it is even.
#[derive(Clone, Debug)]
struct Axis {
    scale: Scale,
    range: Range<f64>,
}

impl Axis {
    fn around(scale: Scale, values: impl Iterator<Item = f64>) -> Axis {
        let (low, high) = values.fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)));
        let range = match scale {
            _ if low > high => 0.0..1.0,
            Scale::Even => low.min(0.0)..if high > 0.0 { high * 1.05 } else { 1.0 },
            Scale::Percentile => low.min(0.0)..high.max(1.0),
            Scale::Log => low.floor()..high.ceil().max(low.floor() + 1.0),
        };
        Axis { scale, range }
    }
}

impl Ranged for Axis {
    type FormatOption = plotters::coord::ranged1d::NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let share = (value - self.range.start) / (self.range.end - self.range.start);
        limit.0 + (share * f64::from(limit.1 - limit.0)).round() as i32
    }

    fn key_points<H: KeyPointHint>(&self, hint: H) -> Vec<f64> {
        let within = |v: &f64| *v >= self.range.start - 1e-9 && *v <= self.range.end + 1e-9;
        match self.scale {
            Scale::Percentile => [0.0, 50.0, 90.0, 99.0, 99.9, 99.99].into_iter().map(nines).filter(within).collect(),
            Scale::Log => (self.range.start as i32..=self.range.end as i32).map(f64::from).collect(),
            Scale::Even => {
                let step = step((self.range.end - self.range.start) / hint.max_num_points().clamp(2, 8) as f64);
                let first = (self.range.start / step).ceil() as i64;
                (first..).map(|i| i as f64 * step).take_while(within).collect()
            }
        }
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        match self.scale {
            Scale::Even => plain(*value),
            Scale::Log => plain(10_f64.powf(*value)),
            Scale::Percentile => format!("p{}", plain((100.0 - 100.0 / 10_f64.powf(*value)).max(0.0))),
        }
    }
}

/// Rows of bars, the first on top.
#[derive(Clone, Debug)]
struct Rows(Vec<String>);

impl Ranged for Rows {
    type FormatOption = plotters::coord::ranged1d::NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let share = (value + 0.5) / self.0.len().max(1) as f64;
        limit.1 + (share * f64::from(limit.0 - limit.1)).round() as i32
    }

    fn key_points<H: KeyPointHint>(&self, _: H) -> Vec<f64> {
        (0..self.0.len()).map(|i| i as f64).collect()
    }

    fn range(&self) -> Range<f64> {
        -0.5..self.0.len() as f64 - 0.5
    }
}

impl ValueFormatter<f64> for Rows {
    fn format_ext(&self, value: &f64) -> String {
        self.0.get(value.round() as usize).cloned().unwrap_or_default()
    }
}

/// The nearest of 1, 2, 5 times a power of ten that is not smaller.
fn step(at_least: f64) -> f64 {
    let power = 10_f64.powf(at_least.max(1e-9).log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|f| f * power).find(|s| *s >= at_least * 0.999).unwrap_or(10.0 * power)
}

/// A number as people write it.
fn plain(value: f64) -> String {
    let text = if value.abs() >= 1_000_000.0 { format!("{:.1}M", value / 1e6) } else { format!("{value:.3}") };
    if !text.contains('.') || text.ends_with('M') {
        return text.replace(".0M", "M");
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests;
