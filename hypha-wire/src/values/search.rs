//! Decodes values that serde buffers before it knows their types.
//!
//! If serde refuses a buffered value, the whole value is decoded again with another form for the
//! values at the same place. A value is also decoded again if serde refused such values and
//! succeeded nevertheless: an untagged enum tries its variants in turn, and the first variant may
//! fit only with another form.

use std::cmp::Reverse;
use std::collections::HashSet;

use super::array::misfit;
use super::buffered::{
    self, BufferedArray, Form, Found, Hint, Last, Notes, Outer, Place, Seen, Shown,
};
use super::decode_error::DecodeError;
use super::dtype;
use super::handles::Decoding;

/// Maximum number of times that one value is decoded to find its hints, in each kind of search.
/// Without a maximum, a value that never fits would cost too much time.
const MAX_ATTEMPTS: usize = 32;
/// Minimum number of names of members for which a hint for all members of a map is tried.
const MIN_NAMES: usize = 4;
/// Minimum number of names in the hints of a search that has no attempt left, for which one hint
/// for all members of a map is tried.
const MANY_NAMES: usize = 8;
/// Maximum number of further attempts after a success in which a hint may be wrong.
const MAX_AFTER_MISFIT: usize = 8;
/// Maximum number of places that are tested to find the path of an error.
const MAX_TESTED: usize = 8;
/// Maximum number of hints that one attempt suggests.
const MAX_CANDIDATES: usize = 64;

/// Decodes a value, and decodes it again with other forms if serde refused a buffered value. The
/// argument of `attempt` is whether the decoded value is kept.
pub(super) fn decode<T>(
    mut attempt: impl FnMut(bool) -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    // The guard is dropped last, so that handles are released after the values of all attempts are
    // dropped.
    let _decoding = Decoding::begin();
    let _outer = Outer::leave();
    let mut found = attempt(true);
    let Some(notes) = buffered::end() else {
        return found;
    };
    if found.is_ok() && notes.refused.is_empty() {
        return found;
    }
    let mut fewest = usize::MAX;
    let error = search(notes, found.as_ref().err().cloned(), &mut |is_kept| {
        let value = attempt(is_kept)?;
        let refusals = buffered::refusals();
        if is_kept && refusals < fewest {
            (found, fewest) = (Ok(value), refusals);
        }
        Ok(())
    });
    match (found, error) {
        (Err(_), Some(error)) => Err(error),
        (found, _) => found,
    }
}

/// Decodes a value again, after an attempt with these notes. Returns the error to report if that
/// attempt and all others failed.
///
/// First, each array must have exactly the expected type, because the type of an array may be the
/// only difference between the variants of an untagged enum. If nothing fits, arrays are converted.
fn search(
    mut notes: Notes,
    error: Option<DecodeError>,
    attempt: &mut dyn FnMut(bool) -> Result<(), DecodeError>,
) -> Option<DecodeError> {
    let mut search = Search::new(error, &mut notes, false, attempt);
    search.run(notes);
    if !search.has_cast {
        return search.error();
    }
    search.best.as_ref()?;
    buffered::begin_with(Notes {
        may_cast: true,
        is_incomplete: true,
        ..Notes::default()
    });
    let error = attempt(true).err();
    let mut notes = buffered::end().unwrap_or_default();
    if error.is_some() || !notes.refused.is_empty() {
        let mut search = Search::new(error, &mut notes, true, attempt);
        search.run(notes);
        return search.error();
    }
    None
}

/// Search for the hints with which a value can be decoded. Does not depend on the type of the
/// value, because each instance would add a kilobyte to a program.
struct Search<'a> {
    /// Number of attempts that are left.
    left: usize,
    /// Failure to report. `None` if the first attempt succeeded.
    best: Option<Failure>,
    /// Number of names in the hints of the attempt that came furthest, if the first attempt
    /// succeeded.
    names: usize,
    /// Attempts that failed. Hints that change none of their values fail again.
    failed: Vec<Failed>,
    /// Whether one hint for all members of a map is tried.
    has_hints_of_maps: bool,
    /// Whether arrays of another type are converted.
    may_cast: bool,
    /// Whether an array would have been converted.
    has_cast: bool,
    /// Decodes the value once, and keeps the value if the argument is true.
    attempt: &'a mut dyn FnMut(bool) -> Result<(), DecodeError>,
}

