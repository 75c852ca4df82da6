//! A batch of one record (message format v2).

use crc::{CRC_32_ISCSI, Crc};

/// Everything behind base offset, length, leader epoch, magic and checksum is what the checksum is over.
const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// The batch that holds `value` without a key; `timestamp` in milliseconds since 1970.
pub(super) fn batch(value: &[u8], timestamp: i64) -> Vec<u8> {
    let mut content = Vec::new();
    // Attributes, last offset delta.
    content.extend_from_slice(&[0; 6]);
    content.extend_from_slice(&timestamp.to_be_bytes());
    content.extend_from_slice(&timestamp.to_be_bytes());
    // No producer identity: identifier, epoch, sequence.
    content.extend_from_slice(&[0xFF; 14]);
    content.extend_from_slice(&1_i32.to_be_bytes());
    let record = record(value);
    varint(record.len(), &mut content);
    content.extend_from_slice(&record);

    let length = u32::try_from(4 + 1 + 4 + content.len()).unwrap_or(u32::MAX);
    let mut batch = vec![0; 8];
    batch.extend_from_slice(&length.to_be_bytes());
    batch.extend_from_slice(&[0xFF; 4]);
    batch.push(2);
    batch.extend_from_slice(&CRC.checksum(&content).to_be_bytes());
    batch.extend_from_slice(&content);
    batch
}

/// Attributes, timestamp and offset deltas, no key (-1), the value, no headers.
fn record(value: &[u8]) -> Vec<u8> {
    let mut record = vec![0, 0, 0, 1];
    varint(value.len(), &mut record);
    record.extend_from_slice(value);
    record.push(0);
    record
}

/// A length that is not negative, zigzag and base 128.
fn varint(value: usize, out: &mut Vec<u8>) {
    let mut rest = value << 1;
    while rest >= 0x80 {
        out.extend(u8::try_from(rest & 0x7F).map(|low| low | 0x80));
        rest >>= 7;
    }
    out.extend(u8::try_from(rest));
}
