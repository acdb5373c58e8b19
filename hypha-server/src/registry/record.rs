//! Holds the record of a registered service in encoded form.
//!
//! The encoded form takes a fraction of the memory of the decoded values, and is copied into
//! responses unchanged.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use hypha_rpc::workspace::{ServiceInfo, Visibility};
use hypha_wire as wire;
use hypha_wire::Value;

use super::{RegistryError, ServiceKey};
use crate::memory::Charge;

/// Memory of a record in addition to its encoded form and its id, in bytes: the fields of
/// [`Record`] and its entries in the indexes.
const OVERHEAD: usize = 640;

/// The record of a registered service in MessagePack, with the fields that searches use.
pub(crate) struct Record {
    /// Full id, `workspace/client:service`.
    pub(crate) id: Arc<str>,
    pub(crate) app_id: Option<Box<str>>,
    /// Type of the service.
    pub(crate) kind: Option<Box<str>>,
    pub(crate) visibility: Visibility,
    /// Whether no other service in the workspace may have the same name.
    pub(crate) singleton: bool,
    /// Other workspaces whose clients may use the service although it is protected.
    pub(crate) authorized: Vec<String>,
    bytes: Bytes,
    /// Positions in `bytes` of the parts that only members of the workspace may see. Each position
    /// has the replacement that other callers see. The positions are in ascending order and do not
    /// overlap.
    private: Vec<(Range<usize>, Vec<u8>)>,
    _charge: Option<Charge>,
}

impl Record {
    /// Encodes the record of a service.
    ///
    /// # Errors
    ///
    /// Fails if the service has values that cannot be encoded. Also fails if the values are nested
    /// so deeply that a message could not contain them in a list of services.
    pub(crate) fn new(service: &ServiceInfo) -> Result<Record, RegistryError> {
        let invalid = |error: &dyn std::fmt::Display| RegistryError::Invalid(error.to_string());
        // The service is encoded inside two lists, because a list of services in a message adds two
        // levels of nesting. Without the two lists, a record at the nesting limit could be stored,
        // and every list with this record would then fail.
        let mut bytes = wire::to_vec(&[[service]]).map_err(|error| invalid(&error))?;
        // This removes the headers of the two lists, which have one byte each.
        bytes.drain(..2);
        let bytes = Bytes::from(bytes.into_boxed_slice());
        let config = &service.config;
        let mut private = Vec::new();
        if let Some(inside) = member(&bytes, 0..bytes.len(), "config") {
            if let Some(Value::Map(creator)) = &config.created_by
                && let Some(span) = member(&bytes, inside.clone(), "created_by")
                && creator.keys().any(|key| key != "id")
            {
                let id = creator.iter().find(|(key, _)| *key == "id");
                // Callers that are not members see the id of the creator, but not the e-mail
                // address and roles.
                let known = id.into_iter().collect::<indexmap::IndexMap<_, _>>();
                let known = wire::to_vec(&known).map_err(|error| invalid(&error))?;
                private.push((span, known));
            }
            if config.authorized_workspaces.is_some()
                && let Some(entry) = entry(&bytes, inside, "authorized_workspaces")
            {
                // The entry is omitted, so the map's header must count one entry less.
                private.push((entry.head, entry.head_without));
                private.push((entry.key.start..entry.value.end, Vec::new()));
            }
        }
        private.sort_by_key(|(span, _)| span.start);
        Ok(Record {
            id: service.id.as_str().into(),
            app_id: service.app_id.as_deref().map(Into::into),
            kind: service.kind.as_deref().map(Into::into),
            visibility: config.visibility,
            singleton: config.singleton == Some(true),
            authorized: config.authorized_workspaces.clone().unwrap_or_default(),
            bytes,
            private,
            _charge: None,
        })
    }

