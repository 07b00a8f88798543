//! Who is asked for names.

use super::*;
use crate::harness::Dns;

#[tokio::test(flavor = "multi_thread")]
async fn a_route_asks_its_own_name_servers_and_from_its_own_address() {
    let ((lab, origin), tasks) = (lab(), Tasks::default());
    let address = lab.egress_addresses(1)[0];
    let (here, elsewhere) = (lab.origin_ip(), lab.neighbour_ip());
    // The node's own would lead where nobody may go.
    let node = Dns::start(&lab, &[("page.test", &[elsewhere])], &tasks);
    let own = Dns::at(&lab, elsewhere, &[("page.test", &[here])], &tasks);
    let more = format!("nameservers = [\"{}\"]", own.address());
    let tables = [direct("own", &address.to_string(), &more)];
    let chaser = Setup::on(&lab)
        .egress_addresses(0)
        .names(&node)
        .set("egress", &routes_file(&lab, &tables))
        .start()
        .await;
    let session = session_by(&chaser, json!({ "route": "own" })).await;
    let mut client = Library::Patchright.connect(&session.cdp_url).await;
    client.goto("http://page.test/own").await;
    assert_eq!(
        origin.requests_of(address).len(),
        1 + favicons(&origin, address)
    );
    assert_eq!(own.askers(), BTreeSet::from([address]));
    let asked = node.questions();
    assert!(!asked.contains(&"page.test".to_owned()), "{asked:?}");
}

fn favicons(origin: &Origin, from: IpAddr) -> usize {
    let requests = origin.requests_of(from);
    requests
        .iter()
        .filter(|seen| seen.path == "/favicon.ico")
        .count()
}
