use std::sync::Arc;

use proptest::prelude::*;

use super::*;

fn file(dir: &tempfile::TempDir, instance: InstanceId) -> std::path::PathBuf {
    dir.path().join(instance.to_string())
}

#[test]
fn the_reader_sees_what_the_writer_counted() {
    let dir = tempfile::tempdir().unwrap();
    let instance = InstanceId::random();
    let path = file(&dir, instance);
    let meter = Meter::create(&path, instance).unwrap();
    meter.add_up(1);
    meter.add_down(20);
    meter.add_cdp_up(300);
    meter.add_cdp_down(4000);
    meter.connection_opened();
    meter.connection_opened();
    meter.connection_closed();
    let expected = Traffic {
        up: 1,
        down: 20,
        cdp_up: 300,
        cdp_down: 4000,
        connections: 2,
    };
    assert_eq!(read(&path).unwrap(), expected);
    assert_eq!(meter.traffic(), expected);
    let open = Open {
        clients: 0,
        connections: 1,
    };
    assert_eq!(open_now(&path).unwrap(), open);
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        1,
        "a draft stayed"
    );
}

#[test]
fn a_second_writer_goes_on_counting_and_finds_nothing_open() {
    let dir = tempfile::tempdir().unwrap();
    let instance = InstanceId::random();
    let path = file(&dir, instance);
    let before = Meter::create(&path, instance).unwrap();
    before.add_up(7);
    before.connection_opened();
    before.client_opened();
    drop(before);
    let after = Meter::create(&path, instance).unwrap();
    after.add_up(5);
    assert_eq!(read(&path).unwrap().up, 12);
    assert_eq!(after.connections(), 0);
    assert_eq!(after.load(Word::Clients), 0);
    assert_eq!(after.traffic().connections, 1);
    assert_ne!(after.load(Word::LastDisconnect), 0);
}

#[test]
fn only_this_instances_file_of_this_boot_is_adopted() {
    let dir = tempfile::tempdir().unwrap();
    let instance = InstanceId::random();
    let path = file(&dir, instance);
    drop(Meter::create(&path, instance).unwrap());
    let other = Meter::create(&path, InstanceId::random()).unwrap_err();
    assert_eq!(other.kind(), io::ErrorKind::InvalidData);

    let boot_word = (Word::BootLow as usize * size_of::<u64>()) as u64;
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&[0; 8], boot_word).unwrap();
    let rebooted = Meter::create(&path, instance).unwrap_err();
    assert_eq!(rebooted.kind(), io::ErrorKind::InvalidData);
}

#[test]
fn a_draft_of_a_killed_relay_is_in_nobodys_way() {
    let dir = tempfile::tempdir().unwrap();
    let instance = InstanceId::random();
    let path = file(&dir, instance);
    fs::write(path.with_extension("new"), b"half").unwrap();
    drop(Meter::create(&path, instance).unwrap());
    assert_eq!(read(&path).unwrap(), Traffic::default());
}

#[test]
fn a_reader_is_neither_led_away_nor_made_to_wait() {
    let dir = tempfile::tempdir().unwrap();
    let instance = InstanceId::random();
    let (real, path) = (file(&dir, instance), dir.path().join("x"));
    drop(Meter::create(&real, instance).unwrap());
    std::os::unix::fs::symlink(&real, &path).unwrap();
    read(&path).unwrap_err();
    fs::remove_file(&path).unwrap();
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    read(&path).unwrap_err();
}

#[test]
fn the_blocks_are_allocated_before_anything_is_mapped() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    let instance = InstanceId::random();
    let path = file(&dir, instance);
    drop(Meter::create(&path, instance).unwrap());
    assert!(fs::metadata(&path).unwrap().blocks() * 512 >= SIZE as u64);
}

#[test]
fn sealed_counts_stay_while_gauges_go_down() {
    let meter = Meter::detached();
    meter.connection_opened();
    meter.add_down(9);
    meter.seal();
    meter.add_down(1);
    meter.add_up(1);
    meter.add_cdp_up(1);
    meter.connection_closed();
    meter.connection_opened();
    meter.connection_closed();
    assert_eq!((meter.traffic().down, meter.traffic().connections), (9, 1));
    assert_eq!(meter.traffic().up + meter.traffic().cdp_up, 0);
    assert_eq!(meter.connections(), 0);
}

#[test]
fn a_seal_falls_between_counts_of_other_threads() {
    let meter = Arc::new(Meter::detached());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let meter = Arc::clone(&meter);
            scope.spawn(move || (0..20_000).for_each(|_| meter.add_up(1)));
        }
        meter.seal();
        let at_seal = meter.traffic();
        std::thread::yield_now();
        assert_eq!(meter.traffic(), at_seal);
    });
}

proptest! {
    #[test]
    fn any_bytes_are_a_counters_file_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..5000)) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        fs::write(&path, &bytes).unwrap();
        prop_assert!(read(&path).is_err());
    }
}

#[test]
fn what_others_saw_is_not_taken_back_with_the_file() {
    let meter = Meter::detached();
    let seen = Traffic {
        up: 10,
        down: 20,
        cdp_up: 1,
        cdp_down: 2,
        connections: 4,
    };
    meter.add_up(15);
    meter.raise(seen);
    assert_eq!(meter.traffic(), Traffic { up: 15, ..seen });
    meter.raise(Traffic::default());
    meter.add_down(1);
    assert_eq!(
        meter.traffic(),
        Traffic {
            up: 15,
            down: 21,
            ..seen
        }
    );
    meter.seal();
    meter.raise(Traffic { up: 99, ..seen });
    assert_eq!(meter.traffic().up, 15, "final is final");
}
