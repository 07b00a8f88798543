use std::time::Duration;

use futures::StreamExt;

use super::*;

const SOCKET: &str = "/var/run/docker.sock";
const IMAGE: &str = "chaser/chromium:latest";

/// The real engine with the real image, or a line that says why the test was skipped.
async fn engine() -> Option<Docker> {
    let docker = match Docker::connect(SOCKET).await {
        Ok(docker) => docker,
        Err(error) => {
            eprintln!("skipped: {error}");
            return None;
        }
    };
    if docker.image(IMAGE).await.unwrap().is_none() {
        eprintln!("skipped: {IMAGE} is not built");
        return None;
    }
    Some(docker)
}

fn spec(label: &str) -> ContainerSpec {
    ContainerSpec {
        image: IMAGE.to_owned(),
        command: vec!["--version".to_owned()],
        labels: [("dev".to_owned(), label.to_owned())].into(),
        memory_bytes: 256 << 20,
        cpu_millis: 1000,
        pids: 64,
        shm_bytes: 64 << 20,
        read_only: true,
        tmpfs: [("/tmp".to_owned(), "size=64m".to_owned())].into(),
        cap_drop: vec!["ALL".to_owned()],
        log_max_bytes: 1 << 20,
        ..ContainerSpec::default()
    }
}

fn fresh_name() -> String {
    format!("chaser-test-{}", crate::model::InstanceId::random())
}

#[tokio::test]
async fn a_missing_socket_is_unreachable() {
    let error = Docker::connect("/nonexistent/docker.sock")
        .await
        .unwrap_err();
    assert_matches::assert_matches!(error, DockerError::Unreachable { .. });
}

#[tokio::test]
async fn a_container_is_made_once_and_removed_for_good() {
    let Some(docker) = engine().await else { return };
    let name = fresh_name();
    let spec = spec(&name);
    let id = docker.create(&name, &spec).await.unwrap();
    assert_eq!(docker.create(&name, &spec).await.unwrap(), id, "by name");
    let seen = docker.inspect(&name).await.unwrap().unwrap();
    assert_eq!((seen.running, seen.pid, seen.exit_code), (false, 0, None));
    let listed = docker.list(&format!("dev={name}")).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((&listed[0].id, &listed[0].name), (&id, &name));
    assert!(docker.remove(&name).await.unwrap());
    assert!(!docker.remove(&name).await.unwrap());
    docker.kill(&name).await.unwrap();
    assert_eq!(docker.inspect(&name).await.unwrap(), None);
    let gone = docker.start(&name).await.unwrap_err();
    assert_matches::assert_matches!(gone, DockerError::Gone { .. });
}

#[tokio::test]
async fn a_death_is_told_with_its_exit_code_and_last_words() {
    let Some(docker) = engine().await else { return };
    let name = fresh_name();
    let mut events = docker.events(&format!("dev={name}"));
    // The stream is only open once Docker has answered it.
    let first = async {
        let patience = Duration::from_secs(30);
        tokio::time::timeout(patience, events.next()).await.unwrap()
    };
    let run = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        docker.create(&name, &spec(&name)).await.unwrap();
        docker.start(&name).await.unwrap();
    };
    let (event, ()) = tokio::join!(first, run);
    let event = event.unwrap().unwrap();
    assert_eq!(event.name, name);
    let seen = docker.inspect(&name).await.unwrap().unwrap();
    assert_eq!(
        event.what,
        Happening::Died {
            exit_code: seen.exit_code
        }
    );
    let words = docker.logs(&name, 20).await.unwrap();
    docker.remove(&name).await.unwrap();
    assert!(!words.is_empty());
}

#[tokio::test]
async fn an_unknown_image_is_named() {
    let Some(docker) = engine().await else { return };
    let spec = ContainerSpec {
        image: "chaser/none:never".to_owned(),
        ..spec("none")
    };
    let error = docker.create(&fresh_name(), &spec).await.unwrap_err();
    assert_matches::assert_matches!(error, DockerError::ImageMissing { image } if image == "chaser/none:never");
    assert!(!docker.info().await.unwrap().logging_driver.is_empty());
    docker.ping(LOOK).await.unwrap();
}
