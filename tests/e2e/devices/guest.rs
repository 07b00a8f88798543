//! A guest with a kernel of its own, in QEMU without KVM, behind QEMU's forwarder as an emulator's adbd is: what
//! of a device's way up does not need Android, against what is really another machine.

use chaser::{
    adb::{Adb, AdbError},
    runtime::Tasks,
    wire::node::{Event, Phase, Progress, Substrate, event::What},
};

use super::{Ordered, order};
use crate::harness::{Device, android_guest, docker, eventually, lab, seconds, session_id};

/// A machine that is a program boots slowly, and this one has little to run on.
const BOOT: u64 = 150;

async fn entered(guest: &Device, tasks: &Tasks) -> Adb {
    eventually("the guest's adbd greets", seconds(BOOT), async || {
        guest.adb(tasks).await.ok()
    })
    .await
}

async fn said(adb: &Adb, line: &str) -> String {
    let output = adb.shell(line, seconds(30)).await.unwrap();
    assert_eq!(output.code, 0, "{line}: {output:?}");
    output.text()
}

#[tokio::test(flavor = "multi_thread")]
async fn our_client_enters_a_guest_with_a_kernel_of_its_own_by_its_forwarder() {
    let (guest, tasks) = (Device::guest(), Tasks::default());
    let adb = entered(&guest, &tasks).await;
    let ours = guest.exec("uname -r");
    let theirs = said(&adb, "uname -r").await;
    assert!(
        theirs.contains("cloud"),
        "Debian's kernel for guests: {theirs}"
    );
    assert_ne!(theirs, ours.trim());
    eventually("its system says that it booted", seconds(30), async || {
        (said(&adb, "getprop sys.boot_completed").await == "1").then_some(())
    })
    .await;
    assert_eq!(said(&adb, "getprop ro.build.version.release").await, "14");

    let apart = adb.shell("echo out; echo err >&2; exit 3", seconds(30));
    let apart = apart.await.unwrap();
    let seen = (apart.text(), apart.complaint(), apart.code);
    assert_eq!(seen, ("out".to_owned(), "err".to_owned(), 3));
    let contents: Vec<u8> = (0..=250_u8).cycle().take(3_000_000).collect();
    let written = adb.push("/data/some/file", &contents, (0o644, 0), seconds(60));
    written.await.unwrap();
    let back = adb.shell("cat /data/some/file", seconds(60)).await.unwrap();
    assert!(
        back.stdout == contents,
        "{} bytes came back",
        back.stdout.len()
    );
}

/// The forwarder takes a connection whoever is behind it.
#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_stands_still_is_silent_to_who_connects_and_its_next_adbd_is_found() {
    let (guest, tasks) = (Device::guest(), Tasks::default());
    let adb = entered(&guest, &tasks).await;
    docker::pause(guest.name());
    let silent = guest.adb(&tasks).await;
    docker::run(&["unpause", guest.name()]);
    assert!(matches!(silent, Err(AdbError::NoGreeting(_))), "{silent:?}");
    eventually("it is entered again", seconds(30), async || {
        guest.adb(&tasks).await.ok()
    })
    .await;
    // Its shell goes with it.
    let killed = adb.shell("kill -9 $(pidof adbd)", seconds(30)).await;
    assert!(matches!(killed, Err(AdbError::Lost(_))), "{killed:?}");
    let next = entered(&guest, &tasks).await;
    assert_eq!(said(&next, "getprop sys.boot_completed").await, "1");
}

/// As far as it comes without a browser, by the agent's own ladder.
#[tokio::test(flavor = "multi_thread")]
async fn the_ladder_is_climbed_on_a_guest_as_far_as_it_goes_without_a_browser() {
    let (lab, _origin) = lab();
    let ordered = Ordered {
        substrate: Substrate::Emulator,
        section: "substrate.emulator",
        lines: vec![
            format!("image = \"{}\"", android_guest()),
            "needs = []".to_owned(),
            "memory_bytes = 1073741824".to_owned(),
            format!("boot_timeout = \"{BOOT}s\""),
            "arguments = [\"androidboot.test.chrome=missing\", \"androidboot.test.boot_delay=5\"]"
                .to_owned(),
        ],
    };
    let chaser = ordered.on(&lab).start().await;
    let order = order(ordered.substrate, seconds(900));
    let ended = chaser.node.provision(&session_id(), order).await.unwrap();
    assert_eq!(ended.phase(), Phase::Ended);
    let why = ended.failure.unwrap();
    assert_eq!(why.code, "device_no_browser", "{why:?}");

    let is_over =
        |event: &Event| matches!(&event.what, Some(What::Session(s)) if s.phase() == Phase::Ended);
    let told = chaser
        .node
        .events_until(|all| all.iter().any(is_over))
        .await;
    let steps: Vec<Progress> = (told.into_iter())
        .filter_map(|event| match event.what {
            Some(What::Session(session)) => session.progress,
            _ => None,
        })
        .collect();
    let mut words: Vec<_> = steps.iter().map(|at| at.step.as_str()).collect();
    words.dedup();
    assert_eq!(words, ["adbd", "boot", "package"], "{steps:?}");
}
