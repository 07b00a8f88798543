use std::collections::BTreeMap;

use tokio::net::UdpSocket;

use super::*;

/// A name server that knows a few names and counts who was asked for.
struct Names {
    address: SocketAddr,
    asked: Arc<parking_lot::Mutex<Vec<String>>>,
}

impl Names {
    /// Answers `A` with the addresses of the turn: the first list first, the last one for ever.
    async fn start(tasks: &Tasks, known: &[(&str, &[&[Ipv4Addr]])]) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let names = Self {
            address: socket.local_addr().unwrap(),
            asked: Arc::default(),
        };
        let asked = Arc::clone(&names.asked);
        let mut known: BTreeMap<String, Vec<Vec<Ipv4Addr>>> = known
            .iter()
            .map(|(name, turns)| {
                let turns = turns.iter().map(|turn| turn.to_vec()).collect();
                ((*name).to_owned(), turns)
            })
            .collect();
        tasks.spawn("names", |_stop| async move {
            let mut query = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut query).await {
                let (name, kind, end) = question(&query[..length]);
                let answers = match (known.get_mut(&name), kind) {
                    (Some(turns), 1) if turns.len() > 1 => Some(turns.remove(0)),
                    (Some(turns), 1) => Some(turns[0].clone()),
                    (Some(_), _) => Some(Vec::new()),
                    (None, _) => None,
                };
                asked.lock().push(format!("{name} {kind}"));
                let answer = answer(&query[..end], answers.as_deref());
                socket.send_to(&answer, from).await.unwrap();
            }
        });
        names
    }

    fn asked(&self, question: &str) -> usize {
        self.asked.lock().iter().filter(|q| *q == question).count()
    }
}

/// Name, type and end of the one question.
fn question(query: &[u8]) -> (String, u16, usize) {
    let (mut at, mut name) = (12, String::new());
    while query[at] != 0 {
        let length = usize::from(query[at]);
        name += str::from_utf8(&query[at + 1..=at + length]).unwrap();
        name.push('.');
        at += 1 + length;
    }
    let kind = u16::from_be_bytes([query[at + 1], query[at + 2]]);
    (name.to_lowercase(), kind, at + 5)
}

fn answer(question: &[u8], addresses: Option<&[Ipv4Addr]>) -> Vec<u8> {
    let mut out = question.to_vec();
    let failure = if addresses.is_some() { 0 } else { 3 };
    let addresses = addresses.unwrap_or_default();
    out[2..12].copy_from_slice(&[0x81, 0x80 | failure, 0, 1, 0, 0, 0, 0, 0, 0]);
    out[7] = u8::try_from(addresses.len()).unwrap();
    for address in addresses {
        // The question's name, A, IN, a time to live in seconds, four bytes.
        let lives = match &question[13..17] {
            b"kept" => 60,
            b"soon" => 1,
            _ => 0,
        };
        out.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, lives, 0, 4]);
        out.extend_from_slice(&address.octets());
    }
    out
}

fn asking(host: &str, port: u16) -> String {
    format!("GET http://{host}:{port}/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
}

async fn ask(bench: &Bench, host: &str, port: u16) -> String {
    let mut client = bench.connect().await;
    client.send(asking(host, port)).await;
    String::from_utf8(client.rest().await.unwrap()).unwrap()
}

const GOOD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const BAD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 66);

async fn bench(known: &[(&str, &[&[Ipv4Addr]])]) -> (Bench, Names) {
    let names = Names::start(&Tasks::default(), known).await;
    let bench = Bench::with_nameservers(&[names.address]).await;
    // One address stands for the internet; its neighbours stay denied.
    bench.allow(&["127.0.0.1/32"]);
    (bench, names)
}

#[tokio::test]
async fn a_name_is_looked_up_absolutely_and_its_host_is_told() {
    let (bench, names) = bench(&[("site.example.", &[&[GOOD]])]).await;
    let origin = bench
        .origin(|mut peer| async move {
            let head = peer.head().await;
            assert!(head.contains("Host: Site.Example:"), "{head}");
            peer.send(OK).await;
        })
        .await;
    let response = ask(&bench, "Site.Example", origin.address.port()).await;
    assert!(response.ends_with("\r\n\r\nok"), "{response}");
    assert_eq!(names.asked("site.example. 1"), 1);
    bench.agrees_with(&origin).await;
}

#[tokio::test]
async fn a_name_with_only_denied_addresses_is_refused() {
    let worse = Ipv4Addr::new(127, 0, 0, 67);
    let (bench, _names) = bench(&[("inside.example.", &[&[BAD, worse]])]).await;
    let request = asking("inside.example", 80);
    bench.refuses_unheard(&request, Reason::DeniedAddress).await;
    assert_eq!(bench.meter.traffic(), Traffic::default());
}

#[tokio::test]
async fn denied_addresses_among_good_ones_are_dropped() {
    let (bench, _names) = bench(&[("mixed.example.", &[&[BAD, GOOD]])]).await;
    let origin = bench.origin(answering).await;
    let response = ask(&bench, "mixed.example", origin.address.port()).await;
    assert!(response.starts_with("HTTP/1.1 200 OK"), "{response}");
}

#[tokio::test]
async fn a_name_that_changes_its_mind_is_judged_by_the_address_that_is_used() {
    // Good when it is judged, bad when somebody would look again.
    let (bench, names) = bench(&[("rebinding.example.", &[&[GOOD], &[BAD]])]).await;
    let origin = bench.origin(answering).await;
    let port = origin.address.port();
    let first = ask(&bench, "rebinding.example", port).await;
    assert!(first.starts_with("HTTP/1.1 200 OK"), "{first}");
    assert_eq!(
        names.asked("rebinding.example. 1"),
        1,
        "one look-up, one connection"
    );
    let second = asking("rebinding.example", port);
    bench.refuses_unheard(&second, Reason::DeniedAddress).await;
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn a_name_is_looked_up_again_once_its_time_is_over_and_not_before() {
    let turns: &[&[Ipv4Addr]] = &[&[GOOD], &[BAD]];
    let (bench, names) = bench(&[("kept.example.", turns), ("soon.example.", turns)]).await;
    let origin = bench.origin(answering).await;
    let port = origin.address.port();
    let is_served = async |host| ask(&bench, host, port).await.starts_with("HTTP/1.1 200 OK");
    for _ in 0..3 {
        assert!(is_served("kept.example").await);
    }
    assert_eq!(names.asked("kept.example. 1"), 1);
    assert!(is_served("soon.example").await);
    bounded(async {
        while is_served("soon.example").await {
            sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    assert_eq!(names.asked("soon.example. 1"), 2);
    assert_eq!(bench.egress.refusals().of(Reason::DeniedAddress), 1);
}

#[tokio::test]
async fn names_that_lead_nowhere_are_upstream_failures() {
    let (bench, _names) = bench(&[("empty.example.", &[&[]])]).await;
    for host in ["missing.example", "empty.example"] {
        let request = asking(host, 80);
        bench.refuses_unheard(&request, Reason::Unresolved).await;
    }
}

#[tokio::test]
async fn a_dead_address_is_passed_over_for_the_next() {
    let (bench, _names) = bench(&[("two.example.", &[&[Ipv4Addr::new(127, 0, 0, 2), GOOD]])]).await;
    bench.allow(&["127.0.0.0/30"]);
    let origin = bench.origin(answering).await;
    // The origin listens on 127.0.0.1 only.
    let response = ask(&bench, "two.example", origin.address.port()).await;
    assert!(response.starts_with("HTTP/1.1 200 OK"), "{response}");
}
