//! Answers of the server, parsed.

use redis::Value;

use crate::revocation::shared::entry::{self, Entry, Row, Unreadable};
use crate::revocation::shared::store::{Beat, Head, Outcome, Written};

/// The answer of `beat.lua`.
pub(super) fn beat(answer: Value) -> Option<Beat> {
    let mut parts = array(answer)?.into_iter();
    let head = Head {
        id: entry::parse_store_id(&bytes(parts.next()?)?).ok()?,
        number: integer(parts.next()?)?,
    };
    let past = bytes(parts.next()?)?;
    let past = std::str::from_utf8(&past).ok()?.split_ascii_whitespace();
    let past = past.take(LONGEST_PAST).map(|past| {
        let (id, number) = past.split_once(':')?;
        Some(Head {
            id: entry::parse_store_id(id.as_bytes()).ok()?,
            number: entry::number(number).ok()?,
        })
    });
    let past = past.collect::<Option<_>>()?;
    parts.next().is_none().then_some(Beat { head, past })
}

/// The answer of `write.lua`.
pub(super) fn written(answer: Value) -> Option<Written> {
    let mut parts = array(answer)?.into_iter();
    let head = Head {
        id: entry::parse_store_id(&bytes(parts.next()?)?).ok()?,
        number: integer(parts.next()?)?,
    };
    let outcomes = parts.map(|part| {
        let mut pair = array(part)?.into_iter();
        let (outcome, marks) = (bytes(pair.next()?)?, bytes(pair.next()?)?);
        Some(match &*outcome {
            b"changed" | b"same" => Outcome::Stored {
                marks: entry::parse_marks(&marks).ok()?,
                has_changed: outcome == b"changed",
            },
            b"full" => Outcome::Full,
            b"unknown" => Outcome::Unknown,
            _ => return None,
        })
    });
    let outcomes = outcomes.collect::<Option<_>>()?;
    Some(Written { head, outcomes })
}

/// The answer to `HSCAN`: the next cursor, and the rows.
pub(super) fn page(answer: Value) -> Option<(u64, Vec<Row>)> {
    let mut parts = array(answer)?.into_iter();
    let cursor = integer(parts.next()?)?;
    let rows = pairs(parts.next()?)?.into_iter();
    // What belongs to the store itself begins so.
    let rows = rows.filter(|(target, _)| !target.starts_with(b"#"));
    let rows = rows.map(|(target, marks)| entry::row(&target, &marks));
    Some((cursor, rows.collect()))
}

/// The answer to `XREAD` of one stream.
pub(super) fn entries(answer: Value) -> Option<Vec<Entry>> {
    let streams = match answer {
        Value::Nil => return Some(Vec::new()),
        Value::Map(streams) => streams,
        answer => {
            let streams = array(answer)?.into_iter().map(|stream| {
                let mut pair = array(stream)?.into_iter();
                Some((pair.next()?, pair.next()?))
            });
            streams.collect::<Option<_>>()?
        }
    };
    let mut found = Vec::new();
    for (_, entries) in streams {
        for entry in array(entries)? {
            let mut pair = array(entry)?.into_iter();
            let id = bytes(pair.next()?)?;
            // An entry that was deleted has no fields.
            let fields = pair.next().and_then(pairs).unwrap_or_default();
            found.push(an_entry(&id, fields));
        }
    }
    Some(found)
}

/// An entry without a number or a store is that of no store, which makes the follower read all rows.
fn an_entry(id: &[u8], fields: Vec<(Vec<u8>, Vec<u8>)>) -> Entry {
    let number = std::str::from_utf8(id).ok();
    let number = number.and_then(|id| id.strip_suffix("-0"));
    let number = number.and_then(|number| entry::number(number).ok());
    let field = |name: &[u8]| {
        let mut values = fields.iter().filter(|(field, _)| field == name);
        let value = values.next().map(|(_, value)| &**value);
        value.filter(|_| values.next().is_none())
    };
    let store = field(b"i").and_then(|store| entry::parse_store_id(store).ok());
    let row = field(b"t").zip(field(b"m"));
    Entry {
        store: store.unwrap_or_default(),
        number: number.unwrap_or_default(),
        row: row.map_or(Err(Unreadable::Malformed), |(target, marks)| {
            entry::row(target, marks)
        }),
    }
}

fn array(value: Value) -> Option<Vec<Value>> {
    match value {
        Value::Array(values) => Some(values),
        _ => None,
    }
}

fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.into_bytes()),
        _ => None,
    }
}

fn integer(value: Value) -> Option<u64> {
    match value {
        Value::Int(number) => u64::try_from(number).ok(),
        value => entry::number(std::str::from_utf8(&bytes(value)?).ok()?).ok(),
    }
}

fn pairs(value: Value) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    if let Value::Map(pairs) = value {
        let pairs = pairs.into_iter();
        return pairs
            .map(|(one, other)| Some((bytes(one)?, bytes(other)?)))
            .collect();
    }
    let values = array(value)?;
    if values.len() % 2 != 0 {
        return None;
    }
    let mut values = values.into_iter();
    let mut pairs = Vec::new();
    while let (Some(one), Some(other)) = (values.next(), values.next()) {
        pairs.push((bytes(one)?, bytes(other)?));
    }
    Some(pairs)
}

const LONGEST_PAST: usize = 8;

/// Parses raw answers of the protocol, for the fuzzer.
#[cfg(any(test, feature = "_fuzz"))]
pub(crate) fn fuzz(data: &[u8]) {
    let answer = || redis::parse_redis_value(data).ok();
    let check = |row: &Row| {
        let Ok((target, marks)) = row else { return };
        let text = entry::target_text(target).unwrap_or_default();
        let again = entry::row(text.as_bytes(), entry::marks_text(marks).as_bytes());
        assert!(again.as_ref() == Ok(&(target.clone(), *marks)), "{text}");
    };
    if let Some(beat) = answer().and_then(beat) {
        assert!(beat.head.id.is_ascii() && !beat.head.id.is_empty());
    }
    answer().and_then(written);
    let page = answer().and_then(page);
    page.iter().flat_map(|(_, rows)| rows).for_each(check);
    let entries = answer().and_then(entries);
    entries.iter().flatten().for_each(|entry| check(&entry.row));
    let (target, marks) = data.split_at(data.len() / 2);
    check(&entry::row(target, marks));
    let mut lines = data.splitn(2, |byte| *byte == b'\n');
    if let (Some(target), Some(marks)) = (lines.next(), lines.next()) {
        check(&entry::row(target, marks));
    }
}
