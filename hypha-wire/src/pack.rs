//! Writes msgpack headers and scalars.
//!
//! Each value is written in its smallest form. So messages have the same bytes as in the Python
//! client, and tests can compare them with recorded messages. The encoders of values and of
//! messages use this module. A [`Sink`] either stores or only counts the bytes.

use rmp::Marker;

/// Destination of packed bytes.
pub(super) trait Sink {
    /// Appends `bytes`.
    fn put(&mut self, bytes: &[u8]);
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Counts the bytes that would be written. An encoder measures a header with this sink, so that the
/// header can end exactly where the following bytes start.
pub(super) struct Count(pub(super) usize);

impl Sink for Count {
    fn put(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }
}

/// Fills a slice from its start. Measure the bytes with [`Count`] first.
///
/// # Panics
///
/// Panics if more bytes are written than the slice holds.
pub(super) struct Fill<'a>(pub(super) &'a mut [u8]);

impl Sink for Fill<'_> {
    fn put(&mut self, bytes: &[u8]) {
        let (front, rest) = std::mem::take(&mut self.0).split_at_mut(bytes.len());
        front.copy_from_slice(bytes);
        self.0 = rest;
    }
}

/// Writes a marker with a payload of fixed size.
fn put_marked<const N: usize>(out: &mut impl Sink, marker: Marker, payload: [u8; N]) {
    // Call `put` once, with an array of marker and payload, because the optimizer turns a single
    // call into plain stores.
    let mut bytes = [0; 9];
    bytes[0] = marker.to_u8();
    bytes[1..=N].copy_from_slice(&payload);
    out.put(&bytes[..=N]);
}

pub(super) fn put_nil(out: &mut impl Sink) {
    put_marked(out, Marker::Null, []);
}

pub(super) fn put_bool(out: &mut impl Sink, value: bool) {
    put_marked(out, if value { Marker::True } else { Marker::False }, []);
}

pub(super) fn put_f64(out: &mut impl Sink, value: f64) {
    put_marked(out, Marker::F64, value.to_be_bytes());
}

/// Writes a non-negative integer.
pub(super) fn put_uint(out: &mut impl Sink, value: u64) {
    if value < 0x80 {
        put_marked(out, Marker::FixPos(value as u8), []);
    } else if let Ok(value) = u8::try_from(value) {
        put_marked(out, Marker::U8, value.to_be_bytes());
    } else if let Ok(value) = u16::try_from(value) {
        put_marked(out, Marker::U16, value.to_be_bytes());
    } else if let Ok(value) = u32::try_from(value) {
        put_marked(out, Marker::U32, value.to_be_bytes());
    } else {
        put_marked(out, Marker::U64, value.to_be_bytes());
    }
}

/// Writes an integer. A non-negative integer uses the unsigned form, as in Python, because that
/// form is never longer.
pub(super) fn put_int(out: &mut impl Sink, value: i64) {
    if let Ok(value) = u64::try_from(value) {
        put_uint(out, value);
    } else if value >= -32 {
        put_marked(out, Marker::FixNeg(value as i8), []);
    } else if let Ok(value) = i8::try_from(value) {
        put_marked(out, Marker::I8, value.to_be_bytes());
    } else if let Ok(value) = i16::try_from(value) {
        put_marked(out, Marker::I16, value.to_be_bytes());
    } else if let Ok(value) = i32::try_from(value) {
        put_marked(out, Marker::I32, value.to_be_bytes());
    } else {
        put_marked(out, Marker::I64, value.to_be_bytes());
    }
}

/// Writes a string. The encoder checks that the length of the string fits into 32 bits.
pub(super) fn put_str(out: &mut impl Sink, text: &str) {
    let len = text.len();
    if len < 32 {
        put_marked(out, Marker::FixStr(len as u8), []);
    } else if let Ok(len) = u8::try_from(len) {
        put_marked(out, Marker::Str8, len.to_be_bytes());
    } else if let Ok(len) = u16::try_from(len) {
        put_marked(out, Marker::Str16, len.to_be_bytes());
    } else {
        put_marked(out, Marker::Str32, (len as u32).to_be_bytes());
    }
    out.put(text.as_bytes());
}

/// Writes binary data. The encoder checks that the length of the data fits into 32 bits.
pub(super) fn put_bin(out: &mut impl Sink, bytes: &[u8]) {
    put_bin_head(out, bytes.len() as u32);
    out.put(bytes);
}

/// Writes the header of binary data of `len` bytes. The caller appends the data.
pub(super) fn put_bin_head(out: &mut impl Sink, len: u32) {
    if let Ok(len) = u8::try_from(len) {
        put_marked(out, Marker::Bin8, len.to_be_bytes());
    } else if let Ok(len) = u16::try_from(len) {
        put_marked(out, Marker::Bin16, len.to_be_bytes());
    } else {
        put_marked(out, Marker::Bin32, len.to_be_bytes());
    }
}

/// Writes an extension value of type `code`. The length of `data` must fit into 32 bits.
pub(super) fn put_ext(out: &mut impl Sink, code: i8, data: &[u8]) {
    let len = data.len();
    match len {
        1 => put_marked(out, Marker::FixExt1, []),
        2 => put_marked(out, Marker::FixExt2, []),
        4 => put_marked(out, Marker::FixExt4, []),
        8 => put_marked(out, Marker::FixExt8, []),
        16 => put_marked(out, Marker::FixExt16, []),
        _ => {
            if let Ok(len) = u8::try_from(len) {
                put_marked(out, Marker::Ext8, len.to_be_bytes());
            } else if let Ok(len) = u16::try_from(len) {
                put_marked(out, Marker::Ext16, len.to_be_bytes());
            } else {
                put_marked(out, Marker::Ext32, (len as u32).to_be_bytes());
            }
        }
    }
    out.put(&code.to_be_bytes());
    out.put(data);
}

/// Writes the header of a list of `len` items. The caller appends the items.
pub(super) fn put_list_head(out: &mut impl Sink, len: u32) {
    if len < 16 {
        put_marked(out, Marker::FixArray(len as u8), []);
    } else if let Ok(len) = u16::try_from(len) {
        put_marked(out, Marker::Array16, len.to_be_bytes());
    } else {
        put_marked(out, Marker::Array32, len.to_be_bytes());
    }
}

/// Writes the header of a map of `len` entries. The caller appends the entries, each key before its
/// value.
pub(super) fn put_map_head(out: &mut impl Sink, len: u32) {
    if len < 16 {
        put_marked(out, Marker::FixMap(len as u8), []);
    } else if let Ok(len) = u16::try_from(len) {
        put_marked(out, Marker::Map16, len.to_be_bytes());
    } else {
        put_marked(out, Marker::Map32, len.to_be_bytes());
    }
}

/// Returns the length in bytes of the header of a list or map with `len` items or entries.
pub(super) fn head_len(len: u32) -> usize {
    match len {
        0..=15 => 1,
        16..=0xffff => 3,
        _ => 5,
    }
}
