//! TLS: who is let in and who is not, each with a line of the log that says why, and certificates that are
//! renewed under load.

use std::{fs, path::Path, process::Command, time::Duration};

use chaser::wire::node::GetNodeRequest;
use futures::{SinkExt, StreamExt};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{
    Agent, Chaser, Lab, Library, Pki, Setup, eventually, lab, processes, seconds, session_id, spec,
};

/// Until the log has a line with these words.
async fn logged(log: &Path, words: &str) {
    eventually(
        &format!("the log says `{words}`"),
        seconds(10),
        async || {
            let said = fs::read_to_string(log).unwrap();
            said.lines().any(|line| line.contains(words)).then_some(())
        },
    )
    .await;
}

fn pki(lab: &Lab, name: &str) -> Pki {
    fs::create_dir_all(lab.state_dir()).unwrap();
    Pki::init(&lab.state_dir().join(name))
}

fn section(lab: &Lab, pki: &Pki, names: &str) -> (String, String) {
    let address = format!("127.0.0.1:{}", lab.port(2));
    let names = pki.section(&format!("client_names = {names}"));
    let config = format!("[node]\nlisten = \"{address}\"\n{names}");
    (address, config)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_nodes_port_is_for_listed_clients_of_its_authority_and_says_why_not_for_others() {
    let (lab, _origin) = lab();
    let (ours, elsewhere) = (pki(&lab, "ours"), pki(&lab, "elsewhere"));
    ours.issue("control", &["--spiffe", "spiffe://example.org/control"]);
    ours.issue("late", &["--valid-for", "0s"]);
    let names = "[\"spiffe://example.org/control\", \"client\", \"late\"]";
    let (address, config) = section(&lab, &ours, names);
    let agent = Agent::start(&lab, &config).await;
    let log = agent.state_dir.with_file_name("up.log");
    for who in ["control", "client"] {
        ours.answers(&address, (&ours, Some(who))).await.unwrap();
    }

    let refused = [
        (
            &elsewhere,
            Some("client"),
            "is of another authority than tls.client_ca",
        ),
        (&ours, Some("late"), "its certificate has expired"),
        (
            &ours,
            Some("server"),
            "none of its names is in tls.client_names: server",
        ),
        (&ours, None, "it presented no certificate"),
    ];
    for (shown, who, why) in refused {
        // The last second of a certificate is still its own.
        eventually(why, seconds(5), async || {
            ours.answers(&address, (shown, who)).await.err()
        })
        .await;
        logged(&log, why).await;
    }
    // It does not know whom it is talking to.
    let wrong = elsewhere.answers(&address, (&ours, Some("client"))).await;
    wrong.unwrap_err();
    logged(&log, "it refused our certificate or our terms").await;
    let mut plain = TcpStream::connect(&address).await.unwrap();
    plain
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    // A TLS alert at most.
    drop(plain.read_to_end(&mut answer).await);
    assert!(answer.len() < 16, "{answer:?}");
    logged(&log, "does not speak TLS").await;
    ours.answers(&address, (&ours, Some("client")))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_and_a_revoked_name_meet_new_connections_and_cut_none() {
    let (lab, _origin) = lab();
    let ours = pki(&lab, "ours");
    let (address, config) = section(&lab, &ours, "[\"client\"]");
    let agent = Agent::start(&lab, &config).await;
    let log = agent.state_dir.with_file_name("up.log");
    let mut load = ours.node(&address, (&ours, Some("client"))).await.unwrap();
    let shown = async || {
        let dialled = ours.dial(&address, (&ours, Some("client")), "h2").await;
        let stream = dialled.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].clone()
    };
    for _ in 0..3 {
        ours.issue("server", &["--host", "localhost"]);
        processes::signal(agent.pid(), Signal::SIGHUP);
        eventually("the renewed one is shown", seconds(10), async || {
            load.get_node(GetNodeRequest {}).await.unwrap();
            (shown().await == ours.server()).then_some(())
        })
        .await;
    }

    // A file that is wrong changes nothing.
    fs::write(ours.path("server.key"), "not a key").unwrap();
    processes::signal(agent.pid(), Signal::SIGHUP);
    logged(&log, "certificates are not reloaded").await;
    ours.answers(&address, (&ours, Some("client")))
        .await
        .unwrap();

    ours.issue("server", &["--host", "localhost"]);
    let file = agent.state_dir.with_file_name("chaser.toml");
    let before = fs::read_to_string(&file).unwrap();
    fs::write(&file, before.replace("[\"client\"]", "[\"operator\"]")).unwrap();
    processes::signal(agent.pid(), Signal::SIGHUP);
    eventually("the name is revoked", seconds(10), async || {
        ours.answers(&address, (&ours, Some("client"))).await.err()
    })
    .await;
    logged(&log, "none of its names is in tls.client_names: client").await;
    load.get_node(GetNodeRequest {}).await.unwrap();
}

async fn get(pki: &Pki, address: &str, path: &str) -> (u16, Value) {
    let dialled = pki.dial(address, (pki, None), "http/1.1").await;
    let mut stream = dialled.unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer sk_test\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (
        head[9..12].parse().unwrap(),
        serde_json::from_str(body).unwrap(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn api_and_gateway_speak_tls_and_a_renewal_is_felt_by_no_client() {
    let (lab, origin) = lab();
    let ours = pki(&lab, "ours");
    let file = |name: &str| ours.path(name).display().to_string();
    let chaser = Setup::on(&lab)
        .set("tls", &format!("cert = {:?}", file("server.pem")))
        .set("tls", &format!("key = {:?}", file("server.key")))
        // It asks itself, over an address that its certificate does not name.
        .with("--self-check")
        .start()
        .await;
    let id = session_id();
    chaser
        .node
        .provision(&id, spec(seconds(600)))
        .await
        .unwrap();
    let api = chaser.api.base().trim_start_matches("http://").to_owned();
    let (status, listed) = get(&ours, &api, "/v1/sessions").await;
    assert_eq!((status, &listed["object"]), (200, &json!("list")));
    let mut plain = TcpStream::connect(&api).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    drop(plain.read_to_end(&mut Vec::new()).await);
    logged(&chaser.state_dir.join("up.log"), "does not speak TLS").await;

    operators_see_it(&chaser, (&ours, &pki(&lab, "elsewhere")), &id).await;

    let url = format!("wss://localhost:{}/sessions/{id}", chaser.cdp.port());
    let mut client = Library::Patchright.start_trusting(&ours.path("ca.pem"));
    client.must("connect", json!({ "url": url })).await;
    client.goto(&origin.http("/over-tls")).await;
    // A large answer and a large command, both ways through it.
    let long = client
        .evaluate("'x'.repeat(3000000).length.toString()")
        .await;
    assert_eq!(long, "3000000");

    ours.issue("server", &["--host", "localhost"]);
    processes::signal(chaser.pid(), Signal::SIGHUP);
    let cdp = chaser.cdp.to_string();
    eventually(
        "the gateway shows the renewed one",
        seconds(10),
        async || {
            let dialled = ours.dial(&cdp, (&ours, None), "http/1.1").await;
            let stream = dialled.unwrap();
            let now = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
            (now == ours.server()).then_some(())
        },
    )
    .await;
    let scrape = chaser.metrics().await;
    let mut lines = scrape.lines();
    let expiry = lines.find_map(|line| line.strip_prefix("chaser_tls_expiry_timestamp_seconds "));
    let left =
        expiry.unwrap().parse::<i64>().unwrap() - time::OffsetDateTime::now_utc().unix_timestamp();
    assert!((89 * 86_400..=90 * 86_400).contains(&left), "{left}");
    client.goto(&origin.http("/still")).await;
    assert!(!client.was_disconnected());
    whole_messages(&ours, &cdp, &id).await;
}

/// The command line knows whom it asks: by the authority that it is told, and nobody else's word.
async fn operators_see_it(chaser: &Chaser, (ours, elsewhere): (&Pki, &Pki), id: &str) {
    let url = chaser
        .api
        .base()
        .replace("http://127.0.0.1", "https://localhost");
    let asked = async |words: &[&str]| {
        let told = ["session", "list", "--api", &url, "--api-key", "sk_test"];
        let run = chaser.command(&[&told, words].concat()).output();
        let output = run.await.unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat());
        (output.status.code().unwrap(), said.unwrap())
    };
    let file = |pki: &Pki| pki.path("ca.pem").to_str().unwrap().to_owned();
    let (code, said) = asked(&["--api-ca", &file(ours)]).await;
    assert_eq!(code, 0, "{said}");
    assert!(
        !said.contains(id),
        "no session of this node's other clients: {said}"
    );
    for words in [&["--api-ca", &file(elsewhere)][..], &[]] {
        let (code, said) = asked(words).await;
        assert_eq!(code, 69, "{said}");
        assert!(
            said.contains("name the authority of its certificate with --api-ca"),
            "{said}"
        );
    }
    let (code, said) = asked(&["--api-ca", "/nowhere"]).await;
    assert_eq!(code, 64, "{said}");
    assert!(said.contains("/nowhere cannot be read"), "{said}");
}

/// Messages of every size pass whole, and the close is said.
async fn whole_messages(pki: &Pki, cdp: &str, id: &str) {
    let dialled = pki.dial(cdp, (pki, None), "http/1.1").await;
    let url = format!("ws://localhost/sessions/{id}");
    let (mut socket, _) = tokio_tungstenite::client_async(url, dialled.unwrap())
        .await
        .unwrap();
    for (number, size) in [1_usize, 16 << 10, 300 << 10, 5 << 20]
        .into_iter()
        .enumerate()
    {
        let filler = "x".repeat(size);
        let command =
            json!({ "id": number, "method": "Browser.getVersion", "params": { "x": filler } });
        socket
            .send(Message::text(command.to_string()))
            .await
            .unwrap();
        let answer = tokio::time::timeout(Duration::from_secs(20), socket.next()).await;
        let answer = answer.unwrap().unwrap().unwrap();
        let answer: Value = serde_json::from_str(answer.to_text().unwrap()).unwrap();
        assert_eq!(answer["id"], number, "{answer}");
    }
    socket.close(None).await.unwrap();
}

#[test]
fn plaintext_beyond_this_host_must_be_asked_for_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("chaser.toml");
    for name in ["node", "cdp", "api", "admin"] {
        fs::write(&file, format!("[{name}]\nlisten = \"0.0.0.0:1\"\n")).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_chaser"))
            .args(["node", "--config", file.to_str().unwrap()])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{said}");
        assert!(
            said.contains(&format!("`{name}.listen` is 0.0.0.0:1")),
            "{said}"
        );
        assert!(
            said.contains(&format!("\"{name}\" in tls.insecure")),
            "{said}"
        );
    }
}