/// Failed attempt.
struct Failure {
    /// Higher for an attempt that came further.
    rank: (bool, usize),
    hints: Vec<Hint>,
    last: Last,
    /// Arrays that were put into the buffer.
    arrays: Vec<BufferedArray>,
    error: DecodeError,
}

/// Values of the buffer that an attempt could not decode, with the forms that the values had.
struct Failed {
    values: Vec<(Seen, Option<Form>)>,
    /// Whether there were further values.
    is_incomplete: bool,
}

impl Failed {
    fn new(hints: &[Hint], notes: &Notes) -> Failed {
        let seen = notes.seen.iter();
        Failed {
            values: seen.map(|seen| (seen.clone(), form(hints, seen))).collect(),
            is_incomplete: notes.is_incomplete,
        }
    }

    /// Returns whether the values have the same forms with these hints.
    fn fails_again(&self, hints: &[Hint]) -> bool {
        let mut values = self.values.iter();
        values.all(|(seen, before)| form(hints, seen) == *before)
    }
}

/// Returns the name of the member that contains a value.
fn name(seen: &Seen) -> Option<&str> {
    seen.places.first().and_then(Place::name)
}

/// Returns the number of different names in the places of these hints.
fn names(hints: &[Hint]) -> usize {
    let names: HashSet<_> = hints.iter().map(|hint| hint.place.name()).collect();
    names.len()
}

/// Returns the form of a value.
fn form(hints: &[Hint], seen: &Seen) -> Option<Form> {
    let suits = |hint: &&Hint| hint.suits(&seen.shown) && seen.places.contains(&hint.place);
    hints.iter().rev().find(suits).map(|hint| hint.form)
}

impl<'a> Search<'a> {
    /// Starts a search after an attempt with this error and these notes.
    fn new(
        error: Option<DecodeError>,
        notes: &mut Notes,
        may_cast: bool,
        attempt: &'a mut dyn FnMut(bool) -> Result<(), DecodeError>,
    ) -> Self {
        if error.is_some() {
            notes.fail();
        }
        Search {
            left: MAX_ATTEMPTS,
            names: 0,
            failed: Vec::new(),
            best: error.map(|error| Failure {
                rank: (false, 0),
                hints: Vec::new(),
                last: notes.last.clone(),
                arrays: Vec::new(),
                error,
            }),
            has_hints_of_maps: false,
            may_cast,
            has_cast: notes.has_cast,
            attempt,
        }
    }

    /// Searches for hints.
    fn run(&mut self, first: Notes) {
        let refused = first.refused.clone();
        if let Some(notes) = self.watch(&[], &refused, first) {
            self.find(&mut Vec::new(), &refused, &notes);
            // The hints that were left out may change values that were not recorded.
            self.failed.retain(|failed| !failed.is_incomplete);
            self.find(&mut Vec::new(), &refused, &notes);
            if self.is_limited() {
                // Only now, because such a hint costs attempts, and is wrong for most structs.
                self.has_hints_of_maps = true;
                self.left = MAX_ATTEMPTS;
                self.failed.clear();
                self.find(&mut Vec::new(), &refused, &notes);
            }
        }
    }

    /// Returns whether the value may fit, but has members with too many names for the attempts.
    fn is_limited(&self) -> bool {
        let best = self.best.as_ref();
        self.left == 0 && best.map_or(self.names, |best| names(&best.hints)) >= MANY_NAMES
    }

    /// Returns the error to report if the first attempt and all others failed.
    fn error(mut self) -> Option<DecodeError> {
        let is_limited = self.is_limited();
        let best = self.best.take()?;
        let error = self.locate(best);
        Some(match is_limited {
            true => error.after_attempts(),
            false => error,
        })
    }

    /// Decodes once with these notes. Returns the error, and the notes of the attempt.
    fn decode(&mut self, mut notes: Notes, is_kept: bool) -> (Option<DecodeError>, Notes) {
        notes.may_cast = self.may_cast;
        buffered::begin_with(notes);
        let error = (self.attempt)(is_kept).err();
        let mut notes = buffered::end().unwrap_or_default();
        self.has_cast |= notes.has_cast;
        if error.is_some() {
            notes.fail();
        }
        (error, notes)
    }

