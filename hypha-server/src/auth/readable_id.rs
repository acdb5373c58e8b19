//! Creates random ids that are easy to read, such as `calm-otter-12345678`. Anonymous users and the
//! users of child tokens have such ids.

use rand::RngExt;

const QUALITIES: [&str; 64] = [
    "able", "amber", "ample", "azure", "bold", "brave", "brief", "bright", "brisk", "calm",
    "clear", "clever", "cool", "coral", "crisp", "deep", "eager", "early", "exact", "fair",
    "fancy", "fast", "fine", "firm", "fond", "fresh", "gentle", "glad", "golden", "grand", "green",
    "happy", "honest", "humble", "jolly", "keen", "kind", "large", "light", "lively", "lucky",
    "mellow", "merry", "mild", "neat", "noble", "plain", "proud", "quick", "quiet", "rapid",
    "royal", "shiny", "silent", "silver", "smart", "smooth", "solid", "steady", "sunny", "swift",
    "tidy", "warm", "wise",
];

const THINGS: [&str; 64] = [
    "acorn", "anchor", "apple", "badger", "beacon", "birch", "bridge", "brook", "cedar", "cloud",
    "comet", "copper", "crane", "dolphin", "eagle", "ember", "falcon", "fern", "finch", "forest",
    "fox", "garden", "glacier", "harbor", "hazel", "heron", "island", "ivy", "jade", "kestrel",
    "lagoon", "lantern", "lark", "lemon", "lily", "lynx", "maple", "marble", "meadow", "moon",
    "moss", "oak", "ocean", "olive", "orchid", "otter", "owl", "pebble", "pine", "planet",
    "prairie", "quartz", "raven", "reef", "river", "robin", "sparrow", "spruce", "stone",
    "swallow", "thistle", "tiger", "valley", "willow",
];

/// Returns a random id of the form `<word>-<word>-<8 digits>`.
pub(crate) fn readable_id() -> String {
    let mut rng = rand::rng();
    let quality = QUALITIES[rng.random_range(0..QUALITIES.len())];
    let thing = THINGS[rng.random_range(0..THINGS.len())];
    format!(
        "{quality}-{thing}-{:08}",
        rng.random_range(0..100_000_000u32)
    )
}
