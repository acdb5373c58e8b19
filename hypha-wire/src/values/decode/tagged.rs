//! Accepts typed values where a plain type is expected: a Python set for a `Vec`, a JavaScript
//! `Map` for a struct, a numpy number for a float.
//!
//! A typed value is a map with the key `_rtype`. The value of that key is the tag. The decoder
//! searches for a tag only if the first key of a map starts with `_r`. Therefore lists and numbers
//! cost nothing extra, and an ordinary map costs one comparison.

use serde::de::{self, Deserializer as _, Visitor};

use super::elements::{Rows, number_token};
use super::{Decoder, Items, Token, copies};
use crate::keys;
use crate::values::array::NdArray;
use crate::values::array_serde::ArrayVisitor;
use crate::values::decode_error::DecodeError;
use crate::values::dtype::is_bytes;

/// Maximum nesting depth of typed values whose tag is not in the first entry. On each level, the
/// search for such a tag scans all preceding entries again. Without this maximum, the time of the
/// search would be proportional to the nesting depth times the length of the frame.
pub(super) const MAX_LATE_TAGS: usize = 4;

impl<'de> Decoder<'de> {
    /// Returns the tag of the map whose `len` entries come next, or `b""` for an ordinary map. Does
    /// not advance the position of the decoder.
    fn tag(&self, len: u32) -> Result<&'de [u8], DecodeError> {
        // All keys of typed values start with `_r` and are short, so the header of such a key is
        // one byte.
        let rest = self.input.get(self.pos..).unwrap_or_default();
        if len == 0 || !matches!(rest, [0xa0..=0xbf, b'_', b'r', ..]) {
            return Ok(b"");
        }
        let looked_at = if self.late_tags_left == 0 { 1 } else { len };
        Ok(match self.look_ahead(looked_at, keys::RTYPE)? {
            Some(Token::Str(tag)) => tag,
            _ => b"",
        })
    }

    /// Returns a decoder that reads ahead from the current position.
    pub(super) fn ahead(&self) -> Self {
        Decoder {
            trail: None,
            ..*self
        }
    }

    /// Returns the first token of the member `name` among the next `len` entries. Does not advance
    /// the position of the decoder.
    fn look_ahead(&self, len: u32, name: &str) -> Result<Option<Token<'de>>, DecodeError> {
        // Use a copy, so that the caller can still read the map from its start.
        let mut ahead = self.ahead();
        for _ in 0..len {
            if ahead.key()? == name {
                return ahead.token().map(Some);
            }
            ahead.skip()?;
        }
        Ok(None)
    }

    /// Calls `read` for the member `_rvalue` of a map, and skips the other entries. The `len`
    /// entries of the map come next in the input.
    fn content<T>(
        &mut self,
        len: u32,
        read: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        self.enter()?;
        let late_tags_left = self.late_tags_left;
        let (mut read, mut content) = (Some(read), None);
        for index in 0..len {
            let key = self.key()?;
            // The search for the tag has already scanned the content once. Therefore, inside the
            // content, allow one search less.
            if index == 0 && key != keys::RTYPE {
                self.late_tags_left = late_tags_left.saturating_sub(1);
            }
            match read.take_if(|_| key == keys::RVALUE) {
                Some(read) => content = Some(read(self)?),
                None => self.skip()?,
            }
        }
        self.late_tags_left = late_tags_left;
        self.leave();
        content.ok_or_else(|| de::Error::missing_field(keys::RVALUE))
    }

    /// Returns whether an array comes next, in any form.
    pub(super) fn is_array_next(&self) -> Result<bool, DecodeError> {
        let mut ahead = self.ahead();
        Ok(match ahead.token()? {
            Token::Map(len) => {
                matches!(ahead.tag(len)?, b"ndarray" | b"typedarray" | b"memoryview")
            }
            Token::Nil | Token::Str(_) | Token::Ext(_) => false,
            _ => true,
        })
    }

    /// Returns whether the map whose `len` entries come next is an array without dimensions.
    #[inline(never)]
    pub(super) fn is_scalar(&self, len: u32) -> bool {
        matches!(self.tag(len), Ok(b"ndarray"))
            && matches!(self.look_ahead(len, keys::RSHAPE), Ok(Some(Token::List(0))))
    }

    /// Visits a map where a list is expected. Depending on the tag, passes the items of a set, the
    /// pairs of an ordered map, the bytes of a buffer, or the rows or numbers of an array to the
    /// visitor.
    pub(super) fn tagged_list<V: Visitor<'de>>(
        &mut self,
        len: u32,
        items: Items,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match self.tag(len)? {
            b"set" | b"orderedmap" | b"memoryview" => {
                self.content(len, |decoder| decoder.items(items, visitor))
            }
            b"ndarray" | b"typedarray" => {
                // Read the whole array before visiting the rows, because the shape and the element
                // type may come after the data.
                let array = self.map(len, ArrayVisitor)?;
                Rows::visit(self, &array, copies(items, usize::MAX), visitor)
            }
            _ => self.map(len, visitor),
        }
    }

    /// Visits a map where a map is expected. For an ordered map, passes its pairs to the visitor as
    /// entries. For a pydantic model, passes its fields to the visitor.
    pub(super) fn tagged_map<V: Visitor<'de>>(
        &mut self,
        len: u32,
        items: Items,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match self.tag(len)? {
            b"orderedmap" => self.content(len, |decoder| match decoder.token()? {
                Token::List(len) => decoder.pairs(len, visitor),
                token => decoder.visit(token, visitor),
            }),
            b"pydantic_model" => self.content(len, |decoder| match decoder.token()? {
                Token::Map(len) => decoder.tagged_map(len, items, visitor),
                token => decoder.visit(token, visitor),
            }),
            _ => self.entries(len, false, items, visitor),
        }
    }

    /// Visits a map where bytes are expected. Passes the bytes of a buffer or of a `uint8` array to
    /// the visitor.
    pub(super) fn tagged_bytes<V: Visitor<'de>>(
        &mut self,
        len: u32,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let found = match self.tag(len)? {
            b"memoryview" => true,
            b"typedarray" | b"ndarray" => match self.look_ahead(len, keys::RDTYPE)? {
                Some(Token::Str(dtype)) => is_bytes(dtype),
                // JavaScript sends a `Uint8ClampedArray`, for example the pixels of a canvas,
                // without an element type.
                dtype => matches!(dtype, Some(Token::Nil)),
            },
            _ => false,
        };
        match found {
            true => self.content(len, |decoder| decoder.deserialize_bytes(visitor)),
            false => self.map(len, visitor),
        }
    }

    /// Reads the next token where a number or `bool` is expected. Also accepts an array without
    /// dimensions, which is a numpy scalar.
    pub(super) fn scalar<V: Visitor<'de>>(
        &mut self,
        visitor: &V,
    ) -> Result<Token<'de>, DecodeError> {
        let token = self.token()?;
        let Token::Map(len) = token else {
            return Ok(token);
        };
        if self.tag(len)? != b"ndarray" {
            return Ok(token);
        }
        let array: NdArray = self.map(len, ArrayVisitor)?;
        match number_token(&array, array.data()) {
            Some(token) if array.shape().is_empty() => Ok(token),
            _ => Err(de::Error::invalid_type(
                de::Unexpected::Other(&format!(
                    "an array of {} and shape {:?}",
                    array.dtype(),
                    array.shape()
                )),
                visitor,
            )),
        }
    }
}