    /// Decodes once with these hints. Returns `None` if no attempt is left. An attempt without
    /// hints only records the places of the values.
    ///
    /// If serde refused values and succeeded nevertheless, the search continues. An untagged enum
    /// may need another form for its first variant, and a flattened `Option` is `None` if one value
    /// does not fit. The result is the first of the successes with the fewest refusals.
    fn attempt(&mut self, hints: &[Hint], watched: Vec<Shown>) -> Option<Notes> {
        let is_watching = !watched.is_empty();
        self.left = self.left.checked_sub(1)?;
        let has_hints = !hints.is_empty();
        let (error, notes) = self.decode(
            Notes {
                hints: hints.to_vec(),
                watched,
                ..Notes::default()
            },
            has_hints,
        );
        if error.is_none() && has_hints {
            self.best = None;
            if notes.refused.is_empty() {
                self.names = 0;
                self.left = match notes.has_misfit {
                    true => self.left.min(MAX_AFTER_MISFIT),
                    false => 0,
                };
            }
        }
        if !is_watching {
            self.failed.push(Failed::new(hints, &notes));
        }
        if self.best.is_none() && !notes.refused.is_empty() {
            self.names = self.names.max(names(hints));
        }
        let Some(error) = error else {
            return Some(notes);
        };
        // An error for which there is no other form is the error to report.
        let rank = match notes.is_out_of_range {
            true => (false, 2 * hints.len() - usize::from(has_hints)),
            false => (has_hints && notes.refused.is_empty(), 2 * hints.len()),
        };
        let best = self.best.as_mut();
        if let Some(best) = best.filter(|best| best.rank < rank && !notes.last.is_misfit) {
            *best = Failure {
                rank,
                hints: hints.to_vec(),
                last: notes.last.clone(),
                arrays: notes.arrays.clone(),
                error,
            };
        }
        Some(notes)
    }

    /// Returns the notes of an attempt that has recorded the refused values.
    fn watch(&mut self, hints: &[Hint], refused: &[(Shown, Form)], notes: Notes) -> Option<Notes> {
        let unseen = refused.iter().map(|(shown, _)| shown);
        let unseen = unseen.filter(|shown| !notes.seen.iter().any(|seen| seen.shown == **shown));
        let unseen: Vec<Shown> = unseen.cloned().collect();
        match notes.is_incomplete && !unseen.is_empty() {
            true => self.attempt(hints, unseen),
            false => Some(notes),
        }
    }

    /// Tries each hint that the refusals of the last attempt suggest, in addition to `hints`. Ends
    /// after the first success without refusals, because no attempt is left then.
    fn find(&mut self, hints: &mut Vec<Hint>, refused: &[(Shown, Form)], notes: &Notes) {
        let mut doubtful = Vec::new();
        for hint in candidates(hints, refused, &notes.seen, self.has_hints_of_maps) {
            if self.left == 0 {
                return;
            }
            hints.push(hint.clone());
            if !self.failed.iter().any(|failed| failed.fails_again(hints)) {
                let Some(notes) = self.attempt(hints, Vec::new()) else {
                    return;
                };
                // If a later variant of an untagged enum fits without hints, each hint is wrong for
                // that variant.
                let is_new = |refusal| !refused.contains(refusal);
                let has_helped = self.best.is_none() && notes.refused.iter().any(is_new);
                match notes.last.is_doubtful() && !has_helped {
                    // The hint may be wrong for another value, or needless. Try the others first.
                    true => doubtful.push((hint, notes)),
                    false => self.find_more(hints, notes),
                }
            }
            hints.pop();
        }
        for (hint, notes) in doubtful {
            hints.push(hint);
            self.find_more(hints, notes);
            hints.pop();
        }
    }

    fn find_more(&mut self, hints: &mut Vec<Hint>, mut notes: Notes) {
        let refused = std::mem::take(&mut notes.refused);
        if let Some(notes) = self.watch(hints, &refused, notes) {
            self.find(hints, &refused, &notes);
        }
    }

