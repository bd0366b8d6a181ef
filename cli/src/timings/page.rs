//! The page: one file, no script, nothing from elsewhere.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
};

use sampan_core::Span;

use super::lanes::{Task, pack};

/// What was timed.
#[derive(Debug)]
pub struct Subject<'a> {
    /// What it is, such as `debian suite=trixie`.
    pub title: &'a str,
    /// Whether the image was built, rather than taken from the cache.
    pub built: bool,
}

const LEFT: f64 = 120.0;
const WIDTH: f64 = 1000.0;
const LANE: f64 = 14.0;
const GAP: f64 = 10.0;
const TOP: f64 = 24.0;
/// How many of the slowest are listed.
const SLOWEST: usize = 30;
/// Below this width in pixels a name does not fit into its bar.
const NAMED: f64 = 7.0;

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1d2329;--paper:#fdfdfc;--line:#d5d9dd;--bar:#5b8bd0}\
@media(prefers-color-scheme:dark){:root{--ink:#e3e6e8;--paper:#16191d;--line:#3a4047;--bar:#4a76b5}}\
body{font:15px/1.45 system-ui,sans-serif;color:var(--ink);background:var(--paper);margin:2rem auto;\
max-width:1180px;padding:0 1rem}\
h1{font-size:1.35rem}h2{font-size:1.05rem;margin-top:2rem}\
.chart{overflow-x:auto}svg{display:block;min-width:900px;width:100%}\
svg text{font:11px system-ui,sans-serif;fill:var(--ink)}svg .in{fill:#fff;pointer-events:none}\
.grid{stroke:var(--line)}.b{fill:var(--bar)}\
.download{fill:#2c8f82}.unpack{fill:#3f73c2}.decode{fill:#6d8fc0}.preinst{fill:#a0529c}\
.configure{fill:#c05c28}.pack{fill:#777f88}\
table{border-collapse:collapse}td,th{padding:.15rem .9rem .15rem 0;text-align:left}\
th{border-bottom:1px solid var(--line)}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}";

/// Renders the page.
pub fn render(spans: &[Span], subject: &Subject<'_>) -> String {
    let mut page = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut page, spans, subject);
    page
}

fn write(page: &mut String, spans: &[Span], subject: &Subject<'_>) -> fmt::Result {
    let title = escape(subject.title);
    write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>Timings: {title}</title>\n<style>{STYLE}</style>\n<h1>{title}</h1>\n"
    )?;
    if !subject.built {
        page.push_str(
            "<p>The image came from the cache, so that nothing was built. \
             <code>--refresh</code> builds it anew.</p>\n",
        );
    }
    let spans: Vec<Span> = spans.iter().map(ordered).collect();
    let (Some(begun), Some(ended)) = (
        spans.iter().map(|span| span.begun).min(),
        spans.iter().map(|span| span.ended).max(),
    ) else {
        page.push_str("<p>Nothing was timed.</p>\n");
        return Ok(());
    };
    writeln!(
        page,
        "<p>{} in all. Point at a bar to see what it is.</p>",
        seconds(ended - begun)
    )?;
    chart(page, &spans, begun, ended)?;

    let (stages, items): (Vec<&Span>, Vec<&Span>) =
        spans.iter().partition(|span| span.item.is_empty());
    heading(page, "Stages", &["Stage", "Time"]);
    let mut totals: Vec<(&str, u64)> = Vec::new();
    for span in sorted_by_begin(&stages) {
        match totals.iter_mut().find(|(name, _)| *name == span.task) {
            Some((_, total)) => *total += length(span),
            None => totals.push((&span.task, length(span))),
        }
    }
    for (name, total) in totals {
        row(page, &[name], &[seconds(total)])?;
    }
    page.push_str("</table>\n");

    heading(page, "Tasks", &["Task", "How many", "Together", "Longest"]);
    let mut tasks: BTreeMap<&str, (u64, u64, u64)> = BTreeMap::new();
    for span in &items {
        let (count, total, longest) = tasks.entry(&span.task).or_default();
        *count += 1;
        *total += length(span);
        *longest = (*longest).max(length(span));
    }
    for (name, (count, total, longest)) in tasks {
        let numbers = [count.to_string(), seconds(total), seconds(longest)];
        row(page, &[name], &numbers)?;
    }
    page.push_str("</table>\n");

    heading(page, "Slowest", &["Task", "What", "Time"]);
    let mut slowest = items;
    slowest.sort_by(|a, b| length(b).cmp(&length(a)).then(a.begun.cmp(&b.begun)));
    for span in slowest.iter().take(SLOWEST) {
        row(page, &[&span.task, &span.item], &[seconds(length(span))])?;
    }
    page.push_str("</table>\n</html>\n");
    Ok(())
}

fn chart(page: &mut String, spans: &[Span], begun: u64, ended: u64) -> fmt::Result {
    let stages = pack(spans.iter().filter(|span| span.item.is_empty()));
    let stage_lanes = overlapping_lanes(&stages);
    let tasks = pack(spans.iter().filter(|span| !span.item.is_empty()));
    let lanes: usize = tasks.iter().map(|task| task.lanes).sum();
    let groups = tasks.len() + usize::from(stage_lanes > 0);
    let height = TOP + (lanes + stage_lanes) as f64 * LANE + groups as f64 * GAP;
    let total = (ended - begun).max(1) as f64;
    let x = |time: u64| LEFT + (time - begun) as f64 / total * WIDTH;
    writeln!(
        page,
        "<div class=\"chart\"><svg viewBox=\"0 0 {} {height}\" role=\"img\" aria-label=\"waterfall\">",
        LEFT + WIDTH + 10.0
    )?;
    let step = step(total);
    let mut tick = 0.0;
    while tick <= total {
        let at = LEFT + tick / total * WIDTH;
        writeln!(
            page,
            "<line class=\"grid\" x1=\"{at:.1}\" y1=\"16\" x2=\"{at:.1}\" y2=\"{height}\"/>\
             <text x=\"{at:.1}\" y=\"11\">{} s</text>",
            (tick / 1e5).round() / 10.0
        )?;
        tick += step;
    }
    let mut top = TOP;
    if stage_lanes > 0 {
        writeln!(page, "<text x=\"0\" y=\"{:.1}\">stages</text>", top + 11.0)?;
        for (lane, span) in stages.iter().enumerate().flat_map(|(index, task)| {
            let above: usize = stages[..index].iter().map(|task| task.lanes).sum();
            task.spans
                .iter()
                .map(move |(lane, span)| (above + lane, *span))
        }) {
            bar(page, span, &span.task, top + lane as f64 * LANE, &x)?;
        }
        top += stage_lanes as f64 * LANE + GAP;
    }
    for task in &tasks {
        let name = escape(task.name);
        writeln!(page, "<text x=\"0\" y=\"{:.1}\">{name}</text>", top + 11.0)?;
        for (lane, span) in &task.spans {
            bar(page, span, &span.item, top + *lane as f64 * LANE, &x)?;
        }
        top += task.lanes as f64 * LANE + GAP;
    }
    page.push_str("</svg></div>\n");
    Ok(())
}

/// Stages get a line each: that is what a waterfall is.
fn overlapping_lanes(stages: &[Task<'_>]) -> usize {
    stages.iter().map(|task| task.lanes).sum()
}

fn bar(page: &mut String, span: &Span, label: &str, y: f64, x: &dyn Fn(u64) -> f64) -> fmt::Result {
    let (left, right) = (x(span.begun), x(span.ended));
    let width = (right - left).max(0.7);
    let class = class(&span.task);
    let height = LANE - 2.0;
    let (task, item) = (escape(&span.task), escape(&span.item));
    writeln!(
        page,
        "<rect class=\"{class}\" x=\"{left:.2}\" y=\"{y:.1}\" width=\"{width:.2}\" height=\"{height}\" \
         rx=\"1.5\"><title>{task} {item}: {}</title></rect>",
        seconds(length(span))
    )?;
    let fits = (width / NAMED) as usize;
    if fits >= 3 && label.chars().count() <= fits {
        writeln!(
            page,
            "<text class=\"in\" x=\"{:.2}\" y=\"{:.1}\">{}</text>",
            left + 3.0,
            y + 10.0,
            escape(label)
        )?;
    }
    Ok(())
}

/// Only words that the style knows: a task's name is the template's.
fn class(task: &str) -> &'static str {
    [
        "download",
        "unpack",
        "decode",
        "preinst",
        "configure",
        "pack",
    ]
    .into_iter()
    .find(|known| *known == task)
    .unwrap_or("b")
}

fn heading(page: &mut String, title: &str, columns: &[&str]) {
    let texts = if title == "Slowest" { 2 } else { 1 };
    page.push_str(&format!("<h2>{title}</h2>\n<table>\n<tr>"));
    for (index, column) in columns.iter().enumerate() {
        let class = if index < texts { "" } else { " class=\"n\"" };
        page.push_str(&format!("<th{class}>{column}"));
    }
    page.push('\n');
}

fn row(page: &mut String, texts: &[&str], numbers: &[String]) -> fmt::Result {
    page.push_str("<tr>");
    for text in texts {
        write!(page, "<td>{}", escape(text))?;
    }
    for number in numbers {
        write!(page, "<td class=\"n\">{number}")?;
    }
    page.push('\n');
    Ok(())
}

fn sorted_by_begin<'a>(spans: &[&'a Span]) -> Vec<&'a Span> {
    let mut sorted = spans.to_vec();
    sorted.sort_by_key(|span| span.begun);
    sorted
}

