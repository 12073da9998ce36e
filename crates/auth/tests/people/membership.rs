//! Who came in as a member of an organisation or a team, and what happens when they leave.

use std::time::{Duration, Instant};

use testkit::github::{Condition, GitHub, ORG_TOKEN, User};

use crate::gateway::{Client, Gateway, Tokens, github_person, parameter, person, tokens};

const DAY: i64 = 24 * 3600;
const LIST: [(&str, &str); 2] = [
    ("ALLOWED_GITHUB_ORGS", "acme"),
    ("MEMBERSHIP_LIFETIME", "604800"),
];

async fn connected(changes: &[(&str, &str)]) -> (Gateway, GitHub, Client, Tokens) {
    let (gateway, github) = Gateway::github(&[&LIST, changes].concat()).await;
    let client = gateway.web_client().await;
    let octocat = github_person("octocat");
    let tokens = gateway.connect(&octocat, &client).await;
    (gateway, github, client, tokens)
}

/// The client refreshes every day, as one in use does.
async fn refresh_daily(gateway: &Gateway, client: &Client, mut held: Tokens, days: u32) -> Tokens {
    for _ in 0..days {
        gateway.clock.advance(DAY);
        held = tokens(&gateway.refresh(client, &held.refresh).await);
    }
    held
}

#[tokio::test]
async fn a_member_signs_in_again_when_the_membership_was_confirmed_too_long_ago() {
    let (gateway, github, client, held) = connected(&[]).await;
    let held = refresh_daily(&gateway, &client, held, 6).await;
    gateway.clock.advance(DAY);
    let refused = gateway.refresh(&client, &held.refresh).await;
    assert_eq!(refused.refusal(), "400 invalid_grant");
    // The way back is the usual one, and asks GitHub.
    let octocat = github_person("octocat");
    let again = gateway.connect(&octocat, &client).await;
    assert_eq!(gateway.verify(&again.access).await, 200);
    assert!(github.complaints().is_empty(), "{:?}", github.complaints());
}

#[tokio::test]
async fn an_access_token_does_not_outlive_the_membership() {
    let (gateway, _github, client, held) = connected(&[("ACCESS_TOKEN_LIFETIME", "3600")]).await;
    assert_eq!(held.expires_in, 3600);
    gateway.clock.advance(7 * DAY - 600);
    let last = tokens(&gateway.refresh(&client, &held.refresh).await);
    assert_eq!(last.expires_in, 600);
}

#[tokio::test]
async fn somebody_on_the_list_by_name_does_not_depend_on_memberships() {
    let (gateway, _github, client, held) = connected(&[("ALLOWED_GITHUB_USERS", "octocat")]).await;
    refresh_daily(&gateway, &client, held, 20).await;
}

#[tokio::test]
async fn somebody_who_came_because_everybody_may_does_not_depend_on_memberships() {
    let (gateway, _github, client, held) = connected(&[("ALLOWED_GITHUB_USERS", "*")]).await;
    refresh_daily(&gateway, &client, held, 20).await;
}

#[tokio::test]
async fn somebody_known_by_a_password_does_not_depend_on_memberships() {
    let gateway = Gateway::local(&[]).await;
    let client = gateway.web_client().await;
    let held = gateway.connect(&person("ada"), &client).await;
    refresh_daily(&gateway, &client, held, 20).await;
}

#[tokio::test]
async fn with_a_token_of_the_operator_members_stay_as_long_as_they_are() {
    let (gateway, github, client, held) = connected(&[("GITHUB_ORG_TOKEN", ORG_TOKEN)]).await;
    let held = refresh_daily(&gateway, &client, held, 20).await;
    // A renamed member is the same.
    github.set_user(User::new(583_231, "octocat-renamed").in_organization("acme"));
    let held = refresh_daily(&gateway, &client, held, 2).await;
    // Gone, and somebody else has the name now.
    github.set_user(User::new(583_231, "somebody"));
    github.set_user(User::new(777, "octocat").in_organization("acme"));
    gateway.clock.advance(600);
    assert_eq!(gateway.verify(&held.access).await, 200);
    let refused = gateway.refresh(&client, &held.refresh).await;
    assert_eq!(refused.refusal(), "400 invalid_grant");
    assert_eq!(gateway.verify(&held.access).await, 401);
    assert!(github.complaints().is_empty(), "{:?}", github.complaints());
}

#[tokio::test]
async fn a_member_of_a_team_who_leaves_it_is_out() {
    let team = [
        ("GITHUB_ORG_TOKEN", ORG_TOKEN),
        ("ALLOWED_GITHUB_ORGS", ""),
        ("ALLOWED_GITHUB_TEAMS", "Acme/Robots"),
    ];
    let (gateway, github, client, held) = connected(&team).await;
    let held = refresh_daily(&gateway, &client, held, 8).await;
    github.set_user(User::new(583_231, "octocat").in_team("acme", "others"));
    gateway.clock.advance(600);
    let refused = gateway.refresh(&client, &held.refresh).await;
    assert_eq!(refused.refusal(), "400 invalid_grant");
}

/// GitHub being away ends nothing before the membership is too old, and then only until GitHub is back.
#[tokio::test]
async fn while_github_is_away_members_refresh_and_are_not_signed_out() {
    let (gateway, mut github, client, held) = connected(&[("GITHUB_ORG_TOKEN", ORG_TOKEN)]).await;
    github.go_down().await;
    let held = refresh_daily(&gateway, &client, held, 6).await;
    gateway.clock.advance(2 * DAY);
    let refused = gateway.refresh(&client, &held.refresh).await;
    assert_eq!(refused.refusal(), "503 temporarily_unavailable");
    // Nothing was ended: asked again, the answer is the same.
    let refused = gateway.refresh(&client, &held.refresh).await;
    assert_eq!(refused.refusal(), "503 temporarily_unavailable");
}

#[tokio::test]
async fn a_slow_github_does_not_keep_a_refresh_waiting() {
    let (gateway, github, client, held) = connected(&[("GITHUB_ORG_TOKEN", ORG_TOKEN)]).await;
    github.set_condition(Condition::Slow(Duration::from_secs(30)));
    let begun = Instant::now();
    let held = refresh_daily(&gateway, &client, held, 1).await;
    assert!(
        begun.elapsed() < Duration::from_secs(4),
        "{:?}",
        begun.elapsed()
    );
    // After a failure GitHub is left alone for a while.
    let begun = Instant::now();
    refresh_daily(&gateway, &client, held, 1).await;
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
}

/// An organisation's name that was given up and taken by others opens nothing.
#[tokio::test]
async fn whoever_takes_over_the_name_of_an_organisation_is_not_let_in() {
    let (gateway, github, client, _held) = connected(&[]).await;
    let stranger = User::new(666, "stranger")
        .in_organization("acme")
        .numbered("acme", 4711);
    github.set_user(stranger);
    let back = github_person("stranger")
        .approve(&gateway.authorization(&client, &[]), &client.redirect_uri)
        .await
        .unwrap();
    assert_eq!(parameter(&back, "error").as_deref(), Some("access_denied"));
    assert_eq!(parameter(&back, "code"), None);
}