    /// Returns the parts of the id, or `None` if the id is not a full id.
    pub(crate) fn key(&self) -> Option<ServiceKey<'_>> {
        ServiceKey::parse(&self.id)
    }

    /// Returns the workspace of the service.
    pub(crate) fn workspace(&self) -> &str {
        self.id.split('/').next().unwrap_or_default()
    }

    /// Returns the address of the provider, `workspace/client`.
    pub(crate) fn address(&self) -> &str {
        self.id.split(':').next().unwrap_or_default()
    }

    /// Returns the size of the encoded record, in bytes.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Returns an estimate of the memory of the record and its index entries, in bytes.
    pub(crate) fn memory(&self) -> usize {
        OVERHEAD + self.bytes.len() + 4 * self.id.len()
    }

    /// Attaches the charge for the record's memory. The charge is released when the record is
    /// dropped.
    pub(crate) fn charged(mut self, charge: Charge) -> Record {
        self._charge = Some(charge);
        self
    }

    /// Decodes the record. Members of the record's workspace get the whole record, and other
    /// callers get a reduced record.
    ///
    /// # Errors
    ///
    /// Fails if the record cannot be decoded.
    pub(crate) fn service(&self, is_member: bool) -> Result<ServiceInfo, RegistryError> {
        let mut bytes = Vec::with_capacity(self.bytes.len());
        self.write(is_member, &mut bytes);
        let bytes = Bytes::from(bytes);
        wire::from_slice(&bytes).map_err(|error| RegistryError::Invalid(error.to_string()))
    }

    /// Appends the encoded summary of the record to `out`. The summary is the record without docs
    /// and schemas. It has the format of [`write`](Self::write), but fewer entries.
    fn write_summary(&self, is_member: bool, out: &mut Vec<u8>) {
        const KEYS: [&str; 5] = ["id", "name", "type", "description", "config"];
        let mut whole = Vec::with_capacity(self.bytes.len());
        self.write(is_member, &mut whole);
        let members: Vec<_> = KEYS
            .into_iter()
            .filter_map(|key| Some((key, member(&whole, 0..whole.len(), key)?)))
            .collect();
        // The header of a map with at most 15 entries.
        out.push(0x80 | members.len() as u8);
        for (key, span) in members {
            // The header of a string shorter than 32 bytes. All keys are that short.
            out.push(0xa0 | key.len() as u8);
            out.extend_from_slice(key.as_bytes());
            out.extend_from_slice(&whole[span]);
        }
    }

    /// Appends the encoded record to `out`. Members of the record's workspace get the whole record,
    /// and other callers get a reduced record.
    pub(crate) fn write(&self, is_member: bool, out: &mut Vec<u8>) {
        let mut done = 0;
        if !is_member {
            for (span, replacement) in &self.private {
                out.extend_from_slice(&self.bytes[done..span.start]);
                out.extend_from_slice(replacement);
                done = span.end;
            }
        }
        out.extend_from_slice(&self.bytes[done..]);
    }
}

/// The positions of an entry in an encoded map.
struct Entry {
    key: Range<usize>,
    value: Range<usize>,
    /// Position of the header of the map, which contains the number of entries.
    head: Range<usize>,
    /// A header of the same length for a map with one entry less.
    head_without: Vec<u8>,
}

/// Returns the position of the value of `key` in the encoded map at `span`.
fn member(bytes: &[u8], span: Range<usize>, key: &str) -> Option<Range<usize>> {
    entry(bytes, span, key).map(|entry| entry.value)
}

/// Returns the entry of `key` in the encoded map at `span`. Positions count from the start of
/// `bytes`. Returns `None` if there is no map at `span`, or the map has no such key.
fn entry(bytes: &[u8], span: Range<usize>, key: &str) -> Option<Entry> {
    let map = bytes.get(span.clone())?;
    let number = |at: Range<usize>| -> Option<usize> {
        let digits = map.get(at)?.iter();
        Some(digits.fold(0, |number, byte| number << 8 | usize::from(*byte)))
    };
    let (count, head) = match *map.first()? {
        head @ 0x80..=0x8f => (usize::from(head & 0x0f), 1),
        0xde => (number(1..3)?, 3),
        0xdf => (number(1..5)?, 5),
        _ => return None,
    };
    let mut at = head;
    let wanted = wire::to_vec(key).ok()?;
    for _ in 0..count {
        let start = at + wire::skip(&map[at..]).ok()?;
        let end = start + wire::skip(&map[start..]).ok()?;
        if map[at..start] == wanted {
            let fewer = count - 1;
            // The header keeps its length, although a shorter header may be enough for the count.
            // Decoders accept the longer header, and no other position changes.
            let head_without = match head {
                1 => vec![0x80 | fewer as u8],
                3 => [&[0xde], &(fewer as u16).to_be_bytes()[..]].concat(),
                _ => [&[0xdf], &(fewer as u32).to_be_bytes()[..]].concat(),
            };
            return Some(Entry {
                key: span.start + at..span.start + start,
                value: span.start + start..span.start + end,
                head: span.start..span.start + head,
                head_without,
            });
        }
        at = end;
    }
    None
}

/// Appends a list of records to `out`. The flag of a record says whether the caller is a member of
/// the record's workspace.
///
/// # Errors
///
/// Fails if the complete records have more than `max` bytes. In this case, nothing is encoded.
pub(crate) fn encode_list(
    listed: &[(Arc<Record>, bool)],
    max: usize,
    out: &mut Vec<u8>,
) -> Result<(), RegistryError> {
    encode(listed, max, Record::write, out)
}

/// Appends a list of summaries of records to `out`. As in [`encode_list`], the limit applies to the
/// size of the complete records, not to the size of the summaries.
///
/// # Errors
///
/// Fails like [`encode_list`].
pub(crate) fn encode_summaries(
    listed: &[(Arc<Record>, bool)],
    max: usize,
    out: &mut Vec<u8>,
) -> Result<(), RegistryError> {
    encode(listed, max, Record::write_summary, out)
}

