//! Defines [`Timestamp`], a point in time. On the wire, a timestamp is a msgpack extension value of
//! type -1, which JavaScript uses for `Date`.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

use super::value::Value;
use crate::keys::SCHEMA_KIND;

const NANOS_PER_SECOND: u32 = 1_000_000_000;

/// Type byte of the extension value.
pub(super) const CODE: i8 = -1;

/// Point in time. It arrives as a `Date` in JavaScript and as a `msgpack.Timestamp` in Python.
///
/// Deserializing also accepts a number of seconds since 1970 (`time.time()`), because Python
/// clients cannot send a timestamp.
///
/// ```
/// # use hypha_wire::Timestamp;
/// use std::time::SystemTime;
///
/// let now = SystemTime::now();
/// assert_eq!(SystemTime::try_from(Timestamp::from(now)), Ok(now));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp {
    seconds: i64,
    nanoseconds: u32,
}

impl Timestamp {
    /// Creates the time that is `seconds` and `nanoseconds` after 1970-01-01 00:00 UTC. A negative
    /// number of seconds denotes an earlier time.
    ///
    /// Returns `None` if `nanoseconds` is 1,000,000,000 or more.
    #[must_use]
    pub fn new(seconds: i64, nanoseconds: u32) -> Option<Timestamp> {
        (nanoseconds < NANOS_PER_SECOND).then_some(Timestamp {
            seconds,
            nanoseconds,
        })
    }

    /// Returns the current time of the system clock.
    #[must_use]
    pub fn now() -> Timestamp {
        SystemTime::now().into()
    }

    /// Returns the number of whole seconds since 1970-01-01 00:00 UTC, rounded down.
    #[must_use]
    pub fn seconds(&self) -> i64 {
        self.seconds
    }

    /// Returns the number of nanoseconds since the start of the second [`seconds`](Self::seconds),
    /// at most 999,999,999.
    #[must_use]
    pub fn nanoseconds(&self) -> u32 {
        self.nanoseconds
    }

    /// Returns the data in the smallest of the three forms that msgpack defines: 32 bits of
    /// seconds, 30 bits of nanoseconds with 34 bits of seconds, or 32 bits of nanoseconds with 64
    /// bits of seconds.
    pub(super) fn pack(&self) -> Vec<u8> {
        match (u32::try_from(self.seconds), u64::try_from(self.seconds)) {
            (Ok(seconds), _) if self.nanoseconds == 0 => seconds.to_be_bytes().to_vec(),
            (_, Ok(seconds)) if seconds >> 34 == 0 => {
                let both = u64::from(self.nanoseconds) << 34 | seconds;
                both.to_be_bytes().to_vec()
            }
            _ => {
                let mut data = self.nanoseconds.to_be_bytes().to_vec();
                data.extend(self.seconds.to_be_bytes());
                data
            }
        }
    }

    /// Reads any of the three forms that msgpack defines.
    pub(super) fn unpack(data: &[u8]) -> Result<Timestamp, String> {
        let (seconds, nanoseconds) = if let Ok(seconds) = data.try_into() {
            (u32::from_be_bytes(seconds).into(), 0)
        } else if let Ok(both) = data.try_into() {
            let both = u64::from_be_bytes(both);
            // The two parts have 34 and 30 bits, so both casts are lossless.
            ((both & ((1 << 34) - 1)) as i64, (both >> 34) as u32)
        } else if let Some((Ok(seconds), nanoseconds)) = data
            .split_first_chunk()
            .map(|(nanoseconds, seconds)| (seconds.try_into(), nanoseconds))
        {
            (
                i64::from_be_bytes(seconds),
                u32::from_be_bytes(*nanoseconds),
            )
        } else {
            let len = data.len();
            return Err(format!(
                "a timestamp has 4, 8 or 12 bytes of data, not {len}"
            ));
        };
        Timestamp::new(seconds, nanoseconds)
            .ok_or_else(|| format!("{nanoseconds} nanoseconds are more than a second"))
    }

    /// Reads a timestamp from the type byte and data of an extension value. Returns `None` for
    /// other types.
    pub(super) fn of_extension(value: &[u8]) -> Option<Timestamp> {
        let (code, data) = value.split_first()?;
        let data = (*code as i8 == CODE).then_some(data)?;
        Self::unpack(data).ok()
    }

    /// Returns the number of seconds since 1970, including the fraction.
    #[must_use]
    pub fn as_secs_f64(&self) -> f64 {
        self.seconds as f64 + f64::from(self.nanoseconds) / f64::from(NANOS_PER_SECOND)
    }

    /// Converts a number of seconds since 1970. Returns `None` if the number does not fit into 64
    /// bits.
    pub(super) fn from_seconds(seconds: f64) -> Option<Timestamp> {
        let whole = seconds.floor();
        // A float represents the upper bound exactly. The upper bound is the first value that does
        // not fit. NaN is outside of every range.
        if !(-(2f64.powi(63))..2f64.powi(63)).contains(&whole) {
            return None;
        }
        // The product may be rounded up to a whole second, which `new` would reject.
        let nanoseconds = ((seconds - whole) * f64::from(NANOS_PER_SECOND)) as u32;
        Timestamp::new(whole as i64, nanoseconds.min(NANOS_PER_SECOND - 1))
    }
}

