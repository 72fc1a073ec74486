use redb::StorageBackend as _;

use super::{Dice, Disk, Progress};

/// All that a power cut at this moment was seen to leave, over many throws of the dice.
fn left(disk: &Disk, moment: usize) -> Vec<Vec<u8>> {
    let mut dice = Dice::new(1);
    let mut left: Vec<Vec<u8>> =
        (0..500).map(|_| disk.history().after_power_cut(moment, &mut dice)).collect();
    left.sort();
    left.dedup();
    left
}

#[test]
fn what_was_synced_stays_and_any_of_the_rest_goes() {
    let disk = Disk::new(Vec::new());
    disk.set_len(2).unwrap();
    disk.write(0, b"ab").unwrap();
    disk.note(Progress::Asked(1));
    disk.sync_data().unwrap();
    disk.note(Progress::Acknowledged(1));
    disk.write(0, b"A").unwrap();
    disk.write(1, b"B").unwrap();
    let last = disk.history().moments() - 1;
    assert_eq!(left(&disk, last), [b"AB", b"Ab", b"aB", b"ab"]);
    assert_eq!(disk.history().progress(last), (Some(1), Some(1)));
    assert_eq!(disk.history().progress(3), (None, Some(1)));
    assert_eq!(left(&disk, 5), [b"ab"]);
    // Without its length nothing of a file is there.
    assert_eq!(left(&disk, 2), [&b""[..], b"\0\0", b"ab"]);
}

#[test]
fn a_write_is_torn_between_sectors_only() {
    let disk = Disk::new(vec![0; 2_048]);
    disk.write(510, &[1; 4]).unwrap();
    let seen: Vec<Vec<u8>> =
        left(&disk, 1).into_iter().map(|bytes| bytes[509..515].to_vec()).collect();
    let expected =
        [[0; 6], [0, 0, 0, 1, 1, 0], [0, 1, 1, 0, 0, 0], [0, 1, 1, 1, 1, 0]].map(Vec::from);
    assert_eq!(seen, expected);
}

#[test]
fn a_full_disk_takes_nothing_and_what_was_there_can_be_read() {
    let disk = Disk::new(b"abc".to_vec());
    disk.set_full(true);
    disk.write(0, b"x").unwrap_err();
    disk.set_len(9).unwrap_err();
    disk.sync_data().unwrap_err();
    let mut bytes = [0; 3];
    disk.read(0, &mut bytes).unwrap();
    assert_eq!((&bytes, disk.len().unwrap()), (b"abc", 3));
    disk.read(1, &mut bytes).unwrap_err();
    disk.set_full(false);
    disk.write(0, b"x").unwrap();
    disk.read(0, &mut bytes).unwrap();
    assert_eq!(&bytes, b"xbc");
}
