//! Access tokens: what is in them, and what nobody else can make.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use insta::assert_snapshot;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::answer::answer;
use crate::service::{AUTH, Auth, JWT_SECRET, OTHER_RESOURCE, RESOURCE};
use crate::sign_in::{
    Held, REDIRECT, VERIFIER, approve, ask, code, confidential_client, consent_page, register_with,
    signed_in,
};

const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// A fault of the Python gateway: tokens did not name their key.
#[tokio::test]
async fn the_claims_of_a_token_are_these() {
    let auth = Auth::start().await;
    let (client, tokens) = signed_in(&auth).await;
    let (header, claims, _) = parts(&tokens.access);
    let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap();
    let times = ["iat", "exp"].map(|name| claims.get(name).and_then(Value::as_i64).unwrap());
    assert_eq!(times[1] - times[0], 3600);
    let shown = serde_json::to_string_pretty(&claims)
        .unwrap()
        .replace(&client.id, "[client_id]")
        .replace(text("jti"), "[jti]")
        .replace(text("sid"), "[sid]")
        .replace(&times[0].to_string(), "[iat]")
        .replace(&times[1].to_string(), "[exp]");
    assert_snapshot!(shown, @r#"
    {
      "aud": "http://mcp-fetch.localhost:8080/mcp",
      "client_id": "[client_id]",
      "exp": [exp],
      "iat": [iat],
      "iss": "http://auth.localhost:8080",
      "jti": "[jti]",
      "login": "ada",
      "scope": "mcp offline_access",
      "sid": "[sid]",
      "sub": "local:ada"
    }
    "#);
    assert_eq!(header.get("typ"), Some(&json!("at+jwt")));
    assert_eq!(header.get("alg"), Some(&json!("ES256")));
    let jwks = auth.get(AUTH, "/jwks").await.json();
    assert_eq!(header.get("kid"), jwks.pointer("/keys/0/kid"));
}

fn parts(token: &str) -> (Value, Value, String) {
    let mut parts = token.split('.');
    let mut part = || parts.next().unwrap().to_owned();
    let json =
        |text: String| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap();
    (json(part()), json(part()), part())
}

fn encoded(json: &Value) -> String {
    URL_SAFE_NO_PAD.encode(json.to_string())
}

fn with(json: &Value, member: &str, value: Value) -> Value {
    let mut json = json.clone();
    json.as_object_mut()
        .unwrap()
        .insert(member.to_owned(), value);
    json
}

/// A P-256 key of the attacker's own, with its public part as a JWK.
fn own_key() -> (EncodingKey, Value) {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let private = pair.to_pkcs8v1().unwrap();
    let point = pair.public_key().as_ref().to_vec();
    let jwk = json!({"kty": "EC", "crv": "P-256",
        "x": URL_SAFE_NO_PAD.encode(&point[1..33]), "y": URL_SAFE_NO_PAD.encode(&point[33..])});
    (EncodingKey::from_ec_der(private.as_ref()), jwk)
}

/// A fault of the Python gateway, and the classics of JWT (RFC 8725 section 2).
#[expect(clippy::too_many_lines, reason = "one table of forgeries")]
#[tokio::test]
async fn forged_tokens_open_nothing() {
    let auth = Auth::start().await;
    let (_, tokens) = signed_in(&auth).await;
    let (header, claims, signature) = parts(&tokens.access);
    let jwks = auth.get(AUTH, "/jwks").await.json();
    let kid = header.get("kid").unwrap().clone();
    assert_eq!(jwks.pointer("/keys/0/kid"), Some(&kid));

    let unsigned =
        |header: &Value, claims: &Value| format!("{}.{}.", encoded(header), encoded(claims));
    let kept = |header: &Value, claims: &Value| {
        format!("{}.{}.{signature}", encoded(header), encoded(claims))
    };
    let (own_key, own_jwk) = own_key();
    let signed = |mut header: Header, claims: &Value| {
        header.alg = Algorithm::ES256;
        jsonwebtoken::encode(&header, claims, &own_key).unwrap()
    };
    let own_header = |typ: &str, kid: Option<&str>| {
        let mut header = Header::new(Algorithm::ES256);
        header.typ = Some(typ.to_owned());
        header.kid = kid.map(str::to_owned);
        header
    };
    // HS256 with the public key as the shared secret, in each form that a library might take for it.
    let confused = |secret: &[u8]| {
        let header = with(&header, "alg", json!("HS256"));
        let body = format!("{}.{}", encoded(&header), encoded(&claims));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), body.as_bytes());
        format!("{body}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref()))
    };
    let x = jwks.pointer("/keys/0/x").and_then(Value::as_str).unwrap();
    let y = jwks.pointer("/keys/0/y").and_then(Value::as_str).unwrap();
    let point = [
        &[4][..],
        &URL_SAFE_NO_PAD.decode(x).unwrap(),
        &URL_SAFE_NO_PAD.decode(y).unwrap(),
    ]
    .concat();
    let kid_text = kid.as_str().unwrap();
    let later = claims.get("exp").and_then(Value::as_i64).unwrap() + 1000;
    let mut embedded = own_header("at+jwt", Some(kid_text));
    embedded.jwk = serde_json::from_value(own_jwk).ok();
    assert!(embedded.jwk.is_some());
    let mut elsewhere = own_header("at+jwt", Some(kid_text));
    elsewhere.jku = Some("http://evil.example/jwks".to_owned());

    for (what, token) in [
        (
            "alg none",
            unsigned(&with(&header, "alg", json!("none")), &claims),
        ),
        (
            "alg NONE",
            unsigned(&with(&header, "alg", json!("NONE")), &claims),
        ),
        (
            "alg none, signature kept",
            kept(&with(&header, "alg", json!("none")), &claims),
        ),
        (
            "no alg",
            kept(&json!({"typ": "at+jwt", "kid": kid}), &claims),
        ),
        (
            "alg ES384",
            kept(&with(&header, "alg", json!("ES384")), &claims),
        ),
        (
            "alg EdDSA",
            kept(&with(&header, "alg", json!("EdDSA")), &claims),
        ),
        ("HS256 with the point", confused(&point)),
        ("HS256 with x", confused(x.as_bytes())),
        (
            "HS256 with the key set",
            confused(jwks.to_string().as_bytes()),
        ),
        ("HS256 with nothing", confused(b"")),
        ("no signature", unsigned(&header, &claims)),
        (
            "changed payload",
            kept(&header, &with(&claims, "sub", json!("local:root"))),
        ),
        (
            "another service",
            kept(&header, &with(&claims, "aud", json!(OTHER_RESOURCE))),
        ),
        (
            "longer life",
            kept(&header, &with(&claims, "exp", json!(later))),
        ),
        ("no exp", kept(&header, &with(&claims, "exp", Value::Null))),
        (
            "typ JWT",
            kept(&with(&header, "typ", json!("JWT")), &claims),
        ),
        (
            "no typ",
            kept(&json!({"alg": "ES256", "kid": kid}), &claims),
        ),
        (
            "crit",
            kept(&with(&header, "crit", json!(["exp"])), &claims),
        ),
        (
            "unknown kid",
            kept(&with(&header, "kid", json!("other")), &claims),
        ),
        (
            "kid of a path",
            kept(&with(&header, "kid", json!("../../dev/null")), &claims),
        ),
        (
            "kid of a number",
            kept(&with(&header, "kid", json!(1)), &claims),
        ),
        (
            "own key under our kid",
            signed(own_header("at+jwt", Some(kid_text)), &claims),
        ),
        (
            "own key under its own kid",
            signed(own_header("at+jwt", Some("mine")), &claims),
        ),
        (
            "own key without kid",
            signed(own_header("at+jwt", None), &claims),
        ),
        ("own key embedded", signed(embedded, &claims)),
        ("own key at a URL", signed(elsewhere, &claims)),
        ("five parts", format!("{}.x.y", tokens.access)),
        (
            "one part",
            tokens.access.split('.').next().unwrap().to_owned(),
        ),
        ("trailing dot", format!("{}.", tokens.access)),
        ("padded", format!("{}=", tokens.access)),
        ("empty parts", "..".to_owned()),
        (
            "header is no object",
            format!("{}.{}.{signature}", encoded(&json!([])), encoded(&claims)),
        ),
        (
            "deep header",
            format!(
                "{}.{}.{signature}",
                URL_SAFE_NO_PAD.encode("[".repeat(2000)),
                encoded(&claims)
            ),
        ),
        ("a refresh token", tokens.refresh.clone()),
    ] {
        let answer = auth.verify(&token).await;
        assert_eq!(answer.refusal(), "401 invalid_token", "{what}");
        assert_eq!(answer.count("x-auth-subject"), 0, "{what}");
    }
    assert_eq!(auth.verify(&tokens.access).await.status, 200);
}