/// Converts a system time. A time that does not fit into 64 bits of seconds becomes the nearest
/// time that fits.
impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => Self {
                seconds: i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
                nanoseconds: after.subsec_nanos(),
            },
            Err(error) => {
                let before = error.duration();
                let seconds = i64::try_from(before.as_secs()).map_or(i64::MIN, |seconds| -seconds);
                match before.subsec_nanos() {
                    0 => Self {
                        seconds,
                        nanoseconds: 0,
                    },
                    // The nanoseconds are added to the seconds. Therefore the seconds of a time
                    // before 1970 are rounded down.
                    nanoseconds => Self {
                        seconds: seconds.saturating_sub(1),
                        nanoseconds: NANOS_PER_SECOND - nanoseconds,
                    },
                }
            }
        }
    }
}

/// Error returned when a [`Timestamp`] is out of the range of `SystemTime`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampError(Timestamp);

impl std::fmt::Display for TimestampError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = self.0.seconds;
        write!(
            f,
            "{seconds} seconds since 1970 are out of range of the system time"
        )
    }
}

impl std::error::Error for TimestampError {}

impl TryFrom<Timestamp> for SystemTime {
    type Error = TimestampError;

    fn try_from(time: Timestamp) -> Result<Self, TimestampError> {
        // Use `unsigned_abs`, because `-i64::MIN` would overflow.
        let seconds = Duration::from_secs(time.seconds.unsigned_abs());
        let base = if time.seconds < 0 {
            SystemTime::UNIX_EPOCH.checked_sub(seconds)
        } else {
            SystemTime::UNIX_EPOCH.checked_add(seconds)
        };
        base.and_then(|base| base.checked_add(Duration::from_nanos(time.nanoseconds.into())))
            .ok_or(TimestampError(time))
    }
}

impl From<Timestamp> for Value {
    fn from(time: Timestamp) -> Value {
        Value::Ext(CODE, time.pack().into())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Value::from(*self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        match (&value, value.as_f64()) {
            (Value::Ext(CODE, data), _) => Timestamp::unpack(data).map_err(de::Error::custom),
            // Handle integers separately, because a conversion to a float would round large
            // integers.
            (Value::Int(seconds), _) => Ok(Self {
                seconds: *seconds,
                nanoseconds: 0,
            }),
            (_, Some(seconds)) => Timestamp::from_seconds(seconds)
                .ok_or_else(|| de::Error::custom(format_args!("{seconds} is not a time"))),
            (other, None) => Err(de::Error::invalid_type(
                de::Unexpected::Other(other.kind()),
                &"timestamp",
            )),
        }
    }
}

impl JsonSchema for Timestamp {
    fn schema_name() -> Cow<'static, str> {
        "Timestamp".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "number",
            "description": "A point in time: a Date in JavaScript, or seconds since 1970-01-01 \
                            UTC.",
            (SCHEMA_KIND): "timestamp"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed_as(seconds: i64, nanoseconds: u32, len: usize) {
        let time = Timestamp::new(seconds, nanoseconds).expect("less than a second");
        let data = time.pack();
        assert_eq!(data.len(), len, "{time:?}");
        assert_eq!(Timestamp::unpack(&data), Ok(time));
    }

    #[test]
    fn the_smallest_form_is_taken() {
        packed_as(0, 0, 4);
        packed_as(u32::MAX.into(), 0, 4);
        packed_as(u32::MAX.into(), 1, 8);
        packed_as(i64::from(u32::MAX) + 1, 0, 8);
        packed_as((1 << 34) - 1, NANOS_PER_SECOND - 1, 8);
        packed_as(1 << 34, 0, 12);
        packed_as(-1, 0, 12);
        packed_as(i64::MIN, NANOS_PER_SECOND - 1, 12);
        packed_as(i64::MAX, 0, 12);
    }

    #[test]
    fn other_data_are_errors() {
        for len in (0..20).filter(|len| ![4, 8, 12].contains(len)) {
            assert_eq!(
                Timestamp::unpack(&vec![0; len]),
                Err(format!(
                    "a timestamp has 4, 8 or 12 bytes of data, not {len}"
                ))
            );
        }
        let error = Timestamp::unpack(&[0xff; 12]).expect_err("too many nanoseconds");
        assert_eq!(error, "4294967295 nanoseconds are more than a second");
        assert!(Timestamp::unpack(&[0xff; 8]).is_err());
        assert_eq!(Timestamp::new(0, NANOS_PER_SECOND), None);
    }

    #[test]
    fn times_of_the_system_survive() {
        for nanoseconds in [0, 1, 1_500_000_000, NANOS_PER_SECOND as u64 * 5_000_000_000] {
            let distance = Duration::from_nanos(nanoseconds);
            for time in [
                SystemTime::UNIX_EPOCH + distance,
                SystemTime::UNIX_EPOCH - distance,
            ] {
                assert_eq!(SystemTime::try_from(Timestamp::from(time)), Ok(time));
            }
        }
        let before = SystemTime::UNIX_EPOCH - Duration::from_millis(1_250);
        assert_eq!(
            Timestamp::from(before),
            Timestamp::new(-2, 750_000_000).expect("valid")
        );
        // The range of the system time differs between platforms. A value that is out of range must
        // not cause a panic.
        for seconds in [i64::MIN, i64::MAX] {
            let _ = SystemTime::try_from(Timestamp::new(seconds, 1).expect("valid"));
        }
    }

    #[test]
    fn seconds_as_floats_are_read() {
        assert_eq!(Timestamp::from_seconds(1.5), Timestamp::new(1, 500_000_000));
        assert_eq!(
            Timestamp::from_seconds(-0.25),
            Timestamp::new(-1, 750_000_000)
        );
        assert_eq!(
            Timestamp::from_seconds(-1e-20),
            Timestamp::new(-1, 999_999_999)
        );
        for number in [f64::NAN, f64::INFINITY, -f64::INFINITY, 1e19, -1e19] {
            assert_eq!(Timestamp::from_seconds(number), None);
        }
    }
}
