//! Archives as strangers write them.

use std::os::unix::fs::MetadataExt;

use super::*;

/// Writes a header by hand: the crate's own builder refuses names that attackers use.
fn add(builder: &mut tar::Builder<Vec<u8>>, name: &str, kind: EntryType, link: &str, data: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
    header.as_gnu_mut().unwrap().linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o6755);
    header.set_size(data.len() as u64);
    header.set_cksum();
    builder.append(&header, data).unwrap();
}

fn archive(entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, kind, link) in entries {
        let data: &[u8] = if *kind == EntryType::Regular { b"data" } else { b"" };
        add(&mut builder, name, *kind, link, data);
    }
    builder.into_inner().unwrap()
}

fn unpack_into(root: &Path, bytes: &[u8], bytes_max: u64) -> io::Result<()> {
    let root = File::open(root).unwrap();
    unpack(&root, bytes, &mut Budget { bytes: bytes_max, entries: 100 })
}

#[test]
fn an_honest_archive_is_unpacked_without_its_setuid_bits() {
    let directory = tempfile::tempdir().unwrap();
    let bytes = archive(&[
        ("./", EntryType::Directory, ""),
        ("bin/", EntryType::Directory, ""),
        ("bin/tool", EntryType::Regular, ""),
        ("deep/er/file", EntryType::Regular, ""),
        ("bin/alias", EntryType::Symlink, "tool"),
        ("bin/same", EntryType::Link, "bin/tool"),
        ("bin/tool", EntryType::Regular, ""),
    ]);
    unpack_into(directory.path(), &bytes, 1000).unwrap();
    let tool = directory.path().join("bin/tool");
    assert_eq!(std::fs::read(&tool).unwrap(), b"data");
    assert_eq!(std::fs::metadata(&tool).unwrap().mode() & 0o7777, 0o755);
    assert_eq!(std::fs::read(directory.path().join("bin/alias")).unwrap(), b"data");
    assert_eq!(std::fs::read(directory.path().join("bin/same")).unwrap(), b"data");
    assert_eq!(std::fs::read(directory.path().join("deep/er/file")).unwrap(), b"data");
}

#[test]
fn no_entry_gets_out_of_the_sandbox() {
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("target"), "untouched").unwrap();
    let target = outside.path().join("target");
    let (out, target) = (outside.path().to_str().unwrap(), target.to_str().unwrap());
    let attacks: [&[(&str, EntryType, &str)]; 11] = [
        &[("a/b/link", EntryType::Symlink, "../../x"), ("moved", EntryType::Link, "a/b/link")],
        &[("a/b/up", EntryType::Symlink, "../.."), ("a/b/out", EntryType::Symlink, "up/..")],
        &[("../evil", EntryType::Regular, "")],
        &[("a/../../evil", EntryType::Regular, "")],
        &[(target, EntryType::Regular, "")],
        &[("link", EntryType::Symlink, out)],
        &[("a/link", EntryType::Symlink, "../../x")],
        &[("link", EntryType::Link, target)],
        &[("link", EntryType::Link, "../target")],
        &[("pipe", EntryType::Fifo, "")],
        &[("device", EntryType::Char, "")],
    ];
    for attack in attacks {
        let directory = tempfile::tempdir().unwrap();
        let error = unpack_into(directory.path(), &archive(attack), 1000).unwrap_err();
        assert!(error.to_string().contains("entry"), "{attack:?}: {error}");
    }
    assert_eq!(std::fs::read(target).unwrap(), b"untouched");
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
}

#[test]
fn entries_do_not_go_through_symlinks_that_the_archive_made() {
    let directory = tempfile::tempdir().unwrap();
    let bytes = archive(&[
        ("real", EntryType::Directory, ""),
        ("link", EntryType::Symlink, "real"),
        ("link/file", EntryType::Regular, ""),
    ]);
    assert!(unpack_into(directory.path(), &bytes, 1000).is_err());
    assert!(!directory.path().join("real/file").exists());
}

#[test]
fn bombs_are_stopped() {
    let directory = tempfile::tempdir().unwrap();
    let bytes = archive(&[("a", EntryType::Regular, ""), ("b", EntryType::Regular, "")]);
    let error = unpack_into(directory.path(), &bytes, 7).unwrap_err();
    assert!(error.to_string().contains("more bytes"), "{error}");
    let many: Vec<_> = (0..101).map(|_| ("d", EntryType::Directory, "")).collect();
    let error = unpack_into(directory.path(), &archive(&many), 7).unwrap_err();
    assert!(error.to_string().contains("more entries"), "{error}");
}

#[test]
fn names_tell_the_format() {
    assert_eq!(Format::of("a.TAR.GZ").unwrap(), Some(Format::TarGz));
    assert_eq!(Format::of("a.tgz").unwrap(), Some(Format::TarGz));
    assert_eq!(Format::of("a.tar").unwrap(), Some(Format::Tar));
    assert_eq!(Format::of("a.gz").unwrap(), Some(Format::Gz));
    assert_eq!(Format::of("a.txt").unwrap(), None);
    assert!(Format::of("a.zip").unwrap_err().contains("extract to false"));
}
