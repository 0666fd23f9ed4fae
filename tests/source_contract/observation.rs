//! What of an answer is compared: the status, some headers, and each value of the body. What
//! differs from run to run (origins, ids, times) is replaced by a name in braces.

use std::{collections::BTreeMap, fmt};

use chrono::NaiveDateTime;
use image::{GenericImageView, ImageFormat};
use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use uuid::Uuid;

use crate::harness::Answer;

const HEADERS: [&str; 8] = [
    "allow",
    "cache-control",
    "content-disposition",
    "content-type",
    "link",
    "location",
    "retry-after",
    "vary",
];
const UUID_CHARS: usize = 36;
/// How the source system writes a time.
const TIME_FORMAT: &str = "%Y-%m-%dT%H:%M:%S%.6fZ";
const TIME_CHARS: usize = 27;

/// An answer as names and texts.
#[derive(Debug, Default)]
pub(super) struct Observation {
    pub(super) values: BTreeMap<String, Seen>,
    /// What the body is about. Bodies of different kinds have nothing to compare.
    pub(super) body: BodyKind,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum BodyKind {
    #[default]
    Other,
    Json,
    Problem,
    Picture,
}

/// A value as it is compared, and its kind, which is all that counts where only one of the servers
/// has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) kind: String,
    pub(super) value: String,
}

impl Observation {
    pub(super) fn of(answer: &Answer, origin: &str) -> Self {
        let mut seen = Self::default();
        let is_success = answer.status.is_success();
        seen.put("status", "status", &answer.status.as_u16());
        for name in HEADERS {
            if let Some(value) = answer.headers.get(name) {
                let value = stable(value.to_str().expect("text"), origin);
                seen.put(name, &value, &value);
            }
        }
        if let Ok(json) = serde_json::from_slice::<Ordered>(&answer.body) {
            seen.body = if is_success { BodyKind::Json } else { BodyKind::Problem };
            seen.put_json("body", json, &|text| stable(text, origin));
        } else if let Ok(format) = image::guess_format(&answer.body) {
            let (width, height) =
                image::load_from_memory(&answer.body).expect("a picture").dimensions();
            let name = if format == ImageFormat::Png { "PNG" } else { "JPEG" };
            seen.body = BodyKind::Picture;
            seen.put("body", "picture", &format!("{name} of {width} × {height} px"));
        }
        seen
    }

    fn put(&mut self, name: &str, kind: &str, value: &dyn fmt::Display) {
        self.values
            .insert(name.to_owned(), Seen { kind: kind.to_owned(), value: format!("{value}") });
    }

    fn put_json(&mut self, path: &str, json: Ordered, stable: &dyn Fn(&str) -> String) {
        match json {
            Ordered::Null => self.put(path, "null", &"null"),
            Ordered::Bool(value) => self.put(path, "boolean", &value),
            Ordered::Number(value) => self.put(path, "number", &value),
            // what is wrong is said in other words
            Ordered::Text(_) if self.body == BodyKind::Problem => self.put(path, "text", &"text"),
            Ordered::Text(value) => self.put(path, "text", &format!("\"{}\"", stable(&value))),
            Ordered::List(mut values) => {
                self.put(&format!("{path} length"), "length", &values.len());
                if let Some(order) = sort(&mut values) {
                    self.put(&format!("{path} order"), "order", &order);
                }
                for (index, value) in values.into_iter().enumerate() {
                    self.put_json(&format!("{path}[{index}]"), value, stable);
                }
            }
            Ordered::Object(members) => {
                if self.body == BodyKind::Json {
                    let keys: Vec<_> =
                        members.iter().map(|(key, _)| format!("\"{key}\"")).collect();
                    self.put(&format!("{path} keys"), "keys", &keys.join(" "));
                }
                for (key, value) in members {
                    self.put_json(&format!("{path}.{key}"), value, stable);
                }
            }
        }
    }
}

/// Sorts objects by their number, or by how long they live; the order that they had.
fn sort(values: &mut [Ordered]) -> Option<&'static str> {
    let number = |value: &Ordered| value.member("pk").or_else(|| value.member("valid_for"));
    let numbers: Option<Vec<f64>> = values.iter().map(number).collect();
    let numbers = numbers.filter(|numbers| numbers.len() > 1)?;
    values.sort_by(|a, b| number(a).partial_cmp(&number(b)).expect("numbers"));
    Some(if numbers.is_sorted() { "ascending" } else { "not ascending" })
}

/// A text without what differs from run to run.
fn stable(text: &str, origin: &str) -> String {
    if text.len() == TIME_CHARS && NaiveDateTime::parse_from_str(text, TIME_FORMAT).is_ok() {
        return "{time}".to_owned();
    }
    let mut text = text.replace(origin, "{origin}");
    let uuid = |start: usize, text: &str| {
        Uuid::try_parse(text.get(start..start + UUID_CHARS)?).ok().map(|uuid| (start, uuid))
    };
    while let Some((start, uuid)) = (0..text.len()).find_map(|start| uuid(start, &text)) {
        text.replace_range(
            start..start + UUID_CHARS,
            &format!("{{uuid{}}}", uuid.get_version_num()),
        );
    }
    text
}

/// JSON that keeps the order of an object's members.
enum Ordered {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Self>),
    Object(Vec<(String, Self)>),
}

impl Ordered {
    fn member(&self, name: &str) -> Option<f64> {
        let Self::Object(members) = self else { return None };
        members.iter().find_map(|(key, value)| match value {
            Self::Number(number) if key == name => Some(*number),
            _ => None,
        })
    }
}

impl<'de> Deserialize<'de> for Ordered {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OrderedVisitor)
    }
}

struct OrderedVisitor;

impl<'de> Visitor<'de> for OrderedVisitor {
    type Value = Ordered;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Ordered, E> {
        Ok(Ordered::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Ordered, E> {
        Ok(Ordered::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Ordered, E> {
        value.to_string().parse().map(Ordered::Number).map_err(E::custom)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Ordered, E> {
        value.to_string().parse().map(Ordered::Number).map_err(E::custom)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Ordered, E> {
        Ok(Ordered::Number(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Ordered, E> {
        Ok(Ordered::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Ordered, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element()? {
            values.push(value);
        }
        Ok(Ordered::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ordered, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Ordered::Object(members))
    }
}
