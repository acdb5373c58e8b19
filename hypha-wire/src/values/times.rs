//! Converts a `Duration` to and from a number of seconds, and a `SystemTime` to and from a
//! timestamp.
//!
//! serde converts both types to a struct of two fields, and other languages have no type for such a
//! struct. The name and the fields of the struct distinguish it from other structs, at any depth of
//! a value.

use std::time::Duration;

use super::decode::{Decoder, Token};
use super::decode_error::DecodeError;
use super::time_type::Time;
use super::timestamp::{self, Timestamp};
use crate::pack;

/// Durations of at least this many seconds are written as an integer. An `f64` cannot represent
/// fractions of such large numbers, and would round some integers.
const WHOLE: u64 = 1 << 53;
const NANOS_PER_SECOND: u64 = 1_000_000_000;

impl Time {
    /// Replaces the struct that starts at `start` with the number or timestamp. Does nothing if the
    /// struct has the name but not the fields of the time type.
    ///
    /// The number is exact to the nanosecond below 50 days.
    pub(super) fn replace(self, out: &mut Vec<u8>, start: usize) {
        let Some((seconds, nanoseconds)) = self.written(&out[start..]) else {
            return;
        };
        match self {
            Time::Duration => {
                out.truncate(start);
                match seconds {
                    0..WHOLE => {
                        pack::put_f64(out, Duration::new(seconds, nanoseconds).as_secs_f64());
                    }
                    // Write an integer, because an `f64` would round the seconds.
                    WHOLE.. => pack::put_uint(out, seconds),
                }
            }
            Time::SystemTime => {
                let time = i64::try_from(seconds).ok();
                if let Some(time) = time.and_then(|time| Timestamp::new(time, nanoseconds)) {
                    out.truncate(start);
                    pack::put_ext(out, timestamp::CODE, &time.pack());
                }
            }
        }
    }

    /// Reads the two fields of the encoded struct. Returns `None` if `bytes` is another struct.
    fn written(self, bytes: &[u8]) -> Option<(u64, u32)> {
        let mut decoder = Decoder::of_span(bytes, 0, bytes.len()).ok()?;
        let Ok(Token::Map(2)) = decoder.token() else {
            return None;
        };
        let mut numbers = [0; 2];
        for (field, number) in self.fields().into_iter().zip(&mut numbers) {
            match (decoder.key(), decoder.token()) {
                (Ok(key), Ok(Token::UInt(value))) if key == field => *number = value,
                _ => return None,
            }
        }
        let [seconds, nanoseconds] = numbers;
        let nanoseconds = Some(nanoseconds).filter(|number| *number < NANOS_PER_SECOND)?;
        let is_all = decoder.remaining() == 0;
        is_all.then_some((seconds, u32::try_from(nanoseconds).ok()?))
    }

    /// Converts a received value to the two fields of the struct, which are seconds and
    /// nanoseconds.
    pub(super) fn parts(self, token: &Token<'_>) -> Result<[u64; 2], DecodeError> {
        let parts = |seconds: u64, nanoseconds: u32| [seconds, nanoseconds.into()];
        match (self, token) {
            (_, Token::UInt(seconds)) => Ok(parts(*seconds, 0)),
            (Time::Duration, Token::Float(seconds)) => Duration::try_from_secs_f64(*seconds)
                .map(|duration| parts(duration.as_secs(), duration.subsec_nanos()))
                .map_err(|_| self.out_of_range(seconds)),
            (Time::Duration, Token::Int(seconds)) => Err(self.out_of_range(seconds)),
            (Time::SystemTime, Token::Float(seconds)) => Timestamp::from_seconds(*seconds)
                .and_then(Self::since_epoch)
                .ok_or_else(|| self.out_of_range(seconds)),
            (Time::SystemTime, Token::Int(seconds)) => Err(self.out_of_range(seconds)),
            (Time::SystemTime, Token::Ext([code, data @ ..])) if *code as i8 == timestamp::CODE => {
                let time = Timestamp::unpack(data).map_err(DecodeError::new)?;
                Self::since_epoch(time).ok_or_else(|| self.out_of_range(&time.seconds()))
            }
            (_, other) => Err(DecodeError::expected(self.description(), other.kind())),
        }
    }

    fn since_epoch(time: Timestamp) -> Option<[u64; 2]> {
        let seconds = u64::try_from(time.seconds()).ok()?;
        Some([seconds, time.nanoseconds().into()])
    }

    fn out_of_range(self, seconds: &dyn std::fmt::Display) -> DecodeError {
        DecodeError::new(match self {
            Time::Duration => format!("{seconds} is no duration in seconds"),
            Time::SystemTime => format!(
                "{seconds} is out of range of seconds since 1970; `Timestamp` has earlier times"
            ),
        })
    }
}
