//! Messages that two parsers could read differently: whatever comes out of the proxy is read the same by
//! parsers of every leniency.
//!
//! A corpus of what was found in real proxies, each also broken at random (seeded). The origin keeps the
//! raw bytes of each connection; what it got must be one request, and nothing after it, whether a
//! parser believes in `Content-Length` or in `Transfer-Encoding` first, takes the first or the last of two
//! fields, takes a bare line feed for a line's end, or a space before a colon for nothing.

use futures::{StreamExt, stream};
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;

/// Broken at random, each so often.
const MUTANTS: usize = 60;
const AT_ONCE: usize = 16;
const SEED: u64 = 9112;

/// What stands where the body ends for one parser and not for the other.
const HIDDEN: &str = "GET http://ORIGIN/hidden HTTP/1.1\r\nHost: ORIGIN\r\n\r\n";

/// Fields and a body; a request line and `HIDDEN` are put around them.
const CORPUS: [(&str, &str); 28] = [
    (
        "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n",
        "0\r\n\r\nG",
    ),
    (
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        "5c\r\nG\r\n0\r\n\r\n",
    ),
    (
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n",
        "0\r\n\r\n",
    ),
    (
        "Transfer-Encoding: xchunked\r\nContent-Length: 5\r\n",
        "0\r\n\r\n",
    ),
    (
        "Transfer-Encoding : chunked\r\nContent-Length: 5\r\n",
        "0\r\n\r\n",
    ),
    ("Transfer-Encoding:\tchunked\r\n", "0\r\n\r\n"),
    (
        "Transfer-Encoding:\x0bchunked\r\nContent-Length: 5\r\n",
        "0\r\n\r\n",
    ),
    (
        "Transfer-Encoding: \"chunked\"\r\nContent-Length: 5\r\n",
        "0\r\n\r\n",
    ),
    (
        "X: y\r\n Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "0\r\n\r\n",
    ),
    (
        "X: y\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "0\r\n\r\n",
    ),
    (
        "X: y\rTransfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "0\r\n\r\n",
    ),
    ("Transfer-Encoding: identity, chunked\r\n", "0\r\n\r\n"),
    ("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"),
    ("Transfer-Encoding: ,chunked\r\n", "0\r\n\r\n"),
    ("Content-Length: 0\r\nContent-Length: 5\r\n", "abcde"),
    ("Content-Length: 5, 5\r\n", "abcde"),
    ("Content-Length: +5\r\n", "abcde"),
    ("Content-Length: 0x5\r\n", "abcde"),
    ("Content-Length: 5 \r\n", "abcde"),
    ("Content-Length: -1\r\n", ""),
    ("Content-Length: 18446744073709551617\r\n", "a"),
    ("Content-Length\0: 5\r\n", "abcde"),
    ("Transfer-Encoding: chunked\r\n", "0x3\r\nabc\r\n0\r\n\r\n"),
    (
        "Transfer-Encoding: chunked\r\n",
        "3;a=\n\r\nabc\r\n0\r\n\r\n",
    ),
    ("Transfer-Encoding: chunked\r\n", "3\nabc\n0\n\n"),
    (
        "Transfer-Encoding: chunked\r\n",
        "ffffffffffffffff1\r\nabc\r\n0\r\n\r\n",
    ),
    (
        "Transfer-Encoding: chunked\r\n",
        "0\r\nContent-Length: 50\r\n\r\n",
    ),
    (
        "Connection: content-length\r\nContent-Length: 5\r\n",
        "abcde",
    ),
];

/// How a parser reads what is not as it should be.
#[derive(Debug, Clone, Copy)]
struct Leniency {
    coding_first: bool,
    last_wins: bool,
    bare_feeds: bool,
}

/// The request lines that such a parser sees, each with the length of its body.
fn seen(mut raw: &[u8], how: Leniency) -> Vec<(String, usize)> {
    let mut all = Vec::new();
    while let Some((head, rest)) = head(raw, how) {
        let mut lines = head.split('\n').map(|line| line.trim_end_matches('\r'));
        let first = lines.next().unwrap_or_default().to_owned();
        let fields: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.trim().to_lowercase(), value.trim().to_lowercase()))
            .collect();
        let field = |wanted: &str| {
            let mut found = fields.iter().filter(|(name, _)| name == wanted);
            let found = if how.last_wins {
                found.next_back()
            } else {
                found.next()
            };
            found.map(|(_, value)| value.clone())
        };
        let chunked = field("transfer-encoding").is_some_and(|value| value.contains("chunked"));
        let length = field("content-length").and_then(|value| {
            let digits = value.trim_start_matches('+');
            let end = digits
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(digits.len());
            digits[..end].parse::<usize>().ok()
        });
        let body = match (chunked, length) {
            (true, None) => coded(rest),
            (true, Some(_)) if how.coding_first => coded(rest),
            (_, Some(length)) => length.min(rest.len()),
            (false, None) => 0,
        };
        all.push((first, body));
        raw = &rest[body..];
    }
    if !raw.is_empty() {
        all.push(("what is left".to_owned(), raw.len()));
    }
    all
}

