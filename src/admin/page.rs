//! The operator's page and its parts, in the program itself: no file to install, nothing fetched from elsewhere. They hold
//! nothing but themselves; what they show comes from `/live`, behind the guard.

use crate::wire::http::Line;

/// A part of the page.
pub struct Part {
    /// Content type.
    pub content_type: &'static str,
    /// The whole of it.
    pub text: &'static str,
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

/// What a browser may do with it: run and fetch what is ours, and nothing else; be shown inside nothing.
pub const LINES: &[Line<'static>] = &[
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
    ),
];

/// The part at a path.
pub fn part(path: &str) -> Option<Part> {
    let (content_type, text) = match path {
        "/" => (HTML, include_str!("page/page.html")),
        "/page.css" => (CSS, include_str!("page/page.css")),
        "/page.js" => (JS, include_str!("page/page.js")),
        "/charts.js" => (JS, include_str!("page/charts.js")),
        "/turns.js" => (JS, include_str!("page/turns.js")),
        // uPlot 1.6.32 by Leon Sorokin, MIT (`page/uplot/LICENSE`), as its npm package has it.
        "/uplot.js" => (JS, include_str!("page/uplot/uPlot.iife.min.js")),
        "/uplot.css" => (CSS, include_str!("page/uplot/uPlot.min.css")),
        _ => return None,
    };
    Some(Part { content_type, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATHS: [&str; 7] = ["/", "/page.css", "/page.js", "/charts.js", "/turns.js", "/uplot.js", "/uplot.css"];

    /// The only addresses in it are names of things, which nobody fetches.
    #[test]
    fn nothing_is_fetched_from_elsewhere() {
        for path in PATHS {
            let text = part(path).unwrap().text;
            for (i, _) in text.match_indices("//") {
                let before = &text[..i];
                let is_address = before.ends_with("http:") || before.ends_with("https:");
                let rest = &text[i..text.len().min(i + 40)];
                let is_name =
                    rest.starts_with("//www.w3.org/2000/svg") || rest.starts_with("//github.com/leeoniya/uPlot");
                assert!(!is_address || is_name, "{path}: {rest}");
            }
            assert!(!text.contains("@import") && !text.contains("url("), "{path}");
        }
        assert!(part("/nothing").is_none());
    }

    /// Whatever a device calls itself is text. The strict policy would stop a script besides; this stops the markup.
    #[test]
    fn nothing_is_read_as_markup_or_code() {
        for path in ["/page.js", "/charts.js", "/turns.js"] {
            let text = part(path).unwrap().text;
            for word in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "new Function",
                "srcdoc",
                "createContextualFragment",
            ] {
                assert!(!text.contains(word), "{path}: {word}");
            }
        }
        let page = part("/").unwrap().text;
        assert!(!page.contains(" onclick=") && !page.contains("<style") && !page.contains(" style="));
        assert_eq!(page.matches("<script").count(), page.matches("<script src=").count());
    }

    #[test]
    fn every_part_that_is_asked_for_is_there() {
        let page = part("/").unwrap().text;
        for (i, _) in page.match_indices("src=\"").chain(page.match_indices("href=\"")) {
            let rest = &page[i..];
            let name = rest.split('"').nth(1).unwrap_or_default();
            let is_elsewhere =
                ["metrics", "stats.json", "/stats.json", "turns.json", "healthz", "readyz"].contains(&name);
            assert!(is_elsewhere || name.starts_with("data:") || part(&format!("/{name}")).is_some(), "{name}");
        }
        let bytes: usize = PATHS.iter().map(|path| part(path).unwrap().text.len()).sum();
        assert!(bytes < 120_000, "{bytes} bytes for a phone");
    }
}