/// Every single changed character of a token makes it worthless.
#[tokio::test]
async fn no_character_of_a_token_may_change() {
    let auth = Auth::start().await;
    let (_, tokens) = signed_in(&auth).await;
    assert_eq!(auth.verify(&tokens.access).await.status, 200);
    let positions = (0..tokens.access.len()).step_by(3);
    for position in positions {
        let mut bytes = tokens.access.clone().into_bytes();
        bytes[position] = if bytes[position] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap();
        assert_eq!(auth.verify(&changed).await.status, 401, "{position}");
    }
}

/// Access token, refresh token, code, registration token, client secret, cookie, form token, state, device code, administration
/// token: each opens what it is for and nothing else (RFC 8725 section 3.11).
#[tokio::test]
async fn no_kind_of_secret_stands_for_another() {
    let auth = Auth::start().await;
    let device = json!({"client_name": "Television", "token_endpoint_auth_method": "none", "redirect_uris": [REDIRECT],
        "grant_types": [DEVICE_GRANT, "authorization_code", "refresh_token"]});
    let client = register_with(&auth, &device).await;
    let confidential = confidential_client(&auth).await;
    let tokens = crate::sign_in::tokens(&auth, &client).await;
    let page = consent_page(&ask(&auth, &client.id, &[]).await);
    let held = approve(&auth, &client.id, &[]).await;
    let form = [("client_id", client.id.as_str()), ("resource", RESOURCE)];
    let asked = auth.post("/device_authorization", &form).await;
    let cookie = |held: &Held| held.cookie.split_once('=').unwrap().1.to_owned();
    let secrets = [
        ("access token", tokens.access.clone()),
        ("refresh token", tokens.refresh.clone()),
        ("code", code(&auth, &client.id).await),
        ("registration token", client.registration_token.clone()),
        ("client secret", confidential.secret.clone().unwrap()),
        ("cookie", cookie(&page)),
        ("form token", page.fields[1].1.clone()),
        ("state", held.fields[0].1.clone()),
        ("device code", asked.text("device_code")),
        (
            "administration token",
            auth::testing::admin_token(JWT_SECRET),
        ),
    ];
    let path = format!("/register/{}", client.id);
    for (kind, secret) in &secrets {
        let token = |form: &[(&'static str, &str)]| {
            let form: Vec<(&str, &str)> = form.to_vec();
            answer(auth.request("POST", AUTH, "/token").form(&form))
        };
        let id = client.id.as_str();
        let grant = |name: &'static str, member: &'static str| {
            token(&[
                ("grant_type", name),
                ("client_id", id),
                (member, secret),
                ("code_verifier", VERIFIER),
            ])
        };
        let admin = testkit::network::http_client().unwrap();
        let admin = admin
            .get(format!("http://{}/admin/stats", auth.private))
            .bearer_auth(secret);
        let other = confidential.id.as_str();
        let of_confidential = token(&[
            ("grant_type", "refresh_token"),
            ("client_id", other),
            ("client_secret", secret),
            ("refresh_token", "x"),
        ]);
        let results = [
            ("access token", 401, auth.verify(secret).await.status),
            (
                "registration token",
                401,
                answer(auth.request("GET", AUTH, &path).bearer_auth(secret))
                    .await
                    .status,
            ),
            ("administration token", 401, answer(admin).await.status),
            ("client secret", 401, of_confidential.await.status),
            (
                "refresh token",
                400,
                grant("refresh_token", "refresh_token").await.status,
            ),
            (
                "code",
                400,
                grant("authorization_code", "code").await.status,
            ),
            (
                "device code",
                400,
                grant(DEVICE_GRANT, "device_code").await.status,
            ),
        ];
        for (wanted, refusal, status) in results {
            let is_its_own = wanted == *kind;
            // A wrong refresh token and a device nobody has answered are refused for other reasons.
            let is_let_in = is_its_own && !["client secret", "device code"].contains(&wanted);
            let expected = match (is_let_in, wanted) {
                (true, _) => 200,
                (false, "client secret") if is_its_own => 400,
                (false, _) => refusal,
            };
            assert_eq!(status, expected, "a {kind} as {wanted}");
        }
    }
}
