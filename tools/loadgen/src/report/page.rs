//! One HTML page that needs nothing else: no network, no script. Readable on a phone, on light and on dark.

use crate::chart::escaped;
use std::fmt::Write;

/// What a page shows, from top to bottom.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The heading.
    pub title: String,
    /// One line below it.
    pub subtitle: String,
    /// What must not be overlooked: the promise broken, a figure that is only a lower bound.
    pub warnings: Vec<String>,
    /// Tables before the charts.
    pub tables: Vec<Table>,
    /// SVG texts.
    pub charts: Vec<String>,
    /// Tables after the charts.
    pub appendix: Vec<Table>,
}

/// A table. The first cell of a row is its name.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Above it.
    pub caption: String,
    /// Names of the columns; the first is over the names of the rows.
    pub head: Vec<String>,
    /// Rows; short ones are filled up with nothing.
    pub rows: Vec<Vec<String>>,
}

/// Longest page, bytes: what a report may be sent around as.
pub const BYTES_MAX: usize = 400 * 1024;

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1b1b1b;--soft:#666;--line:#ddd;--back:#fff;--warn:#a33}\
@media(prefers-color-scheme:dark){:root{--ink:#e6e6e6;--soft:#aaa;--line:#3a3a3a;--back:#161616;--warn:#ff9a8a}}\
body{font:15px/1.45 system-ui,sans-serif;color:var(--ink);background:var(--back);margin:0 auto;max-width:1360px;padding:16px}\
h1{font-size:1.35rem;margin:.2em 0}p{margin:.3em 0;color:var(--soft)}\
.warn{color:var(--warn);font-weight:600}\
.tables,.charts{display:grid;gap:20px;grid-template-columns:repeat(auto-fit,minmax(min(100%,400px),1fr));margin:18px 0}\
.charts{grid-template-columns:repeat(auto-fit,minmax(min(100%,480px),1fr))}\
.scroll{overflow-x:auto}\
table{border-collapse:collapse;width:100%}caption{text-align:left;font-weight:600;padding:4px 0}\
td,th{padding:3px 10px 3px 0;border-bottom:1px solid var(--line);text-align:right;font-variant-numeric:tabular-nums}\
td:first-child,th:first-child{text-align:left}th{font-weight:600;color:var(--soft)}\
svg{width:100%;height:auto}.charts>div{overflow-x:auto}\
@media(max-width:560px){.charts svg{min-width:520px}}";

impl Page {
    /// The page as text, never above [`BYTES_MAX`]: what does not fit is left out from the end, and the page says so.
    pub fn html(&self) -> String {
        let mut page = self.clone();
        loop {
            let text = page.text();
            if text.len() <= BYTES_MAX {
                return text;
            }
            let dropped =
                page.appendix.pop().map(|t| t.caption).or_else(|| page.charts.pop().map(|_| "a chart".to_owned()));
            let Some(dropped) = dropped.or_else(|| page.tables.pop().map(|t| t.caption)) else {
                return page.text().chars().take(BYTES_MAX / 4).collect();
            };
            page.warnings.truncate(8);
            page.warnings.push(format!("left out, because a report is at most 400 KB: {dropped}"));
        }
    }

    fn text(&self) -> String {
        let mut out = format!(
            "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
             <title>{0}</title><style>{STYLE}</style><h1>{0}</h1><p>{1}</p>",
            escaped(&self.title),
            escaped(&self.subtitle)
        );
        for warning in &self.warnings {
            let _ = write!(out, "<p class=warn>{}</p>", escaped(warning));
        }
        tables(&mut out, &self.tables);
        out.push_str("<div class=charts>");
        for chart in &self.charts {
            let _ = write!(out, "<div>{chart}</div>");
        }
        out.push_str("</div>");
        tables(&mut out, &self.appendix);
        out.push_str("</html>\n");
        out
    }
}

fn tables(out: &mut String, tables: &[Table]) {
    if tables.is_empty() {
        return;
    }
    out.push_str("<div class=tables>");
    for table in tables {
        let width = table.rows.iter().map(Vec::len).chain([table.head.len()]).max().unwrap_or(0);
        let _ = write!(out, "<div class=scroll><table><caption>{}</caption>", escaped(&table.caption));
        if !table.head.is_empty() {
            row(out, "th", &table.head, width);
        }
        table.rows.iter().for_each(|cells| row(out, "td", cells, width));
        out.push_str("</table></div>");
    }
    out.push_str("</div>");
}

fn row(out: &mut String, tag: &str, cells: &[String], width: usize) {
    out.push_str("<tr>");
    for i in 0..width {
        let _ = write!(out, "<{tag}>{}</{tag}>", escaped(cells.get(i).map_or("", String::as_str)));
    }
    out.push_str("</tr>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_fetched_and_nothing_is_executed() {
        let page = Page { title: "<script>alert(1)</script>".into(), ..Page::default() };
        let html = page.html();
        assert!(!html.contains("<script"), "{html}");
        assert!(!html.contains("src=") && !html.contains("@import") && !html.contains("url("));
    }

    #[test]
    fn what_is_too_large_is_left_out_and_said_so() {
        let big = Table { caption: "every failure".into(), rows: vec![vec!["x".repeat(500_000)]], ..Table::default() };
        let chart = format!("<svg>{}</svg>", "y".repeat(300_000));
        let page = Page { charts: vec![chart.clone(), chart], appendix: vec![big], ..Page::default() };
        let html = page.html();
        assert!(html.len() <= BYTES_MAX, "{}", html.len());
        assert!(html.contains("left out") && html.contains("every failure") && html.matches("<svg>").count() == 1);
    }
}