    /// Adds to an error the path of the value or key that serde refused, if it can be found.
    fn locate(&mut self, failure: Failure) -> DecodeError {
        let Failure {
            hints,
            last,
            arrays,
            error,
            ..
        } = failure;
        let wanted = last.wanted_dimensions();
        let wanted = wanted.filter(|_| cfg!(feature = "ndarray"));
        if let Some(error) = wanted.and_then(|wanted| self.locate_array(&hints, arrays, wanted)) {
            return error;
        }
        let Some(shown) = last.shown.clone() else {
            return error;
        };
        let notes = Notes {
            hints: hints.clone(),
            wanted: Some(shown),
            ..Notes::default()
        };
        let (_, notes) = self.decode(notes, false);
        let found = notes.found.into_iter();
        let mut found: Vec<Found> = found.filter(|found| error.may_be_in(found)).collect();
        if found.len() > 1 {
            // Several values are equal to the refused value. Replace one at a time, until serde
            // refuses the replacement for the same reason.
            found.truncate(MAX_TESTED);
            let position = found.iter().position(|found| {
                let notes = Notes {
                    hints: hints.clone(),
                    replaced: Some(found.position),
                    ..Notes::default()
                };
                self.decode(notes, false).1.last.is_replaced(&last)
            });
            found = position
                .map(|index| found.swap_remove(index))
                .into_iter()
                .collect();
        }
        match found.pop() {
            Some(found) => error.found(found, &last),
            None => error,
        }
    }

    /// Returns the error for the array that has another number of dimensions than `dimensions`, if
    /// that array can be found.
    fn locate_array(
        &mut self,
        hints: &[Hint],
        arrays: Vec<BufferedArray>,
        dimensions: usize,
    ) -> Option<DecodeError> {
        let arrays = arrays.into_iter();
        let arrays = arrays.filter(|array| array.shape.len() != dimensions);
        for array in arrays.take(MAX_TESTED) {
            let notes = Notes {
                hints: hints.to_vec(),
                probed: Some((array.position, dimensions)),
                ..Notes::default()
            };
            // serde refuses the elements only if it has accepted the number of dimensions.
            let last = self.decode(notes, false).1.last;
            let Some(element) = last.expected else {
                continue;
            };
            let element = match last.shown {
                // A newtype of a `u16`. The element is a newtype of bytes.
                Some(Shown::Bytes) if *element == *"u16" => "float16".to_owned(),
                Some(Shown::Ext | Shown::Bytes) => dtype::of_rust(&element)
                    .map_or("other elements".to_owned(), |dtype| dtype.to_string()),
                _ => continue,
            };
            let message = misfit(&element, Some(dimensions), &array.dtype, &array.shape);
            return Some(DecodeError::new(message).at(array.path));
        }
        None
    }
}

/// Returns the hints that the refusals suggest, in addition to `hints`. The hints for the most
/// places come first.
fn candidates(
    hints: &[Hint],
    refused: &[(Shown, Form)],
    seen: &[Seen],
    has_hints_of_maps: bool,
) -> Vec<Hint> {
    let mut candidates: Vec<Hint> = Vec::new();
    for (shown, form) in refused {
        let is_scalar = *shown == Shown::Map && *form == Form::Number;
        let places = seen.iter().filter(|seen| seen.shown == *shown);
        let places = places.filter(|seen| seen.is_scalar || !is_scalar);
        for place in places.flat_map(|seen| seen.places.iter()) {
            let hint = Hint {
                place: place.clone(),
                form: *form,
            };
            if !hints.contains(&hint) && !candidates.contains(&hint) {
                candidates.push(hint);
            }
        }
    }
    let changed = |hint: &Hint| {
        let hint = hint.clone();
        let is_changed = move |seen: &&Seen| form(std::slice::from_ref(&hint), seen).is_some();
        seen.iter().filter(is_changed)
    };
    candidates.retain(|hint| {
        if hint.place.name().is_some() || !has_hints_of_maps {
            return hint.place.name().is_some();
        }
        // For a small map, the hint would cost more attempts than it saves.
        // Items of a list that serde has accepted are not among the values.
        let before = hints.iter().filter(|before| before.form == hint.form);
        let before = before.filter_map(|before| before.place.name());
        let names: HashSet<_> = changed(hint).filter_map(name).chain(before).collect();
        names.len() >= MIN_NAMES
    });
    candidates.sort_by_cached_key(|hint| {
        let (level, is_index) = hint.place.order();
        // One index of a path is the index in a tuple. The other indexes vary, so a hint for this
        // index changes more values.
        let changed = if is_index { changed(hint).count() } else { 0 };
        (level, is_index, Reverse(changed))
    });
    candidates.truncate(MAX_CANDIDATES);
    candidates
}
