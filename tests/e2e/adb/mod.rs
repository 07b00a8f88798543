//! Our side of ADB against Google's own adbd, in a container without a network.

mod keys;

use std::time::Duration;

use chaser::{
    adb::{Adb, AdbError, Lost, quote},
    runtime::Tasks,
};
use futures::future::join_all;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, timeout},
};

use crate::harness::{Device, docker, eventually, seconds};

const LIMIT: Duration = Duration::from_secs(10);
const MIB: usize = 1 << 20;

async fn device() -> (Device, Adb, Tasks) {
    let (device, tasks) = (Device::start().await, Tasks::default());
    let adb = device.adb(&tasks).await.unwrap();
    (device, adb, tasks)
}

/// Nothing is left of a connection on either side once nobody uses it.
async fn ends_whole(device: &Device, adb: Adb, tasks: &Tasks, descriptors: usize) {
    assert_eq!(adb.streams(), 0);
    drop(adb);
    eventually("the connection's task ends", seconds(5), async || {
        tasks.is_empty().then_some(())
    })
    .await;
    eventually("adbd holds no more than before", seconds(10), async || {
        (device.descriptors_of_adbd() <= descriptors).then_some(())
    })
    .await;
}

/// What adbd holds with one connection that asks for nothing.
fn idle(device: &Device) -> usize {
    device.descriptors_of_adbd()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_has_its_exit_code_and_its_outputs_apart() {
    let (device, adb, tasks) = device().await;
    assert!(
        adb.banner().features.contains("shell_v2"),
        "{:?}",
        adb.banner()
    );
    let descriptors = idle(&device);
    for code in [0, 1, 3, 127, 255] {
        let line = format!("echo out; echo err >&2; exit {code}");
        let output = adb.shell(&line, LIMIT).await.unwrap();
        assert_eq!(output.text(), "out");
        assert_eq!(output.complaint(), "err");
        assert_eq!(output.code, code);
    }
    // One that reads its stdin finds nothing there, and one that ends at once is no failure.
    assert_eq!(adb.shell("cat", LIMIT).await.unwrap().code, 0);
    let much = adb.shell("head -c 5000000 /dev/zero", LIMIT).await;
    assert!(matches!(much, Err(AdbError::TooMuch(_))), "{much:?}");
    for _ in 0..200 {
        assert_eq!(adb.shell("exit 7", LIMIT).await.unwrap().code, 7);
    }
    let odd = "it's $HOME; `id` \\ \"x\" \n*";
    let output = adb
        .shell(&format!("printf %s {}", quote(odd)), LIMIT)
        .await
        .unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), odd);
    ends_whole(&device, adb, &tasks, descriptors).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_megabytes_go_each_way_whole() {
    const WHOLE: usize = 64 * MIB;
    let (device, adb, tasks) = device().await;
    let descriptors = idle(&device);
    let begun = Instant::now();
    let line = format!("exec:head -c {WHOLE} /dev/zero | tr '\\0' x");
    let mut down = adb.open(&line, LIMIT).await.unwrap();
    let (mut got, mut buffer) = (0, vec![0; 100_000]);
    loop {
        let n = timeout(LIMIT, down.read(&mut buffer))
            .await
            .unwrap()
            .unwrap();
        if n == 0 {
            break;
        }
        assert!(buffer[..n].iter().all(|byte| *byte == b'x'));
        got += n;
    }
    assert_eq!(got, WHOLE);
    drop(down);
    eprintln!("64 MiB down in {:?}", begun.elapsed());

    let begun = Instant::now();
    let up = adb
        .open(&format!("exec:head -c {WHOLE} | cksum"), LIMIT)
        .await;
    let (mut from, mut to) = up.unwrap().into_split();
    let piece = vec![b'y'; MIB];
    for _ in 0..64 {
        timeout(LIMIT, to.write_all(&piece)).await.unwrap().unwrap();
    }
    let mut sum = String::new();
    timeout(LIMIT, from.read_to_string(&mut sum))
        .await
        .unwrap()
        .unwrap();
    drop((from, to));
    let line = format!("head -c {WHOLE} /dev/zero | tr '\\0' y | cksum");
    let want = adb.shell(&line, LIMIT).await.unwrap();
    assert_eq!(sum.trim(), want.text());
    eprintln!("64 MiB up in {:?}", begun.elapsed());
    ends_whole(&device, adb, &tasks, descriptors).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_streams_share_a_connection_and_one_that_nobody_reads_holds_up_none() {
    let (device, adb, tasks) = device().await;
    let descriptors = idle(&device);
    let stuck = adb.open("exec:cat /dev/zero", LIMIT).await.unwrap();
    let one = async |number: usize| {
        let line = format!(
            "head -c 300000 /dev/zero | tr '\\0' {}; exit {number}",
            number % 10
        );
        let output = adb.shell(&line, seconds(60)).await.unwrap();
        assert_eq!(usize::from(output.code), number);
        let digit = b'0' + u8::try_from(number % 10).unwrap();
        assert_eq!(output.stdout, vec![digit; 300_000]);
    };
    let begun = Instant::now();
    join_all((0..100).map(one)).await;
    eprintln!("a hundred commands at once in {:?}", begun.elapsed());
    drop(stuck);
    ends_whole(&device, adb, &tasks, descriptors).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_not_there_is_refused_at_once() {
    let (device, adb, tasks) = device().await;
    let descriptors = idle(&device);
    for service in [
        "localabstract:chrome_devtools_remote",
        "tcp:9222",
        "no such service",
    ] {
        let begun = Instant::now();
        let refused = adb.open(service, LIMIT).await.unwrap_err();
        assert!(
            matches!(&refused, AdbError::Refused(name) if name == service),
            "{refused}"
        );
        assert!(begun.elapsed() < LIMIT / 2);
    }
    assert_eq!(adb.shell("exit 4", LIMIT).await.unwrap().code, 4);
    ends_whole(&device, adb, &tasks, descriptors).await;
}

/// Streams given up in every state: before the answer, in the middle of data, after the end.
#[tokio::test(flavor = "multi_thread")]
async fn streams_that_are_given_up_leave_nothing_and_disturb_nobody() {
    let (device, adb, tasks) = device().await;
    let descriptors = idle(&device);
    let begun = Instant::now();
    for round in 0..40 {
        let micros = Duration::from_micros(round * 40);
        drop(timeout(micros, adb.open("exec:cat /dev/zero", LIMIT)).await);
        drop(timeout(micros, adb.shell("head -c 400000 /dev/zero", LIMIT)).await);
        let mut one = adb.open("exec:cat /dev/zero", LIMIT).await.unwrap();
        one.read_exact(&mut [0; 1000]).await.unwrap();
        drop(one);
        let mut ended = adb.open("exec:true", LIMIT).await.unwrap();
        assert_eq!(ended.read(&mut [0; 10]).await.unwrap(), 0);
        assert_eq!(adb.shell("exit 9", LIMIT).await.unwrap().code, 9);
    }
    eprintln!("forty rounds in {:?}", begun.elapsed());
    assert_eq!(adb.is_lost(), None);
    ends_whole(&device, adb, &tasks, descriptors).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pushed_file_is_there_whole_or_the_device_says_why_not() {
    let (device, adb, tasks) = device().await;
    let descriptors = idle(&device);
    let sizes = [0, 1, 65_535, 65_536, 65_537, 3 * MIB];
    for size in sizes {
        let contents: Vec<u8> = (0..=250).cycle().take(size).collect();
        let path = format!("/data/local/tmp/deep/er/{size}");
        adb.push(&path, &contents, (0o644, 1_000_000_000), LIMIT)
            .await
            .unwrap();
        let line = format!("stat -c '%s %a %Y' {path}; cat {path}");
        let seen = adb.shell(&line, LIMIT).await.unwrap().stdout;
        let head = format!("{size} 666 1000000000\n");
        assert!(
            seen.starts_with(head.as_bytes()),
            "{}",
            String::from_utf8_lossy(&seen[..60.min(seen.len())])
        );
        assert!(
            seen[head.len()..] == contents[..],
            "{size} bytes arrived otherwise"
        );
    }
    let big = vec![0; 3 * MIB];
    let refused = adb
        .push("/proc/nowhere", &big, (0o644, 0), LIMIT)
        .await
        .unwrap_err();
    assert!(
        matches!(&refused, AdbError::NotWritten { why, .. } if !why.is_empty()),
        "{refused}"
    );
    assert_eq!(adb.shell("exit 5", LIMIT).await.unwrap().code, 5);
    ends_whole(&device, adb, &tasks, descriptors).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adbd_that_dies_is_noticed_by_everybody_and_its_successor_serves() {
    let (device, adb, tasks) = device().await;
    let mut reading = adb.open("exec:cat", LIMIT).await.unwrap();
    let (mut buffer, killing) = ([0; 10], async { device.kill_adbd() });
    let (read, running, lost, ()) = tokio::join!(
        timeout(LIMIT, reading.read(&mut buffer)),
        adb.shell("sleep 100", LIMIT),
        timeout(LIMIT, adb.lost()),
        killing
    );
    read.expect("it does not hang").unwrap_err();
    let running = running.unwrap_err();
    assert!(matches!(running, AdbError::Lost(Lost::HungUp)), "{running}");
    assert_eq!(lost.unwrap(), Lost::HungUp);
    let refused = adb.open("exec:true", LIMIT).await.unwrap_err();
    assert!(matches!(refused, AdbError::Lost(Lost::HungUp)), "{refused}");
    drop((reading, adb));
    assert!(tasks.is_empty());
    let again = eventually("another adbd answers", seconds(10), async || {
        device.adb(&tasks).await.ok()
    })
    .await;
    assert_eq!(again.shell("exit 2", LIMIT).await.unwrap().code, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_device_holds_nobody_beyond_his_deadline() {
    let (device, adb, tasks) = device().await;
    docker::pause(device.name());
    let short = Duration::from_millis(400);
    let silent = adb.shell("true", short).await.unwrap_err();
    assert!(matches!(silent, AdbError::Silent { .. }), "{silent}");
    let silent = adb.open("exec:true", short).await.unwrap_err();
    assert!(matches!(silent, AdbError::Silent { .. }), "{silent}");
    // The kernel connects, and nobody greets.
    let silent = device.adb(&tasks).await.unwrap_err();
    assert!(matches!(silent, AdbError::NoGreeting(_)), "{silent}");
    assert_eq!(adb.streams(), 0);
    docker::run(&["unpause", device.name()]);
    assert_eq!(adb.shell("exit 6", LIMIT).await.unwrap().code, 6);
}

/// What a client of ours would send to the wrong door, and noise: adbd goes on serving others.
#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_survives_what_is_no_adb() {
    let (device, adb, _tasks) = device().await;
    for noise in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 64], b"CNXN"] {
        let mut stream = device.dial().unwrap();
        stream.write_all(noise).await.unwrap();
    }
    assert_eq!(adb.shell("exit 8", LIMIT).await.unwrap().code, 8);
}