fn head(raw: &[u8], how: Leniency) -> Option<(String, &[u8])> {
    let ends: &[&[u8]] = if how.bare_feeds {
        &[b"\r\n\r\n", b"\n\n", b"\n\r\n"]
    } else {
        &[b"\r\n\r\n"]
    };
    let end = ends.iter().filter_map(|end| {
        let at = raw.windows(end.len()).position(|part| part == *end)?;
        Some((at, at + end.len()))
    });
    let (at, after) = end.min()?;
    Some((
        String::from_utf8_lossy(&raw[..at]).into_owned(),
        &raw[after..],
    ))
}

/// The length of a chunked body, its end included; as much as there is of one that has none.
fn coded(raw: &[u8]) -> usize {
    let mut at = 0;
    loop {
        let Some(line) = raw[at..].iter().position(|byte| *byte == b'\n') else {
            return raw.len();
        };
        let size = String::from_utf8_lossy(&raw[at..at + line]).into_owned();
        let end = size
            .find(|c: char| !c.is_ascii_hexdigit())
            .unwrap_or(size.len());
        at += line + 1;
        match usize::from_str_radix(&size[..end], 16) {
            Ok(0) | Err(_) => {
                // Trailers, to their empty line.
                loop {
                    let Some(line) = raw[at..].iter().position(|byte| *byte == b'\n') else {
                        return raw.len();
                    };
                    let empty = raw[at..at + line].iter().all(|byte| *byte == b'\r');
                    at += line + 1;
                    if empty {
                        return at;
                    }
                }
            }
            Ok(size) => match at.checked_add(size).filter(|next| *next + 2 <= raw.len()) {
                Some(next) => at = next + 2,
                None => return raw.len(),
            },
        }
    }
}

fn mutant(text: &[u8], rng: &mut StdRng) -> Vec<u8> {
    let mut bytes = text.to_vec();
    for _ in 0..rng.random_range(1..4) {
        let at = rng.random_range(0..bytes.len());
        match rng.random_range(0..6) {
            0 => drop(bytes.remove(at)),
            1 => bytes.insert(at, *b"\r\n \t:;,0\0x".get(rng.random_range(0..10)).unwrap()),
            2 => bytes[at] = *b"\r\n \t:;,5+Z".get(rng.random_range(0..10)).unwrap(),
            3 => bytes[at] ^= 0x20,
            4 => {
                let end = (at + rng.random_range(1..30)).min(bytes.len());
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            _ => bytes.truncate(at.max(1)),
        }
    }
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_comes_out_is_one_request_to_parsers_of_every_leniency() {
    let bench = Bench::new().await;
    let raws = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let kept = Arc::clone(&raws);
    let origin = bench
        .origin(move |mut peer| {
            let kept = Arc::clone(&kept);
            async move {
                let mut raw = Vec::new();
                let mut some = [0; 4096];
                if let Ok(read @ 1..) = peer.stream.read(&mut some).await {
                    raw.extend_from_slice(&some[..read]);
                    let last = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                    drop(peer.stream.write_all(last.as_bytes()).await);
                }
                drop(peer.stream.read_to_end(&mut raw).await);
                kept.lock().push(raw);
            }
        })
        .await;
    let to = origin.address.to_string();
    let mut rng = StdRng::seed_from_u64(SEED);
    let mut cases = Vec::new();
    for (fields, body) in CORPUS {
        let line = "POST http://ORIGIN/seen HTTP/1.1\r\nHost: ORIGIN\r\n";
        let text = format!("{line}{fields}\r\n{body}{HIDDEN}").replace("ORIGIN", &to);
        let mutants = (0..MUTANTS).map(|_| mutant(text.as_bytes(), &mut rng));
        cases.extend(mutants.chain([text.clone().into_bytes()]));
    }
    let (count, proxy) = (cases.len(), bench.proxy);
    stream::iter(cases)
        .for_each_concurrent(AT_ONCE, |case| async move {
            let mut client = TcpStream::connect(proxy).await.unwrap();
            // It may be refused before all of it was said.
            drop(client.write_all(&case).await);
            drop(client.shutdown().await);
            let mut answer = Vec::new();
            drop(bounded(client.read_to_end(&mut answer)).await);
        })
        .await;
    bench.egress.cut().await;
    bounded(async {
        while u64::try_from(raws.lock().len()).unwrap() < origin.connections() {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let raws = raws.lock();
    assert!(
        raws.len() > count / 20,
        "{} of {count} came through",
        raws.len()
    );
    for raw in raws.iter().filter(|raw| !raw.is_empty()) {
        let all = [false, true];
        let each = all.into_iter().flat_map(|coding_first| {
            all.into_iter().flat_map(move |last_wins| {
                all.map(|bare_feeds| Leniency {
                    coding_first,
                    last_wins,
                    bare_feeds,
                })
            })
        });
        let readings: Vec<_> = each.map(|how| seen(raw, how)).collect();
        let shown = String::from_utf8_lossy(raw);
        assert!(
            readings.windows(2).all(|two| two[0] == two[1]),
            "{readings:?}\n{shown}"
        );
        assert_eq!(readings[0].len(), 1, "{readings:?}\n{shown}");
    }
}
