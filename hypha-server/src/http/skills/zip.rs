//! Writes archives in the ZIP format, without compression, because the documents are small.

/// Returns an archive of files.
pub(super) fn archive(files: &[(String, String)]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut directory = Vec::new();
    for (name, text) in files {
        let offset = size(out.len());
        let entry = Entry {
            name,
            crc: crc32(text.as_bytes()),
            len: size(text.len()),
        };
        out.extend(b"PK\x03\x04");
        entry.write(&mut out);
        out.extend(name.as_bytes());
        out.extend(text.as_bytes());
        // Version that made the archive: 2.0.
        directory.extend(b"PK\x01\x02\x14\x00");
        entry.write(&mut directory);
        // No comment, first disk, no attributes.
        directory.extend([0; 10]);
        directory.extend(offset.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let (count, start) = (
        u16::try_from(files.len()).unwrap_or(u16::MAX),
        size(out.len()),
    );
    let len = size(directory.len());
    out.append(&mut directory);
    out.extend(b"PK\x05\x06\x00\x00\x00\x00");
    out.extend([count.to_le_bytes(), count.to_le_bytes()].as_flattened());
    out.extend([len.to_le_bytes(), start.to_le_bytes()].as_flattened());
    out.extend([0; 2]);
    out
}

/// Returns the fields that a file header and the directory entry of the file have in common.
struct Entry<'a> {
    name: &'a str,
    crc: u32,
    len: u32,
}

impl Entry<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        // Version 2.0, names in UTF-8, no compression. The time is 1980-01-01, the earliest
        // possible time.
        let fields = [20_u16, 1 << 11, 0, 0, 0x21];
        out.extend(fields.map(u16::to_le_bytes).as_flattened());
        let fields = [self.crc, self.len, self.len];
        out.extend(fields.map(u32::to_le_bytes).as_flattened());
        let name = u16::try_from(self.name.len()).unwrap_or(u16::MAX);
        out.extend([name.to_le_bytes(), [0; 2]].as_flattened());
    }
}

/// Returns a length for a field of 32 bits. The length always fits, because the documents are
/// limited by the memory of a request.
fn size(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & 0_u32.wrapping_sub(crc & 1))
        })
    };
    !bytes.iter().fold(!0, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_zip() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b""), 0);
    }

    #[test]
    fn files_are_found_through_the_directory() {
        let files = [("a.md", "one"), ("b/c.md", "")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        let archive = archive(&files);
        let end = &archive[archive.len() - 22..];
        assert_eq!(end[..4], *b"PK\x05\x06");
        assert_eq!(end[8..12], [2, 0, 2, 0]);
        let start = u32::from_le_bytes(end[16..20].try_into().unwrap()) as usize;
        let len = u32::from_le_bytes(end[12..16].try_into().unwrap()) as usize;
        assert_eq!(start + len, archive.len() - 22);
        let directory = &archive[start..];
        assert_eq!(directory[..4], *b"PK\x01\x02");
        assert_eq!(directory[16..20], crc32(b"one").to_le_bytes());
        assert_eq!(directory[46..50], *b"a.md");
        let second = &directory[50..];
        let offset = u32::from_le_bytes(second[42..46].try_into().unwrap()) as usize;
        assert_eq!(archive[offset..offset + 4], *b"PK\x03\x04");
        assert_eq!(archive[offset + 30..offset + 36], *b"b/c.md");
    }
}