/// Appends a list of records. `write` appends one record.
fn encode(
    listed: &[(Arc<Record>, bool)],
    max: usize,
    write: fn(&Record, bool, &mut Vec<u8>),
    out: &mut Vec<u8>,
) -> Result<(), RegistryError> {
    let bytes: usize = listed.iter().map(|(record, _)| record.len()).sum();
    if bytes > max {
        return Err(RegistryError::ListTooLarge {
            services: listed.len(),
            bytes,
            max,
        });
    }
    out.reserve_exact(5 + bytes);
    match u8::try_from(listed.len()) {
        // The headers of a short list and of a list with up to 2^32 - 1 items.
        Ok(count @ ..=0x0f) => out.push(0x90 | count),
        _ => {
            out.push(0xdd);
            let count = u32::try_from(listed.len()).unwrap_or(u32::MAX);
            out.extend_from_slice(&count.to_be_bytes());
        }
    }
    for (record, is_member) in listed {
        write(record, *is_member, out);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use hypha_rpc::workspace::ServiceSummary;
    use serde_json::json;

    use super::*;

    type Encode = fn(&[(Arc<Record>, bool)], usize, &mut Vec<u8>) -> Result<(), RegistryError>;

    fn encoded(
        encode: Encode,
        listed: &[(Arc<Record>, bool)],
        max: usize,
    ) -> Result<Vec<u8>, RegistryError> {
        let mut out = Vec::new();
        encode(listed, max, &mut out).map(|()| out)
    }

    fn service() -> ServiceInfo {
        let text = r#"{"id":"w/a:x","name":"X","type":"t","app_id":"app","description":null,
            "docs":"What it does","config":{"visibility":"protected","require_context":["a"],
            "authorized_workspaces":["v"],"created_by":{"email":"a@b","id":"ann"},
            "extra":{"big":18446744073709551615,"list":[1,"\u00fc",null,true,{}]}},
            "service_schema":{"add":{"type":"function","function":{"name":"add"}}}}"#;
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_record_decodes_to_its_service() {
        let record = Record::new(&service()).unwrap();
        assert_eq!(record.service(true).unwrap(), service());
        assert_eq!((record.workspace(), record.address()), ("w", "w/a"));
    }

    #[test]
    fn strangers_see_neither_the_creator_nor_the_authorized_workspaces() {
        let record = Arc::new(Record::new(&service()).unwrap());
        let list = [(record.clone(), true), (record, false)];
        let bytes = Bytes::from(encoded(encode_list, &list, 10_000).unwrap());
        let listed: Vec<ServiceInfo> = wire::from_slice(&bytes).unwrap();
        assert_eq!(listed[0], service());
        let mut reduced = service();
        reduced.config.authorized_workspaces = None;
        reduced.config.created_by = Some(json!({"id": "ann"}).into());
        assert_eq!(listed[1], reduced);
        let bytes = Bytes::from(encoded(encode_summaries, &list, 10_000).unwrap());
        let listed: Vec<ServiceSummary> = wire::from_slice(&bytes).unwrap();
        assert_eq!(listed, [service().into(), ServiceSummary::from(reduced)]);
        assert!(matches!(
            encoded(encode_list, &list, 100),
            Err(RegistryError::ListTooLarge { services: 2, .. })
        ));
    }

    #[test]
    fn a_hidden_entry_is_absent_from_maps_of_any_size() {
        for size in [0, 5, 6, 7, 20, 70_000] {
            let mut service = service();
            let more = (0..size).map(|key| (format!("k{key:05}"), Value::Null));
            service.config.extra.extend(more);
            let record = Record::new(&service).unwrap();
            let mut bytes = Vec::new();
            record.write(false, &mut bytes);
            assert_eq!(wire::skip(&bytes).unwrap(), bytes.len());
            let seen: Value = wire::from_slice(&Bytes::from(bytes)).unwrap();
            let config = seen.get("config").and_then(Value::as_map).unwrap();
            assert!(!config.contains_key("authorized_workspaces"), "{size}");
            assert!(config.contains_key("extra"));
        }
        // If the service sets no `authorized_workspaces`, all readers see null.
        let mut open = service();
        open.config.authorized_workspaces = None;
        let record = Record::new(&open).unwrap();
        let mut bytes = Vec::new();
        record.write(false, &mut bytes);
        let seen: Value = wire::from_slice(&Bytes::from(bytes)).unwrap();
        let config = seen.get("config").and_then(Value::as_map).unwrap();
        assert_eq!(config.get("authorized_workspaces"), Some(&Value::Null));
    }

    #[test]
    fn lists_of_any_length_can_be_read() {
        let record = Arc::new(Record::new(&service()).unwrap());
        for count in [0, 15, 16, 300, 70_000] {
            let list = vec![(record.clone(), true); count];
            let bytes = encoded(encode_list, &list, usize::MAX).unwrap();
            assert_eq!(wire::skip(&bytes).unwrap(), bytes.len());
        }
    }

    #[test]
    fn a_record_too_deep_for_a_list_is_refused() {
        let nested = |levels| {
            let mut value = Value::Null;
            for _ in 0..levels {
                value = Value::List(vec![value]);
            }
            ServiceInfo {
                service_schema: Some(value),
                ..service()
            }
        };
        assert!(Record::new(&nested(wire::MAX_DEPTH - 3)).is_ok());
        assert!(Record::new(&nested(wire::MAX_DEPTH - 2)).is_err());
    }
}
