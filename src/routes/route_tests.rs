use super::*;

fn route() -> Route {
    Route {
        place: Place {
            country: "de".to_owned(),
            region: "by".to_owned(),
            city: "munich".to_owned(),
            ..Place::default()
        },
        tags: BTreeSet::from(["residential".to_owned(), "fast".to_owned()]),
        ..Route::at([10, 0, 0, 1].into(), 1, Duration::ZERO)
    }
}

fn wish(region: &str, tags: &[&str]) -> EgressWish {
    EgressWish {
        region: region.to_owned(),
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        ..EgressWish::default()
    }
}

#[test]
fn a_region_is_any_part_of_the_place_or_its_beginning() {
    for fits in ["", "de", "DE", "by", "munich", "de-by", "de-by-munich"] {
        assert!(route().fits(&wish(fits, &[])), "{fits}");
    }
    for other in [
        "fr",
        "d",
        "de-",
        "de-b",
        "by-munich",
        "de-by-munich-",
        "de-by-munich-centre",
    ] {
        assert!(!route().fits(&wish(other, &[])), "{other}");
    }
    assert_eq!(route().place.label(), "de-by-munich");
}

#[test]
fn all_that_is_asked_must_be_there() {
    assert!(route().fits(&wish("de", &["fast", "residential"])));
    assert!(!route().fits(&wish("de", &["fast", "mobile"])));
    let other_country = EgressWish {
        country: "fr".to_owned(),
        ..wish("munich", &[])
    };
    assert!(!route().fits(&other_country));
    let by_name = EgressWish {
        route: "10.0.0.1".to_owned(),
        ..EgressWish::default()
    };
    assert!(route().fits(&by_name));
    assert!(!route().fits(&EgressWish {
        route: "10.0.0.2".to_owned(),
        ..by_name
    }));
}

#[test]
fn what_is_printed_of_a_route_holds_no_login() {
    let secret = |text: &str| SecretString::from(text.to_owned());
    let proxy = Proxy {
        scheme: Scheme::Http,
        host: "gate.example".to_owned(),
        port: 80,
        login: Some((secret("cust-{session}"), secret("hunter2"))),
        ca: String::new(),
    };
    let route = Route {
        name: "gate".to_owned(),
        kind: Kind::Upstream(proxy),
        ..route()
    };
    let printed = format!("{route:?} {route}");
    assert!(printed.contains("gate (http gate.example:80)"));
    assert!(!printed.contains("hunter2") && !printed.contains("cust-"));
    let facts = Facts {
        session: "one",
        ttl: Duration::from_secs(60),
        place: &route.place,
    };
    let login = route.way(&facts).upstream.unwrap().login.unwrap();
    assert!(!login.username.expose_secret().contains('{'));
    assert_eq!(login.password.expose_secret(), "hunter2");
}

#[test]
fn a_place_is_told_as_chrome_would_there() {
    let told = |locale: &str| {
        let place = Place {
            locale: locale.to_owned(),
            ..Place::default()
        };
        place.told().languages.join(",")
    };
    assert_eq!(told("de-DE"), "de-DE,de,en-US,en");
    assert_eq!(told("en-US"), "en-US,en");
    assert_eq!(told("en-GB"), "en-GB,en,en-US");
    assert_eq!(told("fr"), "fr,en-US,en");
    assert_eq!(told(""), "");
}
