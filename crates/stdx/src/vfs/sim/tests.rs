use super::*;

fn path(text: &str) -> &Path {
    Path::new(text)
}

fn written(vfs: &SimVfs, name: &str, bytes: &[u8]) -> Arc<dyn File> {
    let file = vfs.create(path(name)).unwrap();
    file.write_all_at(bytes, 0).unwrap();
    file
}

#[test]
fn what_was_synced_survives_every_crash() {
    for seed in 0..100 {
        let vfs = SimVfs::new(seed);
        vfs.create_dir_all(path("d")).unwrap();
        vfs.sync_dir(path("")).unwrap();
        let file = written(&vfs, "d/tmp", &[7; 3000]);
        file.sync_data().unwrap();
        vfs.rename(path("d/tmp"), path("d/f")).unwrap();
        vfs.sync_dir(path("d")).unwrap();
        file.write_all_at(&[8; 3000], 1000).unwrap();
        let vfs = vfs.crash();
        let bytes = vfs.contents(path("d/f")).unwrap();
        assert_eq!(bytes[..1000], [7; 1000], "seed {seed}");
        assert!(bytes[1000..3000].iter().all(|b| [7, 8].contains(b)), "seed {seed}");
        assert_eq!(vfs.list(path("d")).unwrap(), ["f"], "seed {seed}");
    }
}

#[test]
fn what_was_not_synced_is_lost_kept_or_torn_by_sector() {
    let (mut lost, mut kept, mut torn, mut unnamed) = (0, 0, 0, 0);
    for seed in 0..200 {
        let vfs = SimVfs::new(seed);
        let file = written(&vfs, "f", &[1; 4 * SECTOR_LEN]);
        file.sync_data().unwrap();
        vfs.sync_dir(path("")).unwrap();
        file.write_all_at(&[2; 4 * SECTOR_LEN], 0).unwrap();
        written(&vfs, "g", b"");
        let vfs = vfs.crash();
        let bytes = vfs.contents(path("f")).unwrap();
        for sector in bytes.chunks(SECTOR_LEN) {
            assert!(sector.iter().all(|b| *b == sector[0]), "a sector is atomic");
        }
        match bytes.iter().filter(|b| **b == 2).count() {
            0 => lost += 1,
            n if n == bytes.len() => kept += 1,
            _ => torn += 1,
        }
        unnamed += usize::from(!vfs.exists(path("g")).unwrap());
    }
    assert!(lost > 10 && kept > 10 && torn > 10 && unnamed > 10, "{lost} {kept} {torn} {unnamed}");
}

#[test]
fn overwritten_bytes_may_be_what_survives() {
    let survived = (0..200).any(|seed| {
        let vfs = SimVfs::new(seed);
        let file = written(&vfs, "f", &[0; SECTOR_LEN]);
        file.sync_data().unwrap();
        vfs.sync_dir(path("")).unwrap();
        file.write_all_at(&[1; SECTOR_LEN], 0).unwrap();
        file.write_all_at(&[2; SECTOR_LEN], 0).unwrap();
        vfs.crash().contents(path("f")).unwrap()[0] == 1
    });
    assert!(survived);
}

#[test]
fn a_failed_sync_loses_the_pages_and_the_next_one_lies() {
    let lost = (0..100).filter(|seed| {
        let vfs = SimVfs::new(*seed);
        let file = written(&vfs, "f", &[1; SECTOR_LEN]);
        file.sync_data().unwrap();
        vfs.sync_dir(path("")).unwrap();
        file.write_all_at(&[2; SECTOR_LEN], 0).unwrap();
        vfs.fail_at(OpClass::Sync, 1, io::ErrorKind::Other);
        file.sync_data().unwrap_err();
        file.sync_data().unwrap();
        assert_eq!(vfs.contents(path("f")).unwrap()[0], 2, "the cache still shows it");
        vfs.crash().contents(path("f")).unwrap()[0] == 1
    });
    assert!(lost.count() > 10);
}

#[test]
fn a_process_kill_keeps_the_cache_and_frees_the_locks() {
    let vfs = SimVfs::new(1);
    let file = written(&vfs, "f", b"unsynced");
    let _guard = vfs.lock(path("LOCK")).unwrap();
    assert_eq!(vfs.lock(path("LOCK")).err().unwrap().kind(), io::ErrorKind::ResourceBusy);
    let next = vfs.kill();
    assert_eq!(next.contents(path("f")).unwrap(), b"unsynced");
    let _new = next.lock(path("LOCK")).unwrap();
    drop(_guard);
    assert!(next.lock(path("LOCK")).is_err(), "a dead process's guard frees nothing");
    assert!(file.write_all_at(b"x", 0).is_err() && file.sync_data().is_err());
    assert!(vfs.create(path("g")).is_err() && vfs.exists(path("f")).is_err());
}

