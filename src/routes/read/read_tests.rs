use std::io::Write;

use secrecy::ExposeSecret;

use super::*;

fn file(content: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(content.as_bytes()).unwrap();
    file
}

#[test]
fn every_kind_is_read_and_pools_are_expanded() {
    let password = file("hunter2\n");
    let routes = from_text(&format!(
        r#"
        [[route]]
        name = "pool"
        kind = "direct"
        addresses = ["10.0.0.0/30", "10.0.1.5-10.0.1.6"]
        sessions = 3
        cooldown = "30s"

        [[route]]
        name = "vpn"
        kind = "direct"
        interface = "wg0"
        exit_ip = "198.51.100.7"

        [[route]]
        name = "gate"
        kind = "socks5"
        server = "gate.example:1000-1001"
        username = "cust-cc-{{country}}-{{session}}"
        password_file = "{}"
        country = "DE"
        city = "munich"
        tags = ["residential"]
        time_zone = "Europe/Berlin"
        locale = "de-DE"
        geolocation = {{ latitude = 48.1, longitude = 11.6 }}
        cost = "4.00/GB"
        "#,
        password.path().display()
    ))
    .unwrap();
    let names: Vec<&str> = routes.iter().map(|route| &*route.name).collect();
    let expected = [
        "pool-10.0.0.1",
        "pool-10.0.0.2",
        "pool-10.0.1.5",
        "pool-10.0.1.6",
        "vpn",
        "gate-1000",
        "gate-1001",
    ];
    assert_eq!(names, expected);
    assert_eq!(routes[0].exit_ip, Some([10, 0, 0, 1].into()));
    assert_eq!((routes[0].sessions, routes[0].cooldown.as_secs()), (3, 30));
    assert_eq!(routes[4].describe(), "direct dev wg0");
    let gate = &routes[6];
    assert_eq!(gate.describe(), "socks5 gate.example:1001");
    assert_eq!(gate.place.label(), "de-munich");
    assert_eq!(gate.place.geolocation.unwrap().accuracy, 50.0);
    let Kind::Upstream(proxy) = &gate.kind else {
        panic!("a socks5 route has an upstream")
    };
    let (_user, secret) = proxy.login.as_ref().unwrap();
    assert_eq!(secret.expose_secret(), "hunter2");
}

#[test]
fn what_is_wrong_is_refused_by_name_and_no_secret_is_quoted() {
    let refusal = |table: &str| {
        let text = format!("[[route]]\nname = \"r\"\n{table}");
        from_text(&text).unwrap_err().to_string()
    };
    for (table, named) in [
        (
            "kind = \"ftp\"\nserver = \"a:1\"",
            "`kind` must be direct, http",
        ),
        ("kind = \"http\"", "`server` must be"),
        (
            "kind = \"http\"\nserver = \"a:1\"\naddresses = [\"10.0.0.1\"]",
            "`addresses` is for",
        ),
        (
            "kind = \"direct\"\nserver = \"a:1\"",
            "`server` is for the kinds",
        ),
        (
            "kind = \"direct\"\naddresses = [\"10.0.0.0/8\"]",
            "`addresses` \"10.0.0.0/8\" holds",
        ),
        (
            "kind = \"direct\"\nsessions = 0",
            "`sessions` must be at least 1",
        ),
        ("kind = \"direct\"\ncountry = \"d e\"", "`country` must be"),
        (
            "kind = \"direct\"\ngeolocation = {latitude = 91.0, longitude = 0.0}",
            "`geolocation`",
        ),
        (
            "kind = \"http\"\nserver = \"a:1\"\npassword_file = \"/x\"",
            "needs a `username`",
        ),
        (
            "kind = \"http\"\nserver = \"a:1\"\nusername = \"u\"\npassword_file = \"/x/y\"",
            "/x/y",
        ),
        (
            "kind = \"http\"\nserver = \"a:1\"\nusername = \"{who}\"",
            "nothing fills: {who}",
        ),
        (
            "kind = \"http\"\nserver = \"a:1\"\nusername = \"a:b\"",
            "must have no colon",
        ),
        (
            "kind = \"http\"\nserver = \"a:1\"\nca_file = \"/x\"",
            "for the kind https only",
        ),
    ] {
        let said = refusal(table);
        assert!(said.contains("route `r`") && said.contains(named), "{said}");
    }
    let said = refusal("kind = \"http\"\nserver = \"a:1\"\npassword = \"hunter2\"");
    assert!(
        said.contains("line 5") && said.contains("`password`"),
        "{said}"
    );
    assert!(!said.contains("hunter2"), "{said}");
    let twice = "[[route]]\nname = \"r\"\nkind = \"direct\"\n".repeat(2);
    assert_eq!(from_text(&twice), Err(Refused::Twice("r".to_owned())));
    assert!(from_text("").unwrap().is_empty());
}

#[test]
fn the_documented_example_is_read() {
    let (password, ca) = (file("hunter2"), file("-----BEGIN CERTIFICATE-----"));
    let example = include_str!("../../../systemd/routes.example.toml")
        .replace(
            "/etc/chaser/secrets/gate",
            &password.path().display().to_string(),
        )
        .replace(
            "/etc/chaser/partner-ca.pem",
            &ca.path().display().to_string(),
        );
    let routes = from_text(&example).unwrap();
    assert_eq!(routes.len(), 6 + 4 + 1 + 10 + 1 + 1);
}
