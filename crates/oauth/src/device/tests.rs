use std::collections::BTreeSet;

use super::*;
use crate::id::Subject;
use crate::{ScopeSet, SystemEntropy};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + seconds).unwrap()
}

fn client() -> ClientId {
    ClientId::parse("television").unwrap()
}

fn person() -> Person {
    Person {
        subject: Subject::parse("local:ann").unwrap(),
        login: "ann".to_owned(),
        names: BTreeSet::new(),
        memberships: BTreeSet::new(),
    }
}

fn started() -> (DeviceCode, DeviceAuthorization) {
    let code = DeviceCode::generate(&SystemEntropy);
    let service = ServiceName::parse("mcp-fetch").unwrap();
    let scope = ScopeSet::parse("mcp").unwrap();
    let device = DeviceAuthorization::start(&code, client(), service, scope, at(0));
    (code, device)
}

#[test]
fn a_code_is_read_as_people_type_it() {
    let code = UserCode::generate(&SystemEntropy);
    let shown = code.to_string();
    assert_eq!(shown.len(), 9);
    for typed in [
        shown.clone(),
        shown.to_lowercase(),
        shown.replace('-', ""),
        format!(" {} ", shown.replace('-', " - ")),
    ] {
        assert_eq!(UserCode::parse(&typed).as_ref(), Ok(&code), "{typed}");
    }
    for bad in [
        "",
        "BCDFGHJ",
        "BCDFGHJKL",
        "BCDFGHJA",
        "BCDFGHJ1",
        "ÄBCDFGHJ",
    ] {
        assert_eq!(UserCode::parse(bad), Err(InvalidUserCode), "{bad}");
    }
    let letters: BTreeSet<char> = (0..200)
        .flat_map(|_| {
            String::from(UserCode::generate(&SystemEntropy))
                .chars()
                .collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(letters.len(), 20);
}

#[test]
fn a_device_that_asks_too_soon_waits_five_seconds_longer_each_time() {
    let (code, device) = started();
    let Polled::Pending(device) = device.poll(&code, &client(), at(0)) else {
        panic!("the first question is never too soon");
    };
    let Polled::SlowDown(device) = device.poll(&code, &client(), at(4)) else {
        panic!("4 s are too soon");
    };
    let Polled::SlowDown(device) = device.poll(&code, &client(), at(13)) else {
        panic!("9 s are too soon now");
    };
    let Polled::SlowDown(device) = device.poll(&code, &client(), at(27)) else {
        panic!("14 s are too soon now");
    };
    assert!(matches!(
        device.poll(&code, &client(), at(47)),
        Polled::Pending(_)
    ));
}

#[test]
fn an_approval_is_given_out_once_to_the_device_that_asked() {
    let (code, device) = started();
    let device = device.approve(person(), at(3)).unwrap();
    let (other, _) = started();
    let stranger = ClientId::parse("other").unwrap();
    let mixed = DeviceCode {
        user_code: code.user_code.clone(),
        secret: other.secret,
    };
    assert!(matches!(
        device.clone().poll(&mixed, &client(), at(4)),
        Polled::Unknown
    ));
    assert!(matches!(
        device.clone().poll(&code, &stranger, at(4)),
        Polled::Unknown
    ));
    let Polled::Granted(device, person, agreed_at) = device.poll(&code, &client(), at(4)) else {
        panic!("somebody agreed");
    };
    assert_eq!((person.login.as_str(), agreed_at), ("ann", at(3)));
    assert!(matches!(
        device.poll(&code, &client(), at(9)),
        Polled::Unknown
    ));
}

#[test]
fn an_answer_counts_once_and_in_time() {
    let (code, device) = started();
    let denied = device.clone().deny(at(1)).unwrap();
    assert!(denied.clone().approve(person(), at(2)).is_none());
    assert!(matches!(
        denied.poll(&code, &client(), at(2)),
        Polled::Denied
    ));
    assert!(device.clone().approve(person(), at(600)).is_none());
    assert!(device.clone().deny(at(600)).is_none());
    assert!(matches!(
        device.clone().poll(&code, &client(), at(600)),
        Polled::Expired
    ));
    let approved = device.approve(person(), at(599)).unwrap();
    assert!(matches!(
        approved.poll(&code, &client(), at(600)),
        Polled::Expired
    ));
}
