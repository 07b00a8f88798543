//! What benches fetch: a page and plain bytes, from a listener of this process.
//!
//! | path | answer |
//! |---|---|
//! | `/bytes/N` | N bytes |
//! | any other | the page: text, styles, a script, a picture; about 100 kB |

use std::{io, net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::runtime::Tasks;

const MAX_HEAD: usize = 16 << 10;
const CHUNK: usize = 256 << 10;
/// Shared by all connections: a new one shall cost no more than itself.
static BYTES: [u8; CHUNK] = [b'x'; CHUNK];

/// Serves `listener` until `tasks` stop.
pub(super) fn serve(listener: TcpListener, tasks: &Tasks) {
    let page: Arc<str> = page().into();
    let group = tasks.clone();
    tasks.spawn("bench origin", |stop| async move {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => return,
            };
            // A connection that could not be accepted shows as one that was refused.
            let Ok((stream, _from)) = accepted else {
                continue;
            };
            let page = Arc::clone(&page);
            group.spawn("bench origin connection", |stop| async move {
                tokio::select! {
                    // However it ended: the other side knows.
                    _ended = answer(stream, &page) => {}
                    () = stop.cancelled() => {}
                }
            });
        }
    });
}

/// A listener on this host's loopback, served.
///
/// # Errors
/// When no port is free.
pub(super) async fn start(tasks: &Tasks) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    serve(listener, tasks);
    Ok(address)
}

async fn answer(mut stream: TcpStream, page: &str) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut head = Vec::with_capacity(MAX_HEAD);
    loop {
        let Some(end) = head.windows(4).position(|w| w == b"\r\n\r\n") else {
            if head.len() > MAX_HEAD || stream.read_buf(&mut head).await? == 0 {
                return Ok(());
            }
            continue;
        };
        match bytes_asked(&head[..end]) {
            Some(count) => {
                let head = "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n";
                let head = format!("{head}Content-Length: {count}\r\n\r\n");
                stream.write_all(head.as_bytes()).await?;
                let mut left = count;
                while left > 0 {
                    let now = left.min(CHUNK);
                    stream.write_all(&BYTES[..now]).await?;
                    left -= now;
                }
            }
            None => {
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n";
                let length = page.len();
                let whole = format!("{head}Content-Length: {length}\r\n\r\n{page}");
                stream.write_all(whole.as_bytes()).await?;
            }
        }
        head.drain(..end + 4);
    }
}

/// N of `GET /bytes/N`, by path or by whole URL.
fn bytes_asked(head: &[u8]) -> Option<usize> {
    let line = std::str::from_utf8(head).ok()?.lines().next()?;
    let (_, count) = line.split(' ').nth(1)?.rsplit_once("/bytes/")?;
    count.parse().ok()
}

/// Something for a browser to lay out, paint and run.
fn page() -> String {
    let paragraph = |n: usize| {
        let words = "The quick brown fox jumps over the lazy dog, and so on. ".repeat(6);
        format!(
            "<section class=\"c{}\"><h2>Part {n}</h2><p>{words}</p></section>\n",
            n % 7
        )
    };
    let paragraphs: String = (0..240).map(paragraph).collect();
    let styles: String = (0..7)
        .map(|n| {
            format!(
                ".c{n}{{border-left:{n}px solid hsl({}deg 60% 50%)}}",
                n * 50
            )
        })
        .collect();
    let picture = "<svg width=\"300\" height=\"90\"><circle cx=\"45\" cy=\"45\" r=\"40\"/></svg>";
    let script = "const seen=[...document.querySelectorAll('h2')].map(h=>h.textContent);\
                  document.title=`bench ${seen.length}`;";
    format!(
        "<!doctype html><html><head><meta name=\"viewport\" content=\"width=device-width\">\
         <link rel=\"icon\" href=\"data:,\"><style>{styles}</style><title>bench</title></head>\
         <body><h1>Bench</h1>{picture}{paragraphs}<script>{script}</script></body></html>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_gets_bytes_and_pages_in_turn() {
        let tasks = Tasks::default();
        let address = start(&tasks).await.unwrap();
        let mut stream = TcpStream::connect(address).await.unwrap();
        let asked = b"GET http://h/bytes/300000 HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n";
        stream.write_all(asked).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (first, page) = answer
            .split_once("HTTP/1.1 200 OK\r\nContent-Type: text")
            .unwrap();
        assert!(first.ends_with(&"x".repeat(300_000)), "{}", first.len());
        assert!(
            page.ends_with("</html>") && page.len() > 80_000,
            "{}",
            page.len()
        );
    }
}