#[test]
fn a_process_that_dies_in_an_operation_does_nothing_more() {
    let vfs = SimVfs::new(1);
    let file = written(&vfs, "f", b"before");
    vfs.die_at(1);
    assert!(file.write_all_at(b"during", 6).is_err());
    assert!(file.write_all_at(b"after", 0).is_err() && vfs.remove(path("f")).is_err());
    assert!(vfs.create(path("g")).is_err() && vfs.list(path("")).is_err());
    let next = vfs.kill();
    let bytes = next.contents(path("f")).unwrap();
    assert!(b"beforeduring".starts_with(&bytes) && bytes.len() >= 6, "{bytes:?}");
    assert_eq!(next.list(path("")).unwrap(), ["f"]);
    next.die_at(1);
    assert!(next.remove(path("f")).is_err());
    assert_eq!(next.kill().list(path("")).unwrap(), ["f"]);
}

#[test]
fn the_kth_operation_fails_and_a_failed_write_leaves_a_prefix() {
    let vfs = SimVfs::new(3);
    vfs.fail_at(OpClass::Write, 2, io::ErrorKind::PermissionDenied);
    let file = written(&vfs, "f", b"first");
    let error = file.write_all_at(b"second", 5).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    let bytes = vfs.contents(path("f")).unwrap();
    assert!(b"firstsecond".starts_with(bytes.as_slice()) && bytes.len() >= 5);
    file.write_all_at(b"second", 5).unwrap();
    assert_eq!((vfs.faults_hit(), vfs.operations(OpClass::Write)), (1, 3));
}

#[test]
fn a_full_disk_takes_what_fits() {
    let vfs = SimVfs::new(4);
    vfs.set_capacity(Some(4 * SECTOR_LEN as u64));
    let file = vfs.create(path("f")).unwrap();
    file.allocate(2 * SECTOR_LEN as u64).unwrap();
    assert_eq!(file.allocate(5 * SECTOR_LEN as u64).unwrap_err().kind(), io::ErrorKind::StorageFull);
    let error = file.write_all_at(&[1; 6 * SECTOR_LEN], 0).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(vfs.contents(path("f")).unwrap(), [1; 4 * SECTOR_LEN]);
    assert_eq!(vfs.free_bytes().unwrap(), 0);
    file.write_all_at(b"inside", 100).unwrap();
    vfs.remove(path("f")).unwrap();
    vfs.sync_dir(path("")).unwrap();
    assert_eq!(vfs.free_bytes().unwrap(), 4 * SECTOR_LEN as u64);
}

#[test]
fn a_rename_is_atomic_and_its_source_does_not_come_back() {
    for seed in 0..100 {
        let vfs = SimVfs::new(seed);
        for (name, bytes) in [("f", b"old"), ("f.tmp", b"new")] {
            written(&vfs, name, bytes).sync_data().unwrap();
        }
        vfs.sync_dir(path("")).unwrap();
        vfs.rename(path("f.tmp"), path("f")).unwrap();
        let next = vfs.crash();
        let names = next.list(path("")).unwrap();
        let expect: (&[u8], &[&str]) = match next.contents(path("f")).unwrap().as_slice() {
            b"new" => (b"new", &["f"]),
            _ => (b"old", &["f", "f.tmp"]),
        };
        assert_eq!(
            (next.contents(path("f")).unwrap().as_slice(), names),
            (expect.0, expect.1.iter().map(|n| n.to_string()).collect())
        );
    }
}

#[test]
fn directories_move_with_what_is_in_them() {
    let vfs = SimVfs::new(5);
    vfs.create_dir_all(path("a/b")).unwrap();
    written(&vfs, "a/b/f", b"x").sync_data().unwrap();
    for dir in ["", "a", "a/b"] {
        vfs.sync_dir(path(dir)).unwrap();
    }
    vfs.rename(path("a/b"), path("c")).unwrap();
    vfs.sync_dir(path("")).unwrap();
    let vfs = vfs.crash();
    assert_eq!(vfs.contents(path("c/f")).unwrap(), b"x");
    assert!(!vfs.exists(path("a/b")).unwrap());
    assert!(vfs.create(path("nowhere/f")).is_err());
    assert!(vfs.open(path("../f")).is_err());
}

#[test]
fn a_seed_replays_exactly() {
    let run = |seed| {
        let vfs = SimVfs::new(seed);
        vfs.set_fault_rate(OpClass::Any, 1, 10, io::ErrorKind::Other);
        for round in 0..50u8 {
            if let Ok(file) = vfs.create(path(&format!("f{round}"))) {
                let _ = file.write_all_at(&[round; 1500], 0).and_then(|()| file.sync_data());
            }
        }
        let vfs = vfs.crash();
        (vfs.trace_hash(), vfs.state_hash())
    };
    assert_eq!(run(9), run(9));
    assert_ne!(run(9), run(10));
}

#[test]
fn bits_rot_on_the_disk_itself() {
    let vfs = SimVfs::new(6);
    vfs.install(path("d/f"), &[0; 10]);
    vfs.flip_bit(path("d/f"), 9).unwrap();
    assert!(vfs.flip_bit(path("d/f"), 80).is_err());
    assert_eq!(vfs.crash().contents(path("d/f")).unwrap(), [0, 2, 0, 0, 0, 0, 0, 0, 0, 0]);
}
