//! The browser of a session with nobody attached: the same image, flags and environment, started by
//! hand, in a namespace where its proxy is a page and nothing else.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::Command,
    thread,
};

use chaser::docker::ContainerSpec;

use super::{
    Cdp, docker, inside,
    patience::{eventually, seconds},
};

/// Gone with its owner.
pub struct Plain {
    container: String,
    pid: u32,
}

impl Plain {
    /// Starts it; whatever URL it asks for is answered with this page.
    pub fn start(spec: &ContainerSpec, page: &'static str) -> Self {
        let mut run = Command::new("docker");
        run.args(["run", "--detach", "--network", "none", "--read-only"]);
        run.args(["--user", &spec.user, "--cap-drop", "ALL"]);
        run.arg(format!("--shm-size={}", spec.shm_bytes));
        run.args(["--security-opt", "no-new-privileges"]);
        run.args(["--security-opt", "seccomp=images/chromium/seccomp.json"]);
        for (path, options) in &spec.tmpfs {
            run.args(["--tmpfs", &format!("{path}:{options}")]);
        }
        for variable in &spec.env {
            run.args(["--env", variable]);
        }
        let run = run.arg(&spec.image).args(&spec.command).output().unwrap();
        let said = String::from_utf8(run.stdout).unwrap();
        let complaint = String::from_utf8_lossy(&run.stderr);
        assert!(run.status.success(), "docker run: {complaint}");
        let container = said.trim().to_owned();
        let pid = docker::pid(&container).expect("it runs");
        let plain = Self { container, pid };
        inside(pid, move || {
            let proxy = TcpListener::bind("127.0.0.1:3128").unwrap();
            thread::spawn(move || serve(&proxy, page));
        });
        plain
    }

    /// A connection to its DevTools.
    pub async fn cdp(&self) -> Cdp {
        let pid = self.pid.to_string();
        let version = eventually("DevTools answers", seconds(20), async || {
            let curl = Command::new("nsenter")
                .args(["-t", &pid, "-n", "curl", "-s", "--noproxy", "*"])
                .arg("http://127.0.0.1:9222/json/version")
                .output()
                .unwrap();
            serde_json::from_slice::<serde_json::Value>(&curl.stdout).ok()
        })
        .await;
        let stream = inside(self.pid, || TcpStream::connect("127.0.0.1:9222").unwrap());
        let url = version["webSocketDebuggerUrl"].as_str().unwrap();
        Cdp::over(stream, url).await
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        // What failed before matters more than this.
        drop(
            Command::new("docker")
                .args(["rm", "-f", "-v", &self.container])
                .output(),
        );
    }
}

/// One request, one answer, until the test's process ends.
fn serve(proxy: &TcpListener, page: &str) {
    for stream in proxy.incoming() {
        let Ok(mut stream) = stream else { continue };
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncache-control: no-store\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n{page}",
            page.len()
        );
        let mut request = [0; 4096];
        if stream.read(&mut request).is_ok_and(|count| count > 0) {
            // A browser that hung up needs no page.
            drop(stream.write_all(answer.as_bytes()));
        }
    }
}