/// Clocks are set back, and templates may say anything.
fn ordered(span: &Span) -> Span {
    Span {
        ended: span.ended.max(span.begun),
        ..span.clone()
    }
}

fn length(span: &Span) -> u64 {
    span.ended - span.begun
}

fn seconds(micros: u64) -> String {
    format!("{:.3} s", micros as f64 / 1e6)
}

/// A round distance between ticks that gives about ten of them.
fn step(total: f64) -> f64 {
    let mut step = 1e5;
    for factor in [2.0, 2.5, 2.0].into_iter().cycle() {
        if total / step <= 12.0 {
            break;
        }
        step *= factor;
    }
    step
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c if c.is_control() => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(task: &str, item: &str, begun: u64, ended: u64) -> Span {
        Span {
            task: task.to_owned(),
            item: item.to_owned(),
            begun,
            ended,
        }
    }

    const SUBJECT: Subject<'_> = Subject {
        title: "debian <trixie>",
        built: true,
    };

    #[test]
    fn totals_and_the_slowest_stand_on_the_page() {
        let spans = [
            span("unpack", "", 1_000_000, 3_000_000),
            span("unpack", "libc6", 1_000_000, 2_500_000),
            span("unpack", "bash", 1_000_000, 1_250_000),
        ];
        let page = render(&spans, &SUBJECT);
        assert!(
            page.contains("<tr><td>unpack<td class=\"n\">2.000 s"),
            "{page}"
        );
        assert!(
            page.contains(
                "<td>unpack<td class=\"n\">2<td class=\"n\">1.750 s<td class=\"n\">1.500 s"
            )
        );
        let (slow, fast) = (page.rfind("<td>libc6"), page.rfind("<td>bash"));
        assert!(slow.is_some() && slow < fast);
        assert!(page.contains("<title>unpack libc6: 1.500 s</title>"));
    }

    #[test]
    fn whatever_a_template_says_is_text_on_a_page_that_loads_nothing() {
        let evil = "</title><script src=\"http://x\">'\u{1b}";
        let page = render(&[span(evil, evil, 9, 3)], &SUBJECT);
        assert!(!page.contains("<script") && !page.contains('\u{1b}'));
        assert!(page.contains("debian &lt;trixie&gt;"));
        for word in ["url(", "@import", "<link", "<img", "src=\"", "href"] {
            assert!(!page.contains(word), "{word}");
        }
    }

    #[test]
    fn ticks_are_few_whatever_the_time() {
        for total in [1.0, 1e5, 3e6, 6e7, 1e10, u64::MAX as f64] {
            assert!(total / step(total) <= 12.0, "{total}");
        }
    }
}
