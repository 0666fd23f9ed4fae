//! The differences between two tellings of the story, and the table that lists them. A cell of the
//! table may have asterisks, which stand for any text.

use std::collections::BTreeSet;

use super::observation::{Observation, Seen};

/// What a cell says where one of the servers has no such value.
const ABSENT: &str = "none";

/// One value that the servers do not agree on.
#[derive(Debug)]
struct Difference {
    step: String,
    what: String,
    there: String,
    here: String,
}

/// A line of the table.
#[derive(Debug)]
pub(super) struct Listed {
    cells: [String; 4],
}

/// The lines of the table, each of which has to give a reason.
pub(super) fn parse_table(text: &str) -> Vec<Listed> {
    let rows = text.lines().filter_map(|line| line.strip_prefix('|')?.strip_suffix('|'));
    let rows = rows.map(|row| row.split('|').map(|cell| cell.trim().trim_matches('`').to_owned()));
    let listed = |cells: Vec<String>| {
        let [step, what, there, here, why] = cells.try_into().expect("five cells");
        assert!(!why.is_empty(), "{step}, {what}: no reason");
        Listed { cells: [step, what, there, here] }
    };
    let is_heading = |cells: &Vec<String>| cells[0] == "step" || cells[0].starts_with("--");
    rows.map(Iterator::collect).filter(|cells| !is_heading(cells)).map(listed).collect()
}

/// What is wrong: differences that are not listed, and listed ones that did not occur.
pub(super) fn compare(
    there: &[(String, Observation)],
    here: &[(String, Observation)],
    listed: &[Listed],
) -> Vec<String> {
    let steps = |told: &[(String, Observation)]| {
        told.iter().map(|(step, _)| step.clone()).collect::<Vec<_>>()
    };
    assert_eq!(steps(there), steps(here), "one story");
    let mut occurred = BTreeSet::new();
    let mut complaints = Vec::new();
    for ((step, there), (_, here)) in there.iter().zip(here) {
        for difference in differences(step, there, here) {
            let covering: Vec<_> =
                (0..listed.len()).filter(|line| listed[*line].covers(&difference)).collect();
            occurred.extend(covering.iter().copied());
            if covering.is_empty() {
                let Difference { step, what, there, here } = difference;
                complaints.push(format!("not listed: | {step} | {what} | {there} | {here} |"));
            }
        }
    }
    let gone = (0..listed.len()).filter(|line| !occurred.contains(line));
    complaints.extend(
        gone.map(|line| {
            format!("listed, but no longer occurs: {}", listed[line].cells.join(" | "))
        }),
    );
    complaints
}

fn differences(step: &str, there: &Observation, here: &Observation) -> Vec<Difference> {
    let names: BTreeSet<&String> = there.values.keys().chain(here.values.keys()).collect();
    let is_compared = |name: &String| there.body == here.body || !name.starts_with("body");
    let difference = |name: &String| {
        let (theirs, ours) = (there.values.get(name), here.values.get(name));
        let (theirs, ours) = match (theirs, ours) {
            (Some(theirs), Some(ours)) if agree(name, theirs, ours) => return None,
            (Some(theirs), Some(ours)) => (theirs.value.clone(), ours.value.clone()),
            (theirs, ours) => {
                let kind =
                    |seen: Option<&Seen>| seen.map_or(ABSENT.to_owned(), |seen| seen.kind.clone());
                (kind(theirs), kind(ours))
            }
        };
        Some(Difference { step: step.to_owned(), what: name.clone(), there: theirs, here: ours })
    };
    names.into_iter().filter(|name| is_compared(name)).filter_map(difference).collect()
}

/// Keys may have others after them; everything else is the same.
fn agree(name: &str, theirs: &Seen, ours: &Seen) -> bool {
    let further = ours.value.strip_prefix(theirs.value.as_str());
    theirs == ours || name.ends_with(" keys") && further.is_some_and(|rest| rest.starts_with(' '))
}

impl Listed {
    fn covers(&self, difference: &Difference) -> bool {
        let Difference { step, what, there, here } = difference;
        self.cells
            .iter()
            .zip([step, what, there, here])
            .all(|(pattern, text)| matches(pattern, text))
    }
}

/// Whether a text is the pattern, whose asterisks stand for any text.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|tail| {
            let ends = tail.char_indices().map(|(at, _)| at).chain([tail.len()]);
            ends.into_iter().any(|at| matches(rest, &tail[at..]))
        }),
    }
}

#[test]
fn an_asterisk_stands_for_any_text() {
    assert!(matches("body*.width", "body[0].width") && matches("body*.width", "body.width"));
    assert!(matches("*", "") && matches("a*", "a") && matches("*b*", "abc"));
    assert!(!matches("a*c", "ab") && !matches("a", "ab") && !matches("", "a"));
}

#[test]
fn complains_of_unlisted_differences_and_of_listed_ones_that_do_not_occur() {
    let answer = |status: u16| {
        let seen = Seen { kind: "status".to_owned(), value: status.to_string() };
        let values = [("status".to_owned(), seen)].into();
        vec![("list".to_owned(), Observation { values, ..Observation::default() })]
    };
    let table = parse_table(
        "| step | what | there | here | why |\n|--|--|--|--|--|\n| list | `status` | 200 | 403 | why |",
    );
    assert_eq!(compare(&answer(200), &answer(403), &table), Vec::<String>::new());
    let complaints = compare(&answer(200), &answer(404), &table);
    assert!(complaints[0].starts_with("not listed: | list | status | 200 | 404"), "{complaints:?}");
    assert!(complaints[1].starts_with("listed, but no longer occurs: list"), "{complaints:?}");
    assert_eq!(compare(&answer(200), &answer(200), &table).len(), 1);
}
