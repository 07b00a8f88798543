use super::*;

const ID: &str = "sess_019ec0d0-a88a-73f2-9741-8030dc82a854";

fn asked(tail: &str) -> Asked {
    let request = Request::get(format!("/sessions/{ID}{tail}")).body(());
    Asked::of(&request.unwrap()).unwrap()
}

#[test]
fn a_token_may_stand_in_the_path() {
    let version = asked("/token/x%2Fy/json/version/?token=other");
    assert_eq!(version.wanted, Wanted::Version);
    assert_eq!(version.token.as_deref(), Some(&b"x/y"[..]));
    assert_eq!(version.raw_token.as_deref(), Some("x%2Fy"));
    let socket = asked("/token/t");
    assert_eq!(socket.wanted, Wanted::Socket(Socket::Browser(None)));
    assert_eq!(socket.token.as_deref(), Some(&b"t"[..]));
}
