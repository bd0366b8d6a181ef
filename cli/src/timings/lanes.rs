//! Spans in as few lanes as keep them from lying on each other.

use sampan_core::Span;

/// A task's spans.
#[derive(Debug)]
pub struct Task<'a> {
    /// Its name.
    pub name: &'a str,
    /// How many lanes its spans take.
    pub lanes: usize,
    /// Each span with its lane, by the time they began.
    pub spans: Vec<(usize, &'a Span)>,
}

/// Groups spans by task, the task that began first first, and packs each task's into lanes.
pub fn pack<'a>(spans: impl IntoIterator<Item = &'a Span>) -> Vec<Task<'a>> {
    let mut sorted: Vec<&Span> = spans.into_iter().collect();
    sorted.sort_by(|a, b| (a.begun, a.ended, &a.item).cmp(&(b.begun, b.ended, &b.item)));
    let mut tasks: Vec<(Task<'a>, Vec<u64>)> = Vec::new();
    for span in sorted {
        let index = match tasks.iter().position(|(task, _)| task.name == span.task) {
            Some(index) => index,
            None => {
                let task = Task {
                    name: &span.task,
                    lanes: 0,
                    spans: Vec::new(),
                };
                tasks.push((task, Vec::new()));
                tasks.len() - 1
            }
        };
        let (task, ends) = &mut tasks[index];
        let lane = ends.iter().position(|end| *end <= span.begun);
        let lane = lane.unwrap_or_else(|| {
            ends.push(0);
            ends.len() - 1
        });
        ends[lane] = span.ended;
        task.lanes = ends.len();
        task.spans.push((lane, span));
    }
    tasks.into_iter().map(|(task, _)| task).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(task: &str, begun: u64, ended: u64) -> Span {
        Span {
            task: task.to_owned(),
            item: String::new(),
            begun,
            ended,
        }
    }

    #[test]
    fn spans_share_a_lane_when_they_do_not_overlap() {
        let spans = [
            span("unpack", 5, 9),
            span("unpack", 0, 6),
            span("unpack", 6, 8),
            span("download", 1, 2),
        ];
        let tasks = pack(&spans);
        assert_eq!((tasks[0].name, tasks[0].lanes), ("unpack", 2));
        let lanes: Vec<_> = tasks[0]
            .spans
            .iter()
            .map(|(lane, span)| (*lane, span.begun))
            .collect();
        assert_eq!(lanes, [(0, 0), (1, 5), (0, 6)]);
        assert_eq!((tasks[1].name, tasks[1].lanes), ("download", 1));
    }
}
