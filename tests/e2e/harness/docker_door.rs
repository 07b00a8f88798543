//! A door between the program and Docker: the real engine behind it, for as long as it is open.

use std::path::PathBuf;

use ::chaser::runtime::Tasks;
use tokio::{
    io::{AsyncWriteExt, copy_bidirectional},
    net::{UnixListener, UnixStream},
    sync::watch,
};

use super::Lab;

const ENGINE: &str = "/var/run/docker.sock";

/// How the door stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Everything passes.
    Open,
    /// Whoever knocks is let in and never answered: an engine that hangs.
    Silent,
    /// Whoever knocks is cut off: an engine that is gone.
    Shut,
    /// Whoever knocks hears of an internal error.
    Failing,
}

/// The door's frame; ends with its tasks.
pub struct DockerDoor {
    pub socket: PathBuf,
    stands: watch::Sender<Door>,
    _tasks: Tasks,
}

impl DockerDoor {
    pub fn open(lab: &Lab) -> Self {
        let socket = PathBuf::from(format!("{}.docker", lab.runtime_dir().display()));
        drop(std::fs::remove_file(&socket));
        let listener = UnixListener::bind(&socket).unwrap();
        let (stands, seen) = watch::channel(Door::Open);
        let tasks = Tasks::default();
        let visits = tasks.clone();
        tasks.spawn("door", |stop| async move {
            while let Some(Ok((client, _))) = stop.run_until_cancelled(listener.accept()).await {
                let seen = seen.clone();
                visits.spawn("visit", |stop| async move {
                    stop.run_until_cancelled(visit(client, seen)).await;
                });
            }
        });
        Self {
            socket,
            stands,
            _tasks: tasks,
        }
    }

    /// The line of `[node]` that leads through the door.
    pub fn line(&self) -> String {
        format!("docker = \"{}\"", self.socket.display())
    }

    pub fn turn(&self, to: Door) {
        self.stands.send_replace(to);
    }
}

impl Drop for DockerDoor {
    fn drop(&mut self) {
        self._tasks.stopping().cancel();
        drop(std::fs::remove_file(&self.socket));
    }
}

async fn visit(mut client: UnixStream, mut door: watch::Receiver<Door>) {
    let stood = *door.borrow_and_update();
    match stood {
        Door::Open => {
            let Ok(mut engine) = UnixStream::connect(ENGINE).await else {
                return;
            };
            tokio::select! {
                _over = copy_bidirectional(&mut client, &mut engine) => return,
                _turned = door.changed() => {}
            }
            if *door.borrow() == Door::Silent {
                // What was under way hangs as well.
                drop(door.changed().await);
            }
        }
        Door::Silent => drop(door.changed().await),
        Door::Shut => {}
        Door::Failing => {
            let body = r#"{"message":"the engine is out of sorts"}"#;
            let answer = format!(
                "HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\n\
                 Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            drop(client.write_all(answer.as_bytes()).await);
            drop(client.shutdown().await);
        }
    }
}
